"""`authorid score --runner ray` on a real cluster of several nodes, of which any part may die."""

from __future__ import annotations

import json
import os
import random
import signal
from pathlib import Path

import pytest
from command import environment
from command import run as authorid
from ray_cluster import TestCluster, finished, wait_for
from tiny import AUTHORS, prose

pytest.importorskip("ray", reason="not installed: ray")
pytestmark = pytest.mark.filterwarnings("ignore")  # Ray leaves files open

DOCUMENTS = 120


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Two nodes with a CPU each."""
    with TestCluster(tmp_path_factory.mktemp("cluster") / "hook", nodes=2) as cluster:
        yield cluster


@pytest.fixture
def here(tmp_path, bundle):
    """A directory with documents; returns it and the bytes of a local run."""
    (tmp_path / "docs").mkdir()
    for number in range(DOCUMENTS):
        text = prose(AUTHORS[number % 3], 40, seed=number)
        (tmp_path / "docs" / f"{number:03}.txt").write_text("" if number == 77 else text)
    assert local(tmp_path, bundle).returncode == 3
    return tmp_path


def local(home, bundle, out="local.csv", *options):
    return authorid("score", "docs", "--model", bundle.path, "-o", out, *options, cwd=home, env=environment(home))


def read(home, out="rays.csv"):
    return (home / out).read_bytes()


def said(stderr):
    """The lines of a run, without those about its progress, of which there is one a minute."""
    return [line for line in stderr.splitlines() if not line.startswith("Scoring: ")]


def nothing_is_left(home, out="rays.csv"):
    return [path.name for path in home.iterdir() if path.name.startswith(f"{out}.")] == []


@pytest.fixture
def steady(cluster):
    """The cluster, with two nodes and without delays before and after the test."""
    yield cluster
    cluster.delay(0)
    while len(cluster.nodes) < 2:
        cluster.add_node()


@pytest.mark.promise("cluster-same-bytes")
def test_a_worker_and_a_node_die_and_a_disk_is_full(steady, here, bundle):
    """One run, three faults: the bytes are those of a local run, and nothing of Ray is on the screen."""
    steady.add_node(FULL_DISK="1")
    steady.delay(0.05)
    choice = random.Random(1)
    arguments = ("docs", "--model", bundle.path, "-o", "rays.csv", "--stats", "rays.json")
    with steady.driver(*arguments, cwd=here) as driver:
        parts = here / "rays.csv.parts"
        wait_for(lambda: finished(parts) > 2)
        loaded = [Path(f"/proc/{pid}/maps").read_text() for pid in steady.workers()]
        assert loaded and "numpy" in loaded[0] and "libarrow" not in "".join(loaded)  # 15 MB that no file here needs
        assert steady.kill_worker(choice)
        wait_for(lambda: finished(parts) > 5)
        steady.kill_node(0)
        stdout, stderr = driver.communicate(timeout=200)
    assert (driver.returncode, stdout) == (3, ""), stderr
    assert read(here) == read(here, "local.csv")
    assert said(stderr)[0].startswith("120 documents: 119 scored, 1 failed"), stderr
    assert "raylet" not in stderr.lower()
    assert nothing_is_left(here)
    report = json.loads((here / "rays.json").read_text())
    assert (report["documents"], report["runner"]) == (DOCUMENTS, "ray")


def test_the_driver_dies_and_a_document_is_poisoned(steady, here, bundle):
    (here / "docs" / "030.txt").write_text("the engine of the POISON")
    arguments = ("docs", "--model", bundle.path, "-o", "rays.csv")
    steady.delay(0.02)
    with steady.driver(*arguments, cwd=here) as driver:
        wait_for(lambda: finished(here / "rays.csv.parts") > 2)
        driver.kill()
    steady.delay(0)
    code, _, stderr = steady.score(*arguments, cwd=here)
    assert code == 1
    assert "rays.csv.parts: a run was interrupted here; pass --resume to continue it, or --force" in stderr
    code, _, stderr = steady.score(*arguments, "--resume", cwd=here)
    assert code == 3, stderr
    assert said(stderr)[0].startswith("resumed: "), stderr
    assert nothing_is_left(here)
    found, healthy = read(here).splitlines(), read(here, "local.csv").splitlines()
    assert len(found) == len(healthy)
    differing = [line for line, expected in zip(found, healthy, strict=True) if line != expected]
    assert [line.split(b",")[0] for line in differing] == [b"docs/030.txt"]
    assert b"the process that scored this document died 2 times" in differing[0]
    code, _, stderr = steady.score(*arguments, "--resume", cwd=here)
    assert (code, stderr) == (0, "rays.csv is complete: there is nothing to resume (--force scores again)\n")


@pytest.mark.slow
@pytest.mark.promise("cluster-same-bytes")
@pytest.mark.parametrize("first", range(0, 20, 5))
def test_twenty_kills(steady, here, bundle, first):
    """A worker, a node or the driver dies at a moment by chance, twenty times: always the same bytes."""
    for seed in range(first, first + 5):
        choice = random.Random(seed)
        out, fault = f"rays-{seed}.csv", ("worker", "node", "driver")[seed % 3]
        steady.delay(0.03)
        with steady.driver("docs", "--model", bundle.path, "-o", out, cwd=here) as driver:
            parts = here / f"{out}.parts"
            moment = choice.randrange(1, 14)
            wait_for(lambda parts=parts, moment=moment: finished(parts) >= moment)
            if fault == "worker":
                assert steady.kill_worker(choice)
            elif fault == "node":
                steady.kill_node(choice.randrange(2))
            else:
                driver.kill()
            stderr = driver.communicate(timeout=200)[1]
        if fault == "driver":
            _, _, stderr = steady.score("docs", "--model", bundle.path, "-o", out, "--resume", cwd=here)
        assert (here / out).exists(), (fault, stderr)
        assert read(here, out) == read(here, "local.csv"), fault
        assert nothing_is_left(here, out), fault
        while len(steady.nodes) < 2:
            steady.add_node()


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_run_that_can_be_resumed(steady, here, bundle, sign):
    steady.delay(0.05)
    with steady.driver("docs", "--model", bundle.path, "-o", "rays.csv", cwd=here) as driver:
        wait_for(lambda: finished(here / "rays.csv.parts") > 1)
        driver.send_signal(sign)
        stdout, stderr = driver.communicate(timeout=60)
    assert (driver.returncode, stdout) == (128 + sign, "")
    (line,) = said(stderr)
    assert line.startswith("error: interrupted; ")
    assert " of 16 shards are finished. To go on: authorid score docs" in line
    assert line.endswith("--resume")
    wait_for(lambda: not steady.workers())
    steady.delay(0)
    another = ("docs", "--model", bundle.path, "-o", "rays.csv", "--max-bytes", "99", "--resume")
    code, _, stderr = steady.score(*another, cwd=here)
    assert (code, "this is not the run that was interrupted: max_bytes was" in stderr) == (1, True), stderr
    assert steady.score("docs", "--model", bundle.path, "-o", "rays.csv", "--resume", cwd=here)[0] == 3
    assert read(here) == read(here, "local.csv")


@pytest.mark.slow
def test_tables_and_other_formats(steady, here, bundle):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    texts = [prose(AUTHORS[number % 3], 40, seed=number) for number in range(400)]
    parquet.write_table(arrow.table({"text": texts}), here / "docs" / "many.parquet", row_group_size=20)
    for form in ("jsonl", "parquet"):
        options = ("--evidence", "--top", "2")
        assert local(here, bundle, f"local.{form}", *options).returncode == 3
        assert steady.score("docs", "--model", bundle.path, "-o", f"rays.{form}", *options, cwd=here)[0] == 3
        assert read(here, f"rays.{form}") == read(here, f"local.{form}")
    assert authorid("list", "docs", "-o", "files.csv", cwd=here).returncode == 0
    arguments = ("--listing", "files.csv", "--model", bundle.path, "-o", "listed.parquet", "--evidence", "--top", "2")
    assert steady.score(*arguments, cwd=here)[0] == 3
    assert read(here, "listed.parquet") == read(here, "local.parquet")


@pytest.mark.slow
def test_a_disk_that_is_full_everywhere_ends_the_run_with_one_line(steady, here, bundle):
    disk = here / "disk"
    disk.mkdir()
    if os.geteuid() or os.system(f"mount -t tmpfs -o size=64k tmpfs {disk} 2>/dev/null"):
        pytest.skip("no file system can be mounted here")
    try:
        arguments = ("docs", "--model", bundle.path, "-o", "disk/rays.csv")
        code, _, stderr = steady.score(*arguments, cwd=here)
        assert (code, len(said(stderr))) == (1, 1), stderr
        assert "no space left on device" in stderr
        os.system(f"mount -o remount,size=64m {disk}")
        if "To go on" in stderr:
            assert steady.score(*arguments, "--resume", cwd=here)[0] == 3
        else:
            assert steady.score(*arguments, cwd=here)[0] == 3
        assert read(disk) == read(here, "local.csv")
    finally:
        os.system(f"umount {disk}")


def test_without_a_cluster(tmp_path, bundle):
    Path(tmp_path / "a.txt").write_text("The engine.")

    def unreachable(*options):
        arguments = ("score", "a.txt", "--model", bundle.path, "-o", "rows.csv", "--runner", "ray", *options)
        return authorid(*arguments, "--ray-address", "127.0.0.1:1", cwd=tmp_path, env=environment(tmp_path))

    done = unreachable()
    assert done.returncode == 1
    assert done.stderr.startswith("error: no Ray cluster answers at 127.0.0.1:1")
    assert len(done.stderr.splitlines()) == 1
    assert nothing_is_left(tmp_path, "rows.csv")
    plan = tmp_path / "rows.csv.parts" / "run.json"
    plan.parent.mkdir()
    plan.write_text("the plan of a run that was interrupted")
    done = unreachable("--resume")
    assert (done.returncode, plan.exists()) == (1, True), "a run that cannot go on now can go on later"
