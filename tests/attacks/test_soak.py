"""Long runs: memory, descriptors and threads stay flat, and no row is missing."""

from __future__ import annotations

import gc
import threading
import time
from pathlib import Path

import pytest
from tiny import AUTHORS, prose

from authorid import EngineOptions, Scorer
from authorid.encoder.engine_options import DEFAULT_MAX_WINDOWS
from authorid.outputs import reserve


def resident_mb():
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise AssertionError("no VmRSS")


def open_files():
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@pytest.mark.promise("flat-memory")
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs /proc")
@pytest.mark.parametrize("documents", [5_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_memory_and_descriptors_are_flat(bundle, tmp_path, documents):
    texts = [prose(AUTHORS[number % 3], 20, number).encode() for number in range(50)]
    for number in range(documents):
        path = tmp_path / "docs" / f"{number % 10}"
        if number < 10:
            path.mkdir(parents=True)
        (path / f"{number:06}.txt").write_bytes(texts[number % 50])
    scorer = Scorer(bundle)
    descriptors, threads = open_files(), threading.active_count()
    memory: list[float] = []
    most = 0
    with (
        reserve(str(tmp_path / "out.csv")) as destination,
        destination.open("csv", top=2, fingerprint={}, answers=bundle.answers, file_digest=lambda _: None) as output,
    ):
        for number, row in enumerate(scorer.score([tmp_path / "docs"], recall=output.recall)):
            output.write(row)
            assert row.status == "scored"
            if number % (documents // 20) == 0:
                gc.collect()
                memory.append(resident_mb())
                most = max(most, open_files())
        output.finish()
    with (tmp_path / "out.csv").open("rb") as stream:
        assert sum(1 for _ in stream) == documents + 1
    # The first half fills pools and caches. After that, nothing may grow with the number of documents.
    assert max(memory[10:]) - max(memory[5:10]) < 8
    assert most <= descriptors + 12
    assert open_files() <= descriptors
    assert threading.active_count() == threads


@pytest.mark.promise("bounded-document")
def test_a_document_of_16_megabytes_costs_no_more_than_a_long_one(bundle):
    sentence = "the river and the boat of an oar "
    huge = (sentence * 500_000)[: 16 << 20]
    scorer = Scorer(bundle, EngineOptions(workers=1, batch_tokens=16))
    seconds, authors = {}, set()
    for name, text in (("long", sentence * 4_000), ("huge", huge)):
        started = time.perf_counter()
        (row,) = scorer.score_texts([text])
        seconds[name] = time.perf_counter() - started
        assert (row.status, row.windows) == ("scored", DEFAULT_MAX_WINDOWS)
        authors.add(row.author)
    assert len(authors) == 1
    # All of its windows would take over a hundred times as long.
    assert seconds["huge"] < 10 * seconds["long"] + 1


@pytest.mark.parametrize(("limit", "megabytes"), [(0, 600), (64, 100)])
def test_one_huge_document_takes_little_memory(bundle, tmp_path, limit, megabytes):
    (tmp_path / "huge.txt").write_text("the river and the boat of an oar " * 400_000)
    scorer = Scorer(bundle, EngineOptions(max_windows=limit))
    list(scorer.score_texts(["the river"]))
    before = resident_mb()
    peak = before
    rows = scorer.score([tmp_path / "huge.txt"])
    watch = threading.Event()

    def look():
        nonlocal peak
        while not watch.wait(0.02):
            peak = max(peak, resident_mb())

    looker = threading.Thread(target=look)
    looker.start()
    try:
        (row,) = rows
    finally:
        watch.set()
        looker.join()
    assert row.status == "scored"
    assert row.windows == limit or (not limit and row.tokens > 3_000_000)
    assert peak - before < megabytes
