"""Runs that are killed at random moments, around every operation on files, or by a power cut, and then resumed."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command import command, environment
from tiny import AUTHORS, prose

KILLS = 50
DOCUMENTS = 1500


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("crash") / "docs"
    for number in range(DOCUMENTS):
        path = root / f"{number % 7}" / f"{number:05}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("" if number % 100 == 99 else prose(AUTHORS[number % 3], 5 + number % 60, number))
    return root


@pytest.mark.promise("resume-same-bytes")
def test_a_run_killed_fifty_times_at_random_gives_the_same_bytes(bundle, corpus, tmp_path):
    def start(out):
        arguments = ("score", corpus, "--model", bundle.path, "--out", out, "--resume", "-q", "--format", "jsonl")
        return subprocess.Popen(command(*arguments), stderr=subprocess.PIPE, env=environment(tmp_path))

    def end(process):
        _, err = process.communicate(timeout=120)
        return process.returncode, err

    def wait_for(path, process):
        while not path.exists() and process.poll() is None:
            time.sleep(0.001)

    whole = tmp_path / "whole.jsonl"
    start(whole).communicate(timeout=120)  # once to fill the caches, once to measure
    whole.unlink()
    begun = time.monotonic()
    process = start(whole)
    wait_for(tmp_path / "whole.jsonl.journal", process)
    preparing = time.monotonic() - begun
    assert end(process)[0] == 3
    scoring = time.monotonic() - begun - preparing

    chance = random.Random(6)
    kills = runs = 0
    out = tmp_path / "out.jsonl"
    while kills < KILLS:
        runs += 1
        while True:
            process = start(out)
            if chance.random() < 0.8:  # most kills while rows are written, some before that
                wait_for(tmp_path / "out.jsonl.lock", process)
                time.sleep(chance.uniform(0, scoring * 0.7))
            else:
                time.sleep(chance.uniform(0, preparing))
            process.kill()
            code, err = end(process)
            if code != -9:
                assert code in (0, 3), err  # 0: the file was complete before the last kill
                break
            kills += 1
            if kills == KILLS:
                assert end(start(out))[0] in (0, 3)
                break
        assert out.read_bytes() == whole.read_bytes()
        assert sorted(path.name for path in tmp_path.glob("out.jsonl*")) == ["out.jsonl"]
        out.unlink()
    assert runs >= 1


@pytest.mark.promise("resume-same-bytes", "force-unbegun", "no-leftovers")
@pytest.mark.parametrize("how", ["", "power", "twice", "force"])
@pytest.mark.parametrize("form", ["csv", "tsv", "jsonl", "parquet"])
def test_a_run_killed_around_any_file_operation_gives_the_same_bytes(tmp_path, form, how):
    seams = Path(__file__).resolve().parents[1] / "seams.py"
    done = subprocess.run(
        [sys.executable, str(seams), str(tmp_path), form, how], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 40
