"""TensorFlow loads without a word, and nothing that Python says is lost meanwhile."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from checkpoints import write_checkpoint, write_corpus
from command import run

pytestmark = pytest.mark.train

LOAD = """
import os, sys
from authorid.training.encoder import keras_setup
load = keras_setup.require
def require(name, extra):
    os.write(2, b"native message\\n")
    print("message of Python", file=sys.stderr)
    return load(name, extra)
keras_setup.require = require
keras_setup.import_keras_hub()
assert keras_setup.import_keras() is keras_setup.import_keras()
print("afterwards", file=sys.stderr)
os.write(2, b"native message afterwards\\n")
import logging
logging.getLogger("tensorflow").warning("message of TensorFlow's logger")
"""


def loaded(**variables):
    environment = {name: value for name, value in os.environ.items() if name != "TF_CPP_MIN_LOG_LEVEL"}
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOAD], capture_output=True, text=True, env=environment | variables
    )
    assert done.returncode == 0, done.stderr
    return done.stderr.splitlines()


def test_native_messages_are_discarded_and_those_of_python_are_shown():
    assert loaded() == ["message of Python"] * 3 + [
        "afterwards",
        "native message afterwards",
        "WARNING:tensorflow:message of TensorFlow's logger",
    ]


def test_native_messages_are_shown_on_request():
    assert loaded(TF_CPP_MIN_LOG_LEVEL="0").count("native message") == 3


# TensorFlow complains about the fifth function that is traced.
@pytest.mark.parametrize("recipe", [("probe", "--epochs", 1), ("classic", "--epochs", 7)])
def test_a_quiet_training_shows_only_warnings(recipe, tmp_path, monkeypatch):
    monkeypatch.delenv("TF_CPP_MIN_LOG_LEVEL", raising=False)  # which TensorFlow in this process has set
    base = write_checkpoint(tmp_path / "base", "distilbert")
    corpus = write_corpus(tmp_path / "corpus", 5)
    options = ("--base-model", base, "--recipe", *recipe, "--window", 32, "--quiet")
    done = run("train", corpus, "--out", tmp_path / "run", *options, timeout=500)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert [line for line in done.stderr.splitlines() if not line.startswith("warning: ")] == []
    for arguments in (("evaluate", tmp_path / "run", corpus), ("export", tmp_path / "run", "-o", tmp_path / "bundle")):
        done = run(*arguments, "--quiet", timeout=500)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
