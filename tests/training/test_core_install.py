"""N-gram training and evaluation need nothing but the core dependencies and scipy (extra ``fit``)."""

from __future__ import annotations

import json

import pytest
from checkpoints import write_corpus
from command import run

pytest.importorskip("scipy")

ABSENT = (
    "tensorflow",
    "keras",
    "keras_hub",
    "tf2onnx",
    "onnx",
    "transformers",
    "torch",
    "safetensors",
    "sklearn",
    "matplotlib",
)
BLOCK = f"import sys; sys.modules.update(dict.fromkeys({ABSENT!r}))"
"""Python statement after which an import of these packages fails as if they were not installed."""


def test_ngrams_are_trained_and_evaluated_without_training_frameworks(tmp_path):
    corpus, test = write_corpus(tmp_path / "corpus", 8), write_corpus(tmp_path / "test", 3, seed=9)
    arguments = ("train", corpus, "--out", tmp_path / "run", "--no-encoder", "--test-corpus", test)
    done = run(*arguments, prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    assert "Evaluation on 9 documents" in done.stderr
    done = run("evaluate", tmp_path / "run", test, "--json", tmp_path / "report.json", prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "report.json").read_text())["documents"] == 9


def test_without_tensorflow_n_grams_are_fitted_and_the_encoder_is_explained(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", 8)
    done = run("train", corpus, "--out", tmp_path / "run", prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stderr.splitlines() if "encoder" in line]
    assert line == (
        "only the n-gram model is fitted; for an encoder, this needs 'tensorflow', which is not installed: "
        "pip install 'authorid-toolkit[train]'"
    )
    done = run("score", corpus / "Ada", "--model", tmp_path / "run", "--out", "-", prelude=BLOCK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count(",Ada,") == 8
    done = run("train", corpus, "--out", tmp_path / "chosen", "--no-encoder", prelude=BLOCK)
    assert "encoder" not in done.stderr


@pytest.mark.parametrize("option", [["--encoder"], ["--layers", "2"], ["--base-model", "distilbert"], ["--resume"]])
def test_who_asks_for_an_encoder_gets_the_install_line_and_no_other_model(tmp_path, option):
    done = run("train", write_corpus(tmp_path / "corpus", 2), "--out", tmp_path / "run", *option, prelude=BLOCK)
    assert done.returncode == 1
    assert "pip install 'authorid-toolkit[train]'" in done.stderr
    assert not (tmp_path / "run").exists()


def test_without_scipy_nothing_can_be_fitted(tmp_path):
    corpus = write_corpus(tmp_path / "corpus", 2)
    for arguments in (("train", corpus, "--out", tmp_path / "run"), ("score", corpus, "--known", corpus)):
        done = run(*arguments, prelude=f"{BLOCK}; sys.modules['scipy'] = None")
        assert done.returncode == 1
        assert "needs 'scipy" in done.stderr
        assert "pip install 'authorid-toolkit[fit]'" in done.stderr


def test_plots_name_their_extra(tmp_path):
    write_corpus(tmp_path / "corpus", 2)
    done = run(
        *("evaluate", "run", "test", "--plots", "plots"), prelude=f"{BLOCK}; import os; os.chdir({str(tmp_path)!r})"
    )
    assert done.returncode == 1
    assert "[plots]" in done.stderr
