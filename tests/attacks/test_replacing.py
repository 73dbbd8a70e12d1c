"""Runs and bundles that are replaced by processes that are killed, and by several at once."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import command, environment, run
from fusion_bundle import write_corpus

from authorid.bundle.manifest import load_bundle

pytest.importorskip("scipy")

HOLD = """
import os, sys, time
import authorid.outputs.directory as directory
publish = directory.Workspace.publish
def hold(self):
    print("ready", flush=True)
    sys.stdin.readline()
    publish(self)
directory.Workspace.publish = hold
"""


@pytest.mark.promise("model-in-place")
@pytest.mark.parametrize("how", ["", "two-steps"])
@pytest.mark.parametrize("what", ["train", "export"])
def test_a_process_killed_at_any_moment_leaves_the_old_model_or_the_new_one(tmp_path, what, how):
    program = Path(__file__).resolve().parents[1] / "replacing.py"
    done = subprocess.run(
        [sys.executable, str(program), str(tmp_path), what, how],
        capture_output=True,
        text=True,
        timeout=900,
        env=os.environ | {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 25


@pytest.fixture
def holding(tmp_path):
    """A training that has built its run and waits before it publishes it; ends it at the end of the test."""
    write_corpus(tmp_path / "corpus")
    done = run("train", tmp_path / "corpus", "--no-encoder", "--out", tmp_path / "model", "-q")
    assert done.returncode == 0, done.stderr
    process = subprocess.Popen(
        command("train", tmp_path / "corpus", "--no-encoder", "--out", tmp_path / "model", "--force", prelude=HOLD),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(tmp_path),
    )
    assert process.stdout.readline() == b"ready\n"
    with process:
        yield process
        process.kill()


@pytest.mark.promise("model-exclusive")
def test_trainings_and_exports_to_one_directory_exclude_each_other(tmp_path, holding):
    model = tmp_path / "model"
    for arguments in (
        ("train", tmp_path / "corpus", "--no-encoder", "--out", model, "--force"),
        ("export", model, "--out", model, "--force"),
    ):
        done = run(*arguments)
        assert done.returncode == 1
        message = re.sub(r"\s+", " ", done.stderr)
        assert f"model: another run is writing it (process {holding.pid}); wait for it" in message
    assert run("export", model, "--out", tmp_path / "other", "-q").returncode == 0  # reading goes on
    holding.communicate(b"\n")
    assert holding.returncode == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "model", "other"]


@pytest.mark.promise("model-in-place")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_the_leftovers_of_a_killed_training_are_named_and_removed_by_the_next(tmp_path, holding, number):
    model = tmp_path / "model"
    before = (model / "authorid.json").read_bytes()
    holding.send_signal(number)
    holding.wait()
    load_bundle(model)
    assert (model / "authorid.json").read_bytes() == before
    done = run("export", model, "--out", model, "--force")
    assert done.returncode == 0
    message = re.sub(r"\s+", "", done.stderr)
    assert ("whichakilledprocessleft" in message) == (number == signal.SIGKILL)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "model"]


@pytest.mark.promise("model-exclusive")
def test_of_many_trainings_at_once_one_writes_and_the_model_is_whole(tmp_path):
    write_corpus(tmp_path / "corpus")
    arguments = ("train", tmp_path / "corpus", "--no-encoder", "--out", tmp_path / "model", "--force", "-q")
    processes = [subprocess.Popen(command(*arguments), stderr=subprocess.PIPE) for _ in range(4)]
    deadline = time.monotonic() + 120
    ends = [(process.communicate(timeout=deadline - time.monotonic())[1], process.returncode) for process in processes]
    assert 0 in [code for _, code in ends]
    assert all(code == 0 or b"another run is writing it" in re.sub(rb"\s+", b" ", message) for message, code in ends)
    load_bundle(tmp_path / "model")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "model"]
