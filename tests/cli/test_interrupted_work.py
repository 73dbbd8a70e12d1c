"""Ctrl-C while a model is made: the last line says what is there, and how to go on."""

from __future__ import annotations

import pytest
from command import environment, run

INTERRUPT = """
import os, signal
{setup}
def interrupted(*arguments, **options):
    {before}
    os.kill(os.getpid(), signal.SIGINT)
    signal.pause()
{target} = interrupted
"""


@pytest.fixture
def corpus(tmp_path):
    for author in ("Ada", "Ben"):
        (tmp_path / "corpus" / author).mkdir(parents=True)
        (tmp_path / "corpus" / author / "1.txt").write_text("The river runs to the sea.")
    return tmp_path / "corpus"


def interrupted(tmp_path, *arguments, setup, target, before="pass"):
    prelude = INTERRUPT.format(setup=setup, target=target, before=before)
    done = run(*arguments, prelude=prelude, cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 130
    assert "Traceback" not in done.stderr
    return done.stderr.strip().splitlines()[-1]


def test_a_fit_starts_again(tmp_path, corpus):
    last = interrupted(
        tmp_path,
        *("train", "corpus", "--no-encoder", "--out", "run"),
        setup="import authorid.training.ngram_run as module",
        target="module.train_ngrams",
    )
    assert last == "error: interrupted; run was not written. The same command starts again"


def test_an_encoder_goes_on_after_its_last_epoch(tmp_path, corpus):
    pytest.importorskip("keras", reason="not installed: keras")
    last = interrupted(
        tmp_path,
        *("train", "corpus", "--encoder", "--out", "run", "--recipe", "windows", "--epochs", "2", "--force"),
        setup="import authorid.training as module; from authorid.outputs.directory import Workspace",
        target="module.train",
        before="Workspace.of('run').state.mkdir(parents=True)",
    )
    assert last == (
        "error: interrupted; finished work is safe. "
        "To go on: authorid train corpus --encoder --out run --recipe windows --epochs 2 --resume"
    )


def test_an_export_starts_again(tmp_path):
    pytest.importorskip("keras", reason="not installed: keras")
    (tmp_path / "model").mkdir()
    last = interrupted(
        tmp_path,
        *("export", "model", "--out", "bundle"),
        setup="import authorid.export as module",
        target="module.export_model",
    )
    assert last == "error: interrupted; bundle was not written. The same command starts again"
