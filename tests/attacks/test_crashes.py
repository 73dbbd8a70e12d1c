"""Runs that are killed at random moments, around every operation on files, or by a power cut, and then resumed."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from itertools import product
from pathlib import Path

import pytest
from command import command, environment, journal_size
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


@pytest.mark.promise("resume-same-bytes")
@pytest.mark.parametrize("suffix", [".jsonl", ".csv", ".parquet"])
def test_a_run_over_a_table_killed_at_several_points_gives_the_same_bytes(bundle, tmp_path, suffix):
    """A small file before the table and one after it: rows and files follow each other in the journal."""
    docs = tmp_path / "docs"
    docs.mkdir()
    for name in ("a.txt", "z.txt"):
        (docs / name).write_text(prose("Ben", 30, 4))
    texts = ["" if row % 100 == 99 else prose(AUTHORS[row % 3], 5 + row % 60, row) for row in range(1500)]
    if suffix == ".parquet":
        pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({"text": texts}), docs / "table.parquet")
    elif suffix == ".csv":
        (docs / "table.csv").write_text("text\n" + "".join(f'"{text}"\n' for text in texts))
    else:
        (docs / "table.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))

    def start(out):
        arguments = ("score", docs, "--model", bundle.path, "--out", out, "--resume", "-q", "--format", "jsonl")
        return subprocess.Popen(command(*arguments), stderr=subprocess.DEVNULL, env=environment(tmp_path))

    whole, out = tmp_path / "whole.jsonl", tmp_path / "out.jsonl"
    assert start(whole).wait(120) == 3
    kills = 0
    for kill in range(1, 4):
        with start(out) as process:
            while process.poll() is None:  # each kill comes later in the table
                if journal_size(out) > whole.stat().st_size * kill / 8:
                    process.kill()
                time.sleep(0.001)
        if out.exists():
            break
        kills += process.returncode == -9
    if not out.exists():
        assert start(out).wait(120) == 3
    assert kills > 1
    assert out.read_bytes() == whole.read_bytes()
    rows = [json.loads(line) for line in out.read_bytes().splitlines()]
    assert [row["member"] for row in rows] == [None, *(str(number + 1) for number in range(1500)), None]


@pytest.mark.promise("resume-same-bytes", "force-unbegun", "no-leftovers")
@pytest.mark.parametrize(
    ("form", "how"),
    [*product(["csv", "tsv", "jsonl", "parquet"], ["", "power", "twice", "force"]), ("part", "power")],
)
def test_a_run_killed_around_any_file_operation_gives_the_same_bytes(tmp_path, form, how):
    seams = Path(__file__).resolve().parents[1] / "seams.py"
    done = subprocess.run(
        [sys.executable, str(seams), str(tmp_path), form, how], capture_output=True, text=True, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert int(done.stdout) > 40
