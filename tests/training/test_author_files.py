"""A directory of files called Author_Title.txt is a corpus too."""

from __future__ import annotations

import os
import sys

import pytest
from checkpoints import write_corpus
from command import run

from authorid.errors import CorpusError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, load_corpus
from authorid.training.corpus import load_known_corpus


@pytest.fixture
def flat(tmp_path):
    """The corpus of `write_corpus`, with the author in the name of each file."""
    write_corpus(tmp_path / "directories", documents=3)
    root = tmp_path / "flat"
    root.mkdir()
    for path in (tmp_path / "directories").rglob("*.txt"):
        path.rename(root / f"{path.parent.name}_{path.name}")
    return root


def test_the_author_is_what_stands_before_the_first_underscore(flat):
    (flat / "Ada_Notes_on_the_Engine.txt").write_text("of all engines")
    corpus = load_corpus(flat)
    assert corpus.authors == ("Ada", "Ben", "Cyd")
    assert [document.path for document in corpus.documents[:4]] == [
        *(f"Ada_{number}.txt" for number in (1, 2, 3)), "Ada_Notes_on_the_Engine.txt",
    ]  # fmt: skip
    assert [document.label for document in corpus.documents] == [0] * 4 + [1] * 3 + [2] * 3
    assert corpus.summary == ("10 documents by 3 authors, named by what is before the first underscore: Ada, Ben, Cyd")


def test_subdirectories_decide_alone_where_there_are_any(flat):
    for author in ("Dan", "Eve"):
        (flat / author).mkdir()
        (flat / author / "1_2.txt").write_text(f"{author} wrote this")
    corpus = load_corpus(flat)
    assert corpus.authors == ("Dan", "Eve")
    assert corpus.summary == "2 documents by 2 authors: Dan, Eve"


@pytest.mark.parametrize("name", ["notes.txt", "_notes.txt", "Ada_"])
def test_a_name_without_an_author_is_one_clear_error(flat, name):
    (flat / name).write_text("a text")
    with pytest.raises(CorpusError) as found:
        load_corpus(flat)
    assert str(found.value) == (
        f"{flat}: no author subdirectories, and 1 of its 10 files is not called Author_Title.txt: {name!r}; "
        "make one subdirectory per author, rename the files, or leave some out with --exclude"
    )
    assert len(load_corpus(CorpusSpec(flat, ReadOptions(exclude=(name,)))).documents) == 9


def test_authors_are_left_out_and_asked_about_as_directories_are(flat):
    for name in ("unknown_letter.txt", "ada_other.txt"):
        (flat / name).write_text(name)
    with pytest.raises(CorpusError, match="'Ada' and 'ada' differ only in case; rename the files of one"):
        load_corpus(flat)
    (flat / "ada_other.txt").unlink()
    with pytest.raises(CorpusError, match="'unknown' is probably not an author; pass --exclude-author unknown"):
        load_corpus(flat)
    assert load_corpus(CorpusSpec(flat, exclude_authors=("unknown",))).authors == ("Ada", "Ben", "Cyd")
    assert load_corpus(CorpusSpec(flat, all_authors=True)).authors[-1] == "unknown"
    with pytest.raises(CorpusError, match="has no author 'unknwon'"):
        load_corpus(CorpusSpec(flat, exclude_authors=("unknwon",), all_authors=True))
    with pytest.raises(CorpusError, match="unknown to the model: Cyd"):
        load_known_corpus(CorpusSpec(flat, exclude_authors=("unknown",)), ["Ada", "Ben"])


def test_what_cannot_be_read_is_left_out_with_its_reason(flat):
    (flat / "Dan_1.txt").write_bytes(b"")
    (flat / "Ben_link.txt").symlink_to(flat / "Ben_1.txt")
    (flat / "link").symlink_to(flat)
    with pytest.raises(CorpusError, match=r"Dan_\*: this author has no readable document \(.*\); add some or remove"):
        load_corpus(flat)
    corpus = load_corpus(CorpusSpec(flat, exclude_authors=("Dan",)))
    assert len(corpus.documents) == 9
    assert any("Ben_link.txt: left out, symbolic link" in warning for warning in corpus.warnings)


@pytest.mark.skipif(sys.platform != "linux", reason="file names are bytes on Linux only")
def test_a_name_that_is_not_utf_8_is_left_out(flat):
    with open(os.path.join(os.fsencode(flat), b"Ad\xe9_1.txt"), "w") as stream:  # noqa: PTH118, PTH123
        stream.write("a text")
    corpus = load_corpus(flat)
    assert corpus.authors == ("Ada", "Ben", "Cyd")
    assert any("its name is not UTF-8" in warning for warning in corpus.warnings)


def test_one_author_is_not_enough(tmp_path):
    (tmp_path / "Ada_1.txt").write_text("a text")
    with pytest.raises(CorpusError, match="only one author"):
        load_corpus(tmp_path)


def test_a_flat_corpus_is_trained_on_and_evaluated(flat, tmp_path):
    pytest.importorskip("scipy")
    done = run("train", flat, "--no-encoder", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    assert "9 documents by 3 authors, named by what is before the first underscore: Ada, Ben, Cyd" in done.stderr
    done = run("evaluate", tmp_path / "run", flat)
    assert done.returncode == 0, done.stderr
    assert "Evaluation on 9 documents" in done.stderr
