"""One shard after the other in processes that die, without a cluster."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys

import pytest
from command import run as authorid
from ray_cluster import hooked
from tiny import AUTHORS, make_bundle, prose

from authorid import Scorer
from authorid.encoder.engine_options import EngineOptions
from authorid.errors import OutputError
from authorid.inputs.documents import ReadOptions
from authorid.inputs.listing import listed_files
from authorid.outputs import reserve
from authorid.outputs.part_order import merged_records, ordered_parts
from authorid.runners import shard_worker
from authorid.runners.run_plan import begin_plan, is_parts_directory, parts_directory, remove_parts, shard_count
from authorid.runners.shard_worker import ShardRun, ShardWorker, rows_fingerprint
from authorid.scoring.merged_stats import merge_statistics

CHILD = """
import pickle, sys
from pathlib import Path
from authorid.runners.shard_worker import ShardWorker
print(*ShardWorker(pickle.loads(Path("run.pickle").read_bytes()), "node").score(int(sys.argv[1])))
"""


@pytest.fixture
def shard_run(tmp_path, bundle, monkeypatch):
    """Makes the run over some texts, in a directory of its own, which is the working directory."""

    def make(texts, shards=1, **rows):
        (tmp_path / "docs").mkdir(exist_ok=True)
        for number, text in enumerate(texts):
            (tmp_path / "docs" / f"{number:03}.txt").write_text(text)
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr("authorid.runners.run_plan.shard_count", lambda *_: shards)
        scorer, paths = Scorer.load(bundle.path), ("docs",)
        fingerprint = rows_fingerprint(scorer, paths, ReadOptions(), rows)
        plan = begin_plan(tmp_path / "rows.csv.parts", listed_files(paths), fingerprint, workers=1)
        model = {"model": str(bundle.path)}
        return ShardRun(
            plan, "token", str(tmp_path), paths, ReadOptions(), model, scorer.bundle.digest, EngineOptions(), rows
        )

    return make


@pytest.fixture
def child(tmp_path):
    """Scores a shard in a process that may die; returns what it printed, or its signal."""
    home = hooked(tmp_path / "hook")

    def score(run, number=1):
        (tmp_path / "run.pickle").write_bytes(pickle.dumps(run))
        done = subprocess.run(
            [sys.executable, "-c", CHILD, str(number)],
            cwd=tmp_path,
            env={**os.environ, "PYTHONPATH": str(home)},
            capture_output=True,
            text=True,
        )
        return done.stdout.strip() or done.returncode or done.stderr

    return score


def rows(run):
    return list(merged_records(ordered_parts([run.plan.part(k) for k in range(1, run.plan.shards + 1)])))


def texts(count):
    return [prose(AUTHORS[number % 3], 30, seed=number) for number in range(count)]


def test_the_parts_are_the_undivided_run(shard_run, bundle, tmp_path):
    run = shard_run([*texts(20), ""], shards=4)
    worker = ShardWorker(run, "node")
    assert run.plan.unfinished() == [1, 2, 3, 4]
    done = [worker.score(number) for number in (2, 4, 1, 3)]
    assert not any(one.error for one in done)
    assert (sum(one.documents for one in done), sum(one.failed for one in done)) == (21, 1)
    assert run.plan.unfinished() == []
    assert rows(run) == list(Scorer.load(bundle.path).score(["docs"]))
    assert worker.score(2) == done[0], "a shard that is finished is not scored again"
    stats, report = merge_statistics(part.statistics() for part in ordered_parts([*tmp_path.glob("*.parts/*.part")]))
    assert (stats.documents, report["failed"]) == (21, 1)


def test_a_shard_goes_on_where_its_predecessor_died(shard_run, child, tmp_path):
    *healthy, last = texts(40)
    run = shard_run([*healthy, "POISON READ"])
    (tmp_path / "hook" / "delay").write_text("0.02")
    assert child(run) == -11
    (tmp_path / "docs" / "039.txt").write_text(last)
    assert child(run) == "1 node 40 0"
    (part,) = ordered_parts([run.plan.part(1)])
    assert part.statistics()["state"]["recalled_documents"] > 0
    assert [row.status for row in rows(run)] == ["scored"] * 40


@pytest.mark.parametrize(("word", "verb"), [("POISON", "scored"), ("POISON READ", "read")])
def test_a_document_that_kills_its_process_becomes_a_failed_row(shard_run, child, bundle, word, verb):
    healthy = texts(8)
    run = shard_run([*healthy[:3], f"the engine {word} of the loom", *healthy[4:]])
    deaths = [child(run) for _ in range(4)]
    assert deaths == [-11] * 4, "two plain attempts, and two on one document at a time"
    assert child(run) == "1 node 8 1"
    found = rows(run)
    expected = list(Scorer.load(bundle.path).score(["docs"]))
    assert found[:3] + found[4:] == expected[:3] + expected[4:], "the bits do not depend on the pace"
    assert (found[3].status, found[3].error) == ("failed", f"the process that {verb} this document died 2 times")
    assert found[3].path == "docs/003.txt"


def test_a_shard_on_which_processes_die_without_end_ends_the_run(shard_run, child, monkeypatch):
    run = shard_run(["the POISON"] * 3)
    run.plan.attempts(1)[0].write_text("begin token plain\n" * 20)
    done = ShardWorker(run, "node").score(1)
    assert done.error == "20 processes died while they scored it"


def test_evidence_and_explanations_come_along(shard_run, bundle):
    run = shard_run(texts(3), evidence=True)
    ShardWorker(run, "node").score(1)
    assert rows(run) == list(Scorer.load(bundle.path).score(["docs"], evidence=True))
    assert all(row.evidence for row in rows(run))


def test_errors_are_returned_and_name_what_the_node_lacks(shard_run, tmp_path, monkeypatch):
    from dataclasses import replace

    run = shard_run(texts(2))
    elsewhere = replace(run, directory="/nowhere/at/all")
    assert ShardWorker(elsewhere, "n").score(1).error == (
        "/nowhere/at/all: no such directory; every node needs the same files at the same paths"
    )
    no_inputs = replace(run, paths=("letters",))
    assert ShardWorker(no_inputs, "n").score(1).error.startswith("letters: no such file or directory; every node needs")
    no_model = replace(run, model={"model": str(tmp_path / "none")})
    assert ShardWorker(no_model, "n").score(1).error.endswith("; every node needs the model at the same path")
    other = make_bundle(tmp_path / "other", rest=1.0)
    another = replace(run, model={"model": str(other.path)})
    assert "another model than on the machine that started the run" in ShardWorker(another, "n").score(1).error
    assert ShardWorker(run, "n").score(1).error == ""


def test_it_waits_for_a_predecessor_that_has_not_quite_died(shard_run, monkeypatch):
    run = shard_run(texts(2))
    monkeypatch.setattr(shard_worker, "_BUSY_SECONDS", 0.2)
    with reserve(str(run.plan.part(1)), resume=True):
        assert "another run is writing it" in ShardWorker(run, "n").score(1).error
    assert ShardWorker(run, "n").score(1).error == ""


def test_a_full_disk_costs_nothing_but_the_attempt(shard_run, child):
    run = shard_run(texts(4))
    os.environ["FULL_DISK"] = "1"
    try:
        assert "no space left on device" in child(run)
    finally:
        del os.environ["FULL_DISK"]
    assert child(run) == "1 node 4 0"


def test_a_plan_is_taken_up_again_or_refused(shard_run, tmp_path, bundle):
    run = shard_run(texts(4), shards=3)
    fingerprint = rows_fingerprint(Scorer.load(bundle.path), ("docs",), ReadOptions(), {})
    (tmp_path / "docs" / "new.txt").write_text("came later")
    again = begin_plan(run.plan.directory, pytest.fail, fingerprint, workers=99)
    assert again == run.plan, "the files are those of the first listing"
    with pytest.raises(OutputError, match=r"not the run that was interrupted: effort was '\w+', now 'fast'"):
        begin_plan(run.plan.directory, [], fingerprint | {"effort": "fast"}, workers=1)
    (run.plan.directory / "run.json").write_text("{")
    with pytest.raises(OutputError, match="damaged, or of another release; pass --force"):
        begin_plan(run.plan.directory, [], fingerprint, workers=1)


def test_shards_are_several_for_each_worker_and_not_too_large():
    assert shard_count(1000, 4) == 32
    assert shard_count(1 << 40, 4) == 4096
    assert shard_count(1 << 60, 4) == 99_999


def test_only_directories_of_parts_are_removed(tmp_path, shard_run):
    run = shard_run(texts(3), shards=2)
    for number in (1, 2):
        ShardWorker(run, "n").score(number)
    directory = parts_directory(str(tmp_path / "rows.csv"))
    assert directory == run.plan.directory
    (directory / "ray.log").touch()
    (directory / "letters.txt").write_text("mine")
    assert not is_parts_directory(directory)
    remove_parts(directory)
    assert (directory / "letters.txt").exists()
    (directory / "letters.txt").unlink()
    remove_parts(directory)
    assert not directory.exists()


def test_a_local_run_imports_no_ray(tmp_path, bundle):
    (tmp_path / "a.txt").write_text("The engine and the loom.")
    prelude = "import atexit, sys; atexit.register(lambda: print('ray' in sys.modules, file=sys.stderr))"
    done = authorid("score", "a.txt", "--model", bundle.path, "-q", prelude=prelude, cwd=tmp_path)
    assert (done.returncode, done.stderr.strip()) == (0, "False")
