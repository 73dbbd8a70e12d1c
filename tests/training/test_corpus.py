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


def test_hidden_things_are_skipped_and_unusable_files_are_warned_of(tmp_path):
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


def test_where_a_model_is_measured_copies_count(tmp_path):
    for author in ("ann", "bob"):
        for name in ("1", "2"):
            (tmp_path / author).mkdir(exist_ok=True)
            (tmp_path / author / f"{name}.txt").write_text(f"the same by {author}")
    assert len(load_corpus(tmp_path).documents) == 2
    assert len(load_corpus(tmp_path, copies=True).documents) == 4


def test_copies_are_used_once_and_told_of(tmp_path):
    """A text on both sides of a split would be known by heart, and everything else look like a stranger's."""
    root = write_corpus(tmp_path / "c", documents=4)
    whole = load_corpus(root)
    (root / "Ada" / "backup").mkdir()
    for path in sorted((root / "Ada").glob("*.txt")):
        (root / "Ada" / "backup" / path.name).write_bytes(path.read_bytes())
    # The models are given the same text, whatever program wrote the line ends.
    (root / "Ben" / "9.txt").write_bytes((root / "Ben" / "1.txt").read_bytes().replace(b"\n", b"\r\n"))
    corpus = load_corpus(root)
    assert corpus.documents == whole.documents
    assert corpus.digest == whole.digest
    assert corpus.warnings == (
        f"{root}: 5 documents are copies of others by the same author; each text is used once "
        "(Ada/backup/1.txt is the same as Ada/1.txt)",
    )


def test_a_text_that_two_authors_share_is_told_of(tmp_path):
    root = write_corpus(tmp_path / "c", documents=4)
    for author in ("Ben", "Cyd"):
        (root / author / "2.txt").write_bytes((root / "Ada" / "1.txt").read_bytes())
    corpus = load_corpus(root)
    assert len(corpus.documents) == 12
    assert corpus.warnings == (
        f"{root}: 2 documents are by another author too; nobody can tell whose they are "
        "(Ben/2.txt is the same as Ada/1.txt)",
    )


def test_names_that_are_not_text_are_refused(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    (root / "Ada" / os.fsdecode(b"caf\xe9.txt")).write_text("the loom")
    corpus = load_corpus(root)
    assert len(corpus.documents) == 6
    assert "not UTF-8" in corpus.warnings[0]
    corpus.warnings[0].encode()
    (root / os.fsdecode(b"Ren\xe9")).mkdir()
    with pytest.raises(CorpusError, match="not UTF-8"):
        load_corpus(root)


def test_the_digest_names_the_corpus_and_nothing_else(tmp_path):
    first, second = (write_corpus(tmp_path / name) for name in ("a", "b"))
    digest = load_corpus(first).digest
    assert digest == load_corpus(second).digest
    (second / "Ada" / "1.txt").write_text("changed")
    assert digest != load_corpus(second).digest
    (first / "Ada" / "1.txt").rename(first / "Ada" / "0.txt")
    assert digest != load_corpus(first).digest


def test_corpora_that_cannot_be_used(tmp_path):
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


@pytest.mark.parametrize("how", ["random", "last"])
@pytest.mark.parametrize("documents", [1, 2, 3, 10])
@pytest.mark.parametrize("fraction", [0.0, 0.1, 0.5, 0.99])
def test_splits_cover_everything_and_share_nothing(tmp_path, how, documents, fraction):
    corpus = load_corpus(write_corpus(tmp_path / "c", documents=documents))
    training, validation = corpus.split(fraction, 7, how)
    assert sorted(training + validation) == list(range(len(corpus.documents)))
    assert not set(training) & set(validation)
    for label in range(3):
        kept = [index for index in training if corpus.documents[index].label == label]
        held = [index for index in validation if corpus.documents[index].label == label]
        assert kept
        assert bool(held) == (fraction > 0 and documents > 1)


def test_a_random_split_depends_on_the_seed_alone(tmp_path):
    corpus = load_corpus(write_corpus(tmp_path / "c", documents=20))
    assert corpus.split(0.2, 1) == corpus.split(0.2, 1)
    assert corpus.split(0.2, 1) != corpus.split(0.2, 2)


def test_last_holds_out_the_last_in_natural_order(tmp_path):
    corpus = load_corpus(write_corpus(tmp_path / "c", documents=11))
    _, validation = corpus.split(0.2, 0, "last")
    assert [corpus.documents[index].path for index in validation][:2] == ["Ada/10.txt", "Ada/11.txt"]
