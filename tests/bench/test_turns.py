"""The runner's decisions, on systems whose speed is given by the test."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def benchmark(part, monkeypatch, tmp_path):
    """Make a runner of `documents` documents on two cores, with a given `rate(operation, sessions, threads, batch)`."""
    asked: list[tuple] = []
    alike = {"same_function": True, "largest_difference": 0.0, "largest_logit": 1.0, "same_answer": 1.0}
    parities = {"ours-int8": {"same_function": False}, "ours-plain-int8": alike, "torch-fp32": alike}

    def make(rate, documents=150, **plan):
        runner, workloads = part("runner"), part("workloads")

        class Process:
            started = 0.0

            def __init__(self, system, *_):
                self.system, self.loaded = system, None

            def request(self, operation, **request):
                if operation == "load":
                    self.loaded = request["sessions"], request["threads"]
                    return {"seconds": 0.0, "versions": {}}
                if operation in ("prepare", "memory"):
                    return {}
                if operation == "parity":
                    return dict(parities[self.system.name])
                if operation == "latency":
                    asked.append((operation, self.system.name, *self.loaded))
                    return {"seconds": [0.01] * request["count"]}
                items = len(request["paths"]) if operation == "score" else request.get("limit") or 100
                asked.append((operation, self.system.name, *self.loaded, request["batch"], items))
                if request.get("logits"):
                    np.save(request["logits"], np.zeros((documents, 2), np.float32))
                if operation == "score":
                    rows = "".join(f"{path},somebody\n" for path in request["paths"])
                    Path(request["out"]).write_text(f"path,author\n{rows}", "utf-8")
                return {
                    "seconds": items / rate(operation, *self.loaded, request["batch"]),
                    "tokens": items,
                    "windows": items,
                }

            def kill(self):
                pass

        monkeypatch.setattr(runner, "SystemProcess", Process)
        (tmp_path / "model.json").write_text('{"authors": ["a", "b"]}', "utf-8")
        paths = tuple(tmp_path / "a" / f"{index}.txt" for index in range(documents))
        return runner.Runner(
            model=tmp_path,
            geometry={},
            vocabulary=10,
            trained=False,
            workload=workloads.Workload("w", tmp_path, paths, tmp_path),
            tokenized=workloads.TokenizedWorkload(
                tmp_path / "w.npz", tuple(range(documents)), 1, (1000,) * documents, (510,) * documents
            ),
            calibration=tmp_path / "c.npz",
            plan=part("plan").Plan(**plan),
            threads=2,
            cache=tmp_path,
            environments={name: part("environments").Environment(tmp_path) for name in ("torch", "ours", "tfidf")},
        )

    return make, asked


def systems(part, *names):
    return [next(one for one in part("systems").SYSTEMS if one.name == name) for name in names]


def test_batches_grow_until_two_doublings_bring_nothing(part):
    climb = part("sweep").climb
    batches = (1, 2, 4, 8, 16, 32)
    assert list(climb(batches, float)) == list(batches)
    assert list(climb(batches, lambda batch: -batch)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: 1.0)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: {1: 5, 2: 4, 4: 6, 8: 3, 16: 2, 32: 9}[batch])) == [1, 2, 4, 8, 16]
    assert list(climb(batches, float, seconds=0.0)) == [1]


def test_a_slow_contestant_sees_every_batch_that_helps(part, benchmark):
    make, _ = benchmark
    runner = make(lambda operation, sessions, threads, batch: 0.1 * batch, latency_blocks=0)
    (row,) = runner.run(systems(part, "ours-int8"))
    for measure in ("windows", "documents"):
        assert [trial["batch"] for trial in row["sweeps"][measure]] == [1, 2, 4, 8, 16, 32] * 2
        assert row["setups"][measure]["batch"] == 32


def test_windows_and_documents_each_have_the_setup_that_suits_them(part, benchmark):
    make, asked = benchmark

    def rate(operation, sessions, threads, batch):
        suits = (2, 1, 4) if operation == "windows" else (1, 2, 16)
        return 100.0 if (sessions, threads, batch) == suits else 50.0 + batch

    cells = (part("plan").Cell(1, 16),)
    row, torch = make(rate, latency_blocks=1, cells=cells).run(systems(part, "ours-int8", "torch-fp32"))
    assert row["setups"]["windows"] == {"sessions": 2, "threads": 1, "batch": 4}
    assert row["setups"]["documents"] == {"sessions": 1, "threads": 2, "batch": 16}
    # And that is how they are measured; the sweep's passes come before.
    last = {operation: rest for operation, name, *rest in asked if name == "ours-int8"}
    assert last == {
        "windows": [2, 1, 4, 100],
        "score": [1, 2, 16, 150],
        "latency": [1, 2],
        "grid": [2, 1, 1, 100],
    }
    # The grid takes longest, so it is what is left out when there is no time.
    assert asked[-1][0] == "grid"
    assert torch["setups"]["windows"]["sessions"] == 2


def test_the_pipeline_takes_documents_on_all_cores(part, benchmark):
    make, asked = benchmark
    (row,) = make(lambda operation, sessions, threads, batch: 100.0 * sessions).run(systems(part, "torch-bf16"))
    assert row["setups"]["windows"]["sessions"] == 2
    assert {tuple(rest[:2]) for operation, _, *rest in asked if operation == "score"} == {(1, 2)}


def test_the_report_shows_both_setups(part, benchmark):
    make, _ = benchmark

    def rate(operation, sessions, threads, batch):
        return 100.0 / batch if operation == "windows" else 1.0 * batch

    rows = make(rate).run(systems(part, "torch-fp32", "tfidf"))
    config = part("markdown_report")._config
    assert [config(row, 128) for row in rows] == ["2 x 1, 1; documents: 1 x 2, 32", "2 x 1, all"]


def test_every_round_begins_with_another_system(part, benchmark):
    make, asked = benchmark
    names = ["ours-int8", "ours-fp32", "torch-fp32", "ours-int8-repeat"]
    make(lambda *_: 1e6, documents=2, rounds=4, latency_blocks=2, latency_calls=1).run(systems(part, *names))
    rounds = [name for operation, name, *_ in asked if operation == "windows"][-4 * 4 - 4 :]
    # Each has a warm-up just before its first turn.
    first, later = rounds[:8:2], rounds[8:]
    assert first == names
    assert [later[start : start + 4] for start in (0, 4, 8)] == [
        names[1:] + names[:1],
        names[2:] + names[:2],
        names[3:] + names[:3],
    ]
    assert [name for operation, name, *_ in asked if operation == "latency"] == names + names[2:] + names[:2]


def test_the_repeated_system_is_far_from_the_one_it_repeats(part):
    names = [system.name for system in part("systems").SYSTEMS if system.encoder]
    apart = names.index(part("systems").REPEAT) - names.index("ours-int8")
    assert len(names) // 3 <= apart <= 2 * len(names) // 3


def test_another_model_is_not_compared_with_the_peers(part, benchmark, tmp_path):
    make, _ = benchmark
    runner = make(lambda *_: 1e6, documents=2, latency_blocks=1, latency_calls=1)
    (tmp_path / "golden.npz").touch()
    ours, plain, torch = runner.run(systems(part, "ours-int8", "ours-plain-int8", "torch-fp32"))
    for row in (plain, torch):
        assert row["parity"]["largest_difference"] == 0
        assert row["windows"]["agreement"] == 1
    assert ours["ok"] and "parity" not in ours
    assert not {"agreement", "agreement_with"} & set(ours["windows"])


def test_each_system_is_credited_with_the_text_that_it_reads(part, benchmark):
    make, _ = benchmark
    ours, peer = make(lambda *_: 10.0).run(systems(part, "ours-int8", "torch-fp32"))
    for row, tokens in ((ours, 1000), (peer, 510)):
        assert row["documents"]["tokens"] == 150 * tokens
        assert row["documents"]["documents_per_second"]["median"] == pytest.approx(10)
        assert row["documents"]["tokens_per_second"]["median"] == pytest.approx(10 * tokens)


def test_no_session_is_without_a_batch_in_the_sweep(part, benchmark):
    make, asked = benchmark
    make(lambda operation, sessions, threads, batch: 1e4 * batch).run(systems(part, "ours-int8"))
    # The measurement begins with a single document.
    sweep = takewhile(lambda item: item[-1] != 1, asked)
    trials = {(sessions, batch, items) for _, _, sessions, _, batch, items in sweep}
    assert trials == {(sessions, 2**n, max(16, sessions * 2**n)) for sessions in (1, 2) for n in range(6)}


def test_nothing_is_begun_after_the_deadline(part, benchmark):
    make, _ = benchmark
    runner = make(lambda *_: 1e6)
    runner.deadline = 0.0
    (row,) = runner.run(systems(part, "ours-int8"))
    assert [len(row["sweeps"][measure]) for measure in ("windows", "documents")] == [2, 2]
    assert "documents" not in row and "windows" not in row
    assert runner.skipped == ["documents", "windows", "latency", "grid"]


def test_a_system_that_had_no_turn_is_named(part, benchmark):
    make, asked = benchmark

    def rate(operation, sessions, threads, batch):
        if asked[-1][-1] == 150:  # a whole turn: it takes all the time that there is
            runner.deadline = 0.0
        return 1e6

    runner = make(rate)
    first, second = runner.run(systems(part, "ours-int8", "torch-fp32"))
    assert "documents" in first and "documents" not in second
    assert runner.skipped == ["documents of torch-fp32", "windows", "latency", "grid"]
