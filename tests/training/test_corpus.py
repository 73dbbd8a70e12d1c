from __future__ import annotations

import os

import pytest
from checkpoints import AUTHORS, write_corpus
from command import run

from authorid.errors import CorpusError, RunError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, load_corpus


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
    assert corpus.warnings == (
        f"{root / 'Ada' / 'picture.txt'}: left out, binary file (contains NUL bytes)",
        f"{root / 'Ben' / 'empty.txt'}: left out, no text (only white space)",
        f"{root / 'Ben' / 'pipe'}: left out, not a regular file (a FIFO)",
    )


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


@pytest.fixture
def strange(tmp_path):
    """A corpus with hidden files, links, a sparse file of 6 GB and a file in an encoding that must be declared."""
    root = write_corpus(tmp_path / "c", documents=2)
    (root / "Ada" / ".hidden.txt").write_text("The hidden loom.")
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "9.txt").write_text("The engine of another corpus.")
    (root / "Ada" / "link.txt").symlink_to(tmp_path / "elsewhere" / "9.txt")
    (root / "Ada" / "more").symlink_to(tmp_path / "elsewhere")
    (root / "Zoe").symlink_to(tmp_path / "elsewhere")
    with (root / "Ben" / "huge.txt").open("wb") as stream:
        stream.truncate(6 * 2**30)
    (root / "Cyd" / "declared.txt").write_bytes("profit \u0142\u0105ka".encode("cp1250"))
    return root


def names(corpus):
    return [document.path for document in corpus.documents]


def test_files_are_found_and_read_as_they_are_for_scoring(strange):
    corpus = load_corpus(strange)
    assert names(corpus) == [*(f"{author}/{i}.txt" for author in AUTHORS for i in (1, 2)), "Cyd/declared.txt"]
    assert set(corpus.warnings) == {
        f"{strange}/Ada/link.txt: left out, symbolic link, not followed (see --follow-symlinks)",
        f"{strange}/Ada/more: left out, symbolic link, not followed (see --follow-symlinks)",
        f"{strange}/Ben/huge.txt: left out, larger than 16777216 bytes (see --max-bytes)",
        f"{strange}/Zoe: left out, symbolic link, not followed (see --follow-symlinks)",
    }
    assert corpus.reading == {}


@pytest.mark.parametrize(
    ("options", "changed"),
    [
        (ReadOptions(hidden=True), {"Ada/.hidden.txt"}),
        (ReadOptions(follow_symlinks=True, exclude=("Zoe",)), {"Ada/link.txt", "Ada/more/9.txt"}),
        (ReadOptions(include=("1.txt",)), {"Ada/2.txt", "Ben/2.txt", "Cyd/2.txt", "Cyd/declared.txt"}),
        (ReadOptions(ignore=("/Cyd/decl*",)), {"Cyd/declared.txt"}),
        (ReadOptions(max_bytes=17), set()),
    ],
)
def test_the_options_of_scoring_choose_the_documents(strange, options, changed):
    for author in AUTHORS:
        (strange / author / "1.txt").write_text(f"{author} is short")
    if options.max_bytes == 17:
        changed = {name for name in names(load_corpus(strange)) if not name.endswith(("1.txt", "declared.txt"))}
    found = names(load_corpus(CorpusSpec(strange, options), copies=True))
    assert set(found) ^ set(names(load_corpus(strange))) == changed


def test_an_encoding_can_be_declared(strange):
    corpus = load_corpus(CorpusSpec(strange, ReadOptions(encoding="cp1250")))
    assert corpus.documents[-1].text == "profit \u0142\u0105ka"
    assert corpus.reading == {"encoding": "cp1250"}


def test_a_huge_file_is_not_read(strange, tmp_path):
    """By no command: a sparse file of 6 GB once took as much memory."""
    peak = tmp_path / "peak"
    # Not the peak that getrusage reports: it starts with that of the process that started this one.
    prelude = (
        "import atexit, pathlib, re, resource\n"
        f"resource.setrlimit(resource.RLIMIT_AS, ({4 * 2**30}, {4 * 2**30}))\n"
        "own = lambda: re.search(r'VmHWM:\\s*(\\d+)', pathlib.Path('/proc/self/status').read_text())[1]\n"
        f"atexit.register(lambda: pathlib.Path({str(peak)!r}).write_text(own()))"
    )
    for arguments in (
        ("train", strange, "--out", tmp_path / "run", "--no-encoder"),
        ("evaluate", tmp_path / "run", strange),
    ):
        done = run(*arguments, prelude=prelude)
        assert done.returncode == 0, done.stderr
        assert "huge.txt: left out, larger than 16777216 bytes (see --max-bytes)" in done.stderr
        assert 0 < int(peak.read_text()) < 2 * 2**20  # kilobytes
        peak.unlink()


def test_many_files_that_are_left_out_are_summarised(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    for i in range(300):
        (root / "Ada" / f"p{i}.txt").write_bytes(b"\0\0\1")
        (root / "Ben" / f"e{i}.txt").write_bytes(b"")
    corpus = load_corpus(root)
    assert corpus.warnings == (
        f"{root}: 300 files are left out, such as Ada/p0.txt: binary file (contains NUL bytes)",
        f"{root}: 300 files are left out, such as Ben/e0.txt: empty file",
    )
    assert len(corpus.unused) == 600


def test_an_author_whose_files_are_all_left_out_is_named_with_the_reason(tmp_path):
    root = write_corpus(tmp_path / "c", documents=2)
    (root / "Dan").mkdir()
    (root / "Dan" / "1.txt").write_bytes(b"\0\0\1")
    with pytest.raises(CorpusError, match=r"Dan: this author has no readable document \(binary file .*\); add some"):
        load_corpus(root)


@pytest.mark.parametrize(
    "spec",
    [
        {},
        {"documents": ReadOptions(include=("a",), exclude=("b",), ignore=("c",), hidden=True, encoding="koi8-r")},
        {"documents": ReadOptions(follow_symlinks=True, max_bytes=7), "exclude_authors": ("x",), "all_authors": True},
    ],
)
def test_how_a_corpus_was_read_is_recorded_and_read_again(tmp_path, spec):
    own = CorpusSpec(tmp_path, **spec)
    assert CorpusSpec.from_json(tmp_path, own.to_json()) == own
    assert bool(own.to_json()) == bool(spec)


@pytest.mark.parametrize(
    "record",
    [[], {"timeout": 1.0}, {"hidden": 1}, {"max_bytes": 0}, {"include": "a"}, {"ignore": [1]}, {"encoding": "no"},
     {"encoding": "a\0"}, {"max_bytes": True}, {"skip": []}],
)  # fmt: skip
def test_a_damaged_record_of_how_a_corpus_was_read_is_refused(tmp_path, record):
    with pytest.raises(RunError):
        CorpusSpec.from_json(tmp_path, record)


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
