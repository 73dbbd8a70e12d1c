"""Which directories are learnt as authors, and which are asked about."""

from __future__ import annotations

import re

import pytest
from checkpoints import write_corpus
from command import run
from tiny import AUTHORS, prose

pytest.importorskip("scipy")
from authorid.errors import CorpusError
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, load_corpus
from authorid.training.corpus import load_known_corpus
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams


def add(root, name, documents=3):
    (root / name).mkdir(parents=True)
    for i in range(documents):
        (root / name / f"{i}.txt").write_text(prose(AUTHORS[len(name) % 3], 40, seed=i) + name)


@pytest.fixture
def root(tmp_path):
    return write_corpus(tmp_path / "corpus", documents=3)


@pytest.mark.parametrize(
    ("one", "other", "both"),
    [
        ("Zo\u00eb", "Zoe\u0308", r"'Zoe\u0308' and 'Zo\xeb' differ only in Unicode normalization"),
        ("Bob", "bob", "'Bob' and 'bob' differ only in case"),
    ],
)
def test_directories_that_are_one_author_are_an_error_that_names_both(root, one, other, both):
    for name in (one, other):
        add(root, name)
    for load in (load_corpus, lambda corpus: load_known_corpus(corpus, [*AUTHORS, one])):
        with pytest.raises(CorpusError) as found:
            load(root)
        assert both in str(found.value)
        assert "rename one, or move its documents to the other" in str(found.value)


@pytest.mark.parametrize(
    "name",
    ["unknown", "Unknown", "UNKNOWN_2", "test", "train", "disputed", "Anonymous", "__pycache__", "New Folder (2)",
     "unknown authors", "__MACOSX", "validation1"],
)  # fmt: skip
def test_a_directory_that_is_probably_no_author_is_asked_about(root, name):
    add(root, name)
    with pytest.raises(CorpusError, match=re.escape(repr(name))) as found:
        load_corpus(root)
    assert f"--exclude-author {name}" in str(found.value).replace("'", "")
    assert "--all-authors" in str(found.value)
    assert name in load_corpus(CorpusSpec(root, all_authors=True)).authors
    corpus = load_corpus(CorpusSpec(root, exclude_authors=(name,)))
    assert corpus.authors == AUTHORS
    assert corpus.digest == load_corpus(write_corpus(root.parent / "same", documents=3)).digest


@pytest.mark.parametrize("name", ["Testa", "Trainor", "Nobody", "_kim_", "Others, Ann", "Unknownsky", "42", "O'Dev"])
def test_other_names_are_authors(root, name):
    add(root, name)
    assert name in load_corpus(root).authors


def test_a_run_in_the_corpus_is_no_author(root):
    add(root, "model-a")
    (root / "model-a" / "run.json").write_text("{}")
    with pytest.raises(CorpusError, match="'model-a' is probably not an author"):
        load_corpus(root)


def test_hidden_directories_are_asked_about_when_hidden_files_are_read(root):
    add(root, ".git")
    assert load_corpus(root).authors == AUTHORS
    with pytest.raises(CorpusError, match=r"'\.git' is probably not an author"):
        load_corpus(CorpusSpec(root, ReadOptions(hidden=True)))


def test_an_excluded_author_must_exist(root):
    with pytest.raises(CorpusError, match="has no author directory 'unknwon'"):
        load_corpus(CorpusSpec(root, exclude_authors=("unknwon",)))
    with pytest.raises(TypeError, match="single string"):
        CorpusSpec(root, exclude_authors="unknown")


def test_names_are_matched_to_a_model_in_one_normal_form(tmp_path):
    """A corpus from a file system that decomposes names is evaluated with a model from one that does not."""
    for name in ("Ann", "Zo\u00eb"):
        add(tmp_path / "train", name, 6)
    train_ngrams(tmp_path / "train", tmp_path / "run", NgramOptions(bits=14))
    for name in ("Ann", "Zoe\u0308"):
        add(tmp_path / "test", name, 2)
    assert load_known_corpus(tmp_path / "test", ["Ann", "Zo\u00eb"]).authors == ("Ann", "Zo\u00eb")
    done = run("evaluate", tmp_path / "run", tmp_path / "test")
    assert done.returncode == 0, done.stderr
    assert "Evaluation on 4 documents" in done.stderr
    (tmp_path / "test" / "Ann").rename(tmp_path / "test" / "ann")
    done = run("evaluate", tmp_path / "run", tmp_path / "test")
    assert done.returncode == 1
    assert "1 of its 2 authors are unknown to the model: ann (there is Ann); --exclude-author NAME" in done.stderr


def test_a_decomposed_name_is_learnt_in_normal_form_c(tmp_path):
    for name in ("Ann", "Zoe\u0308"):
        add(tmp_path, name)
    corpus = load_corpus(tmp_path)
    assert corpus.authors == ("Ann", "Zo\u00eb")
    assert corpus.documents[-1].path == "Zoe\u0308/2.txt"


def test_the_command_asks_and_takes_the_answer(root):
    add(root, "unknown")
    add(root, "test")
    out = root.parent / "run"
    done = run("train", root, "--out", out, "--no-encoder")
    assert done.returncode == 1
    assert (
        "'test', 'unknown' are probably not authors; pass --exclude-author test --exclude-author unknown to leave them "
        "out, or --all-authors to learn every directory as an author" in done.stderr
    )
    assert not out.exists()
    answer = ("--exclude-author", "test", "--exclude-author", "unknown")
    assert run("train", root, "--out", out, "--no-encoder", "-q", *answer).returncode == 0
    done = run("evaluate", out, root)
    assert "2 of its 5 authors are unknown to the model: test, unknown; --exclude-author NAME" in done.stderr
    done = run("evaluate", out, root, *answer)
    assert done.returncode == 0, done.stderr
    assert "Evaluation on 9 documents" in done.stderr
    done = run("train", root, "--out", root.parent / "all", "--no-encoder", "--all-authors", "--test-corpus", root)
    assert done.returncode == 0, done.stderr
    assert "Evaluation on 15 documents" in done.stderr
