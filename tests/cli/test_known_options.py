"""``score --known CORPUS``: one command fits, keeps and uses a model of the user's own authors."""

from __future__ import annotations

import csv
import io
import os
import signal
import subprocess
import time

import pytest
from checkpoints import AUTHORS, write_corpus
from command import command, run

pytest.importorskip("scipy")

FITTED, KEPT = "n-grams in", "their model is in the cache"


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus", 6)


@pytest.fixture
def letters(tmp_path):
    return write_corpus(tmp_path / "letters", 2, seed=9)


@pytest.fixture
def home(tmp_path):
    """A cache of one test."""
    return {**os.environ, "AUTHORID_CACHE": str(tmp_path / "cache")}


@pytest.fixture
def score(corpus, letters, home):
    """Runs ``authorid score letters --known corpus --out -``, with more arguments; returns the finished process."""

    def call(*arguments, out="-", prelude=""):
        return run("score", letters, "--known", corpus, "--out", out, *arguments, prelude=prelude, env=home)

    return call


def models(tmp_path):
    return sorted(path.name for path in (tmp_path / "cache").glob("known-authors/*"))


def test_the_model_is_fitted_once_and_again_when_the_corpus_changes(score, corpus, tmp_path):
    first, second = score(), score()
    assert first.returncode == 0, first.stderr
    assert "18 documents by 3 authors: Ada, Ben, Cyd" in first.stderr
    assert FITTED in first.stderr and KEPT not in first.stderr
    assert FITTED not in second.stderr and KEPT in second.stderr
    assert second.stdout == first.stdout
    rows = list(csv.DictReader(io.StringIO(first.stdout)))
    assert [row["author"] for row in rows] == [author for author in AUTHORS for _ in range(2)]
    (corpus / "Ada" / "1.txt").write_text("the loom and the engine of the number")
    assert FITTED in score().stderr
    assert FITTED in score("--sample-words", "5").stderr
    assert FITTED in score("--exclude-author", "Cyd").stderr
    assert KEPT in score("--exclude-author", "Cyd").stderr
    assert len(models(tmp_path)) == 4


def test_it_gives_the_answers_of_a_training(score, corpus, letters, tmp_path):
    run("train", corpus, "--no-encoder", "--out", tmp_path / "run")
    done = run("score", letters, "--model", tmp_path / "run", "--out", "-")
    assert done.stdout == score().stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--known", "c", "--model", "m"], "leave out --model"),
        (["--known", "c", "--effort", "full"], "has no encoder"),
        (["--sample-words", "5"], "this option is about the corpus of --known"),
        (["--exclude-author", "Ada"], "this option is about the corpus of --known"),
        (["--all-authors"], "this option is about the corpus of --known"),
    ],
)
def test_options_that_exclude_each_other_are_wrong_usage(arguments, message):
    done = run("score", "letters", *arguments)
    assert done.returncode == 2
    assert message in " ".join(done.stderr.split())


def test_a_corpus_that_cannot_be_learned_from_leaves_no_results(score, corpus, tmp_path):
    (corpus / "unknown").mkdir()
    done = score(out=tmp_path / "out.csv")
    assert done.returncode == 1
    assert "pass --exclude-author unknown to leave it out, or --all-authors" in done.stderr
    assert not (tmp_path / "out.csv").exists()


def test_a_run_is_resumed_with_the_same_corpus_only(score, corpus, letters, tmp_path):
    out = tmp_path / "out.csv"
    whole, letter = score(), (letters / "Ben" / "1.txt").read_text()
    (letters / "Ben" / "1.txt").write_bytes(b"\0\1\2")
    stopped = score("--fail-fast", out=out)
    assert stopped.returncode == 1 and (tmp_path / "out.csv.journal").exists()
    (letters / "Ben" / "1.txt").write_text(letter)
    text = (corpus / "Ada" / "1.txt").read_text()
    (corpus / "Ada" / "1.txt").write_text("the loom and the engine")
    refused = score("--resume", out=out)
    assert refused.returncode == 1
    assert "known_authors was" in refused.stderr
    (corpus / "Ada" / "1.txt").write_text(text)
    resumed = score("--resume", out=out)
    assert resumed.returncode == 0, resumed.stderr
    assert out.read_text() == whole.stdout


SLOW = """
import os, time
from authorid.training import fusion
whole = fusion.fit_open_set
def slow(*arguments, **others):
    os.write(1, b'.')
    time.sleep(30)
    return whole(*arguments, **others)
fusion.fit_open_set = slow
"""
"""The fit announces that it has begun, and takes long."""


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_fit_that_is_ended_leaves_nothing_that_could_be_used(score, corpus, letters, home, tmp_path, sent, code):
    arguments = ("score", letters, "--known", corpus, "--out", tmp_path / "out.csv")
    process = subprocess.Popen(
        command(*arguments, prelude=SLOW), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=home
    )
    assert process.stdout.read(1) == b"."
    begun = time.monotonic()
    process.send_signal(sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == code
    assert time.monotonic() - begun < 5
    assert b"Traceback" not in err
    assert not (tmp_path / "out.csv").exists()
    assert [name for name in models(tmp_path) if not name.startswith(".")] == []
    done = score(out=tmp_path / "out.csv")
    assert done.returncode == 0, done.stderr
    (model,) = models(tmp_path)
    assert len(model) == 64


def test_processes_that_want_the_same_model_share_it(corpus, letters, home, tmp_path):
    arguments = ("score", letters, "--known", corpus, "--out", "-")
    started = [
        subprocess.Popen(command(*arguments), stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=home)
        for _ in range(3)
    ]
    outputs = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0, 0], outputs
    assert len({out for out, _ in outputs}) == 1
    assert sum(FITTED.encode() in err for _, err in outputs) == 1
    assert len(models(tmp_path)) == 1


@pytest.mark.parametrize("flat", [False, True])
def test_names_of_authors_do_no_harm(corpus, letters, home, tmp_path, flat):
    hostile = ("=cmd|' /C calc'!A0", 'a "quoted", name', "\x1b[31mred\x1b[0m", "two\nlines", "\u202eright")
    root = tmp_path / "hostile"
    for number, name in enumerate(hostile):
        (root if flat else root / name).mkdir(parents=True, exist_ok=True)
        for text in range(4):
            words = (corpus / AUTHORS[number % 3] / f"{text + 1}.txt").read_text()
            path = root / f"{name}_{text}.txt".replace("/", "-") if flat else root / name / f"{text}.txt"
            path.write_text(f"{words} w{number} x{number} {number}")
    done = run("score", letters, "--known", root, "--out", tmp_path / "out.csv", "--rows", "9", env=home)
    assert done.returncode == 0, done.stderr
    assert not {"\x1b", "\u202e"} & {*done.stderr}
    with (tmp_path / "out.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 6
    assert all(row["status"] in ("scored", "unknown") and None not in row for row in rows)
    assert not any(row["author"].startswith("=") for row in rows)


def test_training_documents_among_the_questioned_ones_are_named(score, corpus, letters):
    assert "the model learned from" not in score().stderr
    (letters / "Ada" / "1.txt").write_bytes((corpus / "Ada" / "3.txt").read_bytes())
    assert (
        f"1 document is one that the model learned from, whose author it knows: {letters}/Ada/1.txt" in score().stderr
    )
    done = score(corpus)
    assert "19 documents are among those that the model learned from" in done.stderr


def test_a_cache_that_cannot_be_written_costs_only_time(corpus, letters, tmp_path):
    (tmp_path / "file").write_text("")
    env = {**os.environ, "AUTHORID_CACHE": str(tmp_path / "file")}
    done = run("score", letters, "--known", corpus, "--out", "-", env=env)
    assert done.returncode == 0, done.stderr
    assert "warning: the model is not kept" in done.stderr
    assert done.stdout.count("scored") == 6
