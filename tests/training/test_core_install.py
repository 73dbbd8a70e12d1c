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


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [(("train", "corpus", "--out", "run"), "train"), (("evaluate", "run", "test", "--plots", "plots"), "plots")],
)
def test_commands_that_need_more_name_the_extra(tmp_path, arguments, extra):
    write_corpus(tmp_path / "corpus", 2)
    done = run(*arguments, prelude=f"{BLOCK}; import os; os.chdir({str(tmp_path)!r})")
    assert done.returncode == 1
    assert f"[{extra}]" in done.stderr
