from __future__ import annotations

import os

import pytest
from checkpoints import AUTHORS, write_corpus

from authorid.errors import CorpusError
from authorid.training import load_corpus


def test_reads_authors_and_documents_in_a_fixed_order(tmp_path):
    corpus = load_corpus(write_corpus(tmp_path / "c", documents=3))
    assert corpus.authors == AUTHORS
    assert [document.path for document in corpus.documents[:4]] == [
        "Ada/1.txt",
        "Ada/2.txt",
        "Ada/3.txt",
        "Ben/1.txt",
    ]
    assert [document.label for document in corpus.documents] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert corpus.warnings == ()


def test_hidden_files_are_skipped_and_unusable_files_cause_warnings(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    (root / ".git").mkdir()
    (root / ".git" / "config").write_text("x")
    (root / "README.md").write_text("not a document")
    (root / "Ada" / ".DS_Store").write_bytes(b"\0\0")
    (root / "Ada" / "picture.txt").write_bytes(b"\x89PNG\0\0")
    (root / "Ben" / "empty.txt").write_text(" \n")
    os.mkfifo(root / "Ben" / "pipe")
    corpus = load_corpus(root)
    assert len(corpus.documents) == 6
    assert len(corpus.warnings) == 2
    assert "picture.txt" in corpus.warnings[0]
    assert "empty" in corpus.warnings[1]


def test_other_encodings_are_read(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    (root / "Ada" / "windows.txt").write_text("Être ou ne pas être, là est la question.", "utf-16")
    texts = [document.text for document in load_corpus(root).documents]
    assert any("Être" in text for text in texts)


def test_copies_are_kept_for_an_evaluation(tmp_path):
    for author in ("ann", "bob"):
        for name in ("1", "2"):
            (tmp_path / author).mkdir(exist_ok=True)
            (tmp_path / author / f"{name}.txt").write_text(f"the same by {author}")
    assert len(load_corpus(tmp_path).documents) == 2
    assert len(load_corpus(tmp_path, copies=True).documents) == 4


def test_copies_are_used_once_with_a_warning(tmp_path):
    """A text on both sides of a split would be memorized, and all other texts would look like an unknown author's."""
    root = write_corpus(tmp_path / "c", documents=4)
    whole = load_corpus(root)
    (root / "Ada" / "backup").mkdir()
    for path in sorted((root / "Ada").glob("*.txt")):
        (root / "Ada" / "backup" / path.name).write_bytes(path.read_bytes())
    # The models get the same text, whatever the line ends.
    (root / "Ben" / "9.txt").write_bytes((root / "Ben" / "1.txt").read_bytes().replace(b"\n", b"\r\n"))
    corpus = load_corpus(root)
    assert corpus.documents == whole.documents
    assert corpus.digest == whole.digest
    assert corpus.warnings == (
        f"{root}: 5 documents are copies of others by the same author; each text is used once "
        "(Ada/backup/1.txt is the same as Ada/1.txt)",
    )


def test_a_text_of_two_authors_causes_a_warning(tmp_path):
    root = write_corpus(tmp_path / "c", documents=4)
    for author in ("Ben", "Cyd"):
        (root / author / "2.txt").write_bytes((root / "Ada" / "1.txt").read_bytes())
    corpus = load_corpus(root)
    assert len(corpus.documents) == 12
    assert corpus.warnings == (
        f"{root}: 2 documents also occur under another author, so their true author is unclear "
        "(Ben/2.txt is the same as Ada/1.txt)",
    )


def test_file_names_that_are_not_utf8_are_refused(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    (root / "Ada" / os.fsdecode(b"caf\xe9.txt")).write_text("the loom")
    corpus = load_corpus(root)
    assert len(corpus.documents) == 6
    assert "not UTF-8" in corpus.warnings[0]
    corpus.warnings[0].encode()
    (root / os.fsdecode(b"Ren\xe9")).mkdir()
    with pytest.raises(CorpusError, match="not UTF-8"):
        load_corpus(root)


def test_the_digest_depends_on_names_and_texts_only(tmp_path):
    first, second = (write_corpus(tmp_path / name) for name in ("a", "b"))
    digest = load_corpus(first).digest
    assert digest == load_corpus(second).digest
    (second / "Ada" / "1.txt").write_text("changed")
    assert digest != load_corpus(second).digest
    (first / "Ada" / "1.txt").rename(first / "Ada" / "0.txt")
    assert digest != load_corpus(first).digest


def test_unusable_corpora_are_refused(tmp_path):
    with pytest.raises(CorpusError, match="not a directory"):
        load_corpus(tmp_path / "nothing")
    (tmp_path / "flat").mkdir()
    (tmp_path / "flat" / "text.txt").write_text("a")
    with pytest.raises(CorpusError, match="no author subdirectories"):
        load_corpus(tmp_path / "flat")
    (tmp_path / "flat" / "Ada").mkdir()
    with pytest.raises(CorpusError, match="only one author"):
        load_corpus(tmp_path / "flat")
    root = write_corpus(tmp_path / "c")
    (root / "Dan").mkdir()
    with pytest.raises(CorpusError, match=r"Dan.*no readable document"):
        load_corpus(root)


def test_a_document_with_a_wrong_byte_is_learnt_as_it_is_scored(tmp_path):
    text = "Čeština má háčky, čárky a kroužky; němčina přehlásky. "
    for author in ("Ada", "Ben"):
        (tmp_path / author).mkdir()
        (tmp_path / author / "a.txt").write_bytes(f"{author} {text}".encode() * 9 + b"\x92")
    corpus = load_corpus(tmp_path)
    assert not corpus.warnings
    assert [document.text for document in corpus.documents] == [
        f"{who} {text}" * 9 + "\ufffd" for who in ("Ada", "Ben")
    ]
