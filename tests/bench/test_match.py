"""The referee's decisions, on contestants whose speed is written down here."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def match(part, monkeypatch, tmp_path):
    """Make a match of `documents` documents on two cores; `rate(operation, sessions, threads, batch)` is all speed."""
    asked: list[tuple] = []
    alike = {"same_function": True, "largest_difference": 0.0, "largest_logit": 1.0, "same_answer": 1.0}
    parities = {"ours-int8": {"same_function": False}, "ours-plain-int8": alike, "torch-fp32": alike}

    def make(rate, documents=150, **plan):
        runner, workloads = part("runner"), part("workloads")

        class Worker:
            started = 0.0

            def __init__(self, contestant, *_):
                self.contestant, self.loaded = contestant, None

            def ask(self, operation, **request):
                if operation == "load":
                    self.loaded = request["sessions"], request["threads"]
                    return {"seconds": 0.0, "versions": {}}
                if operation in ("prepare", "memory"):
                    return {}
                if operation == "parity":
                    return dict(parities[self.contestant.name])
                if operation == "latency":
                    asked.append((operation, self.contestant.name, *self.loaded))
                    return {"seconds": [0.01] * request["count"]}
                items = len(request["paths"]) if operation == "score" else request.get("limit") or 100
                asked.append((operation, self.contestant.name, *self.loaded, request["batch"], items))
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

        monkeypatch.setattr(runner, "Worker", Worker)
        (tmp_path / "model.json").write_text('{"authors": ["a", "b"]}', "utf-8")
        paths = tuple(tmp_path / "a" / f"{index}.txt" for index in range(documents))
        return runner.Match(
            model=tmp_path,
            geometry={},
            vocabulary=10,
            trained=False,
            workload=workloads.Workload("w", tmp_path, paths, tmp_path),
            cut=workloads.Cut(tmp_path / "w.npz", tuple(range(documents)), 1, (1000,) * documents, (510,) * documents),
            calibration=tmp_path / "c.npz",
            plan=runner.Plan(**plan),
            threads=2,
            cache=tmp_path,
            environments={name: part("environments").Environment(tmp_path) for name in ("torch", "ours", "tfidf")},
            say=lambda message: None,
        )

    return make, asked


def contestants(part, *names):
    return [next(one for one in part("contestants").ALL if one.name == name) for name in names]


def test_batches_grow_until_two_doublings_bring_nothing(part):
    climb = part("runner").climb
    batches = (1, 2, 4, 8, 16, 32)
    assert list(climb(batches, float)) == list(batches)
    assert list(climb(batches, lambda batch: -batch)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: 1.0)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: {1: 5, 2: 4, 4: 6, 8: 3, 16: 2, 32: 9}[batch])) == [1, 2, 4, 8, 16]
    assert list(climb(batches, float, patience=0.0)) == [1]


def test_a_slow_contestant_sees_every_batch_that_helps(part, match):
    make, _ = match
    game = make(lambda operation, sessions, threads, batch: 0.1 * batch, latency_blocks=0)
    (row,) = game.run(contestants(part, "ours-int8"))
    for measure in ("windows", "documents"):
        assert [trial["batch"] for trial in row["sweeps"][measure]] == [1, 2, 4, 8, 16, 32] * 2
        assert row["setups"][measure]["batch"] == 32


def test_windows_and_documents_each_have_the_setup_that_suits_them(part, match):
    make, asked = match

    def rate(operation, sessions, threads, batch):
        suits = (2, 1, 4) if operation == "windows" else (1, 2, 16)
        return 100.0 if (sessions, threads, batch) == suits else 50.0 + batch

    cells = (part("runner").Cell(1, 16),)
    row, torch = make(rate, latency_blocks=1, cells=cells).run(contestants(part, "ours-int8", "torch-fp32"))
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


def test_the_pipeline_takes_documents_on_all_cores(part, match):
    make, asked = match
    (row,) = make(lambda operation, sessions, threads, batch: 100.0 * sessions).run(contestants(part, "torch-bf16"))
    assert row["setups"]["windows"]["sessions"] == 2
    assert {tuple(rest[:2]) for operation, _, *rest in asked if operation == "score"} == {(1, 2)}


def test_the_report_tells_both_setups(part, match):
    make, _ = match

    def rate(operation, sessions, threads, batch):
        return 100.0 / batch if operation == "windows" else 1.0 * batch

    rows = make(rate).run(contestants(part, "torch-fp32", "tfidf"))
    config = part("report")._config
    assert [config(row, 128) for row in rows] == ["2 x 1, 1; documents: 1 x 2, 32", "2 x 1, all"]


def test_every_round_begins_elsewhere(part, match):
    make, asked = match
    names = ["ours-int8", "ours-fp32", "torch-fp32", "ours-int8-twin"]
    make(lambda *_: 1e6, documents=2, rounds=4, latency_blocks=2, latency_calls=1).run(contestants(part, *names))
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


def test_the_twin_is_far_from_the_one_it_is_compared_with(part):
    names = [contestant.name for contestant in part("contestants").ALL if contestant.encoder]
    apart = names.index(part("contestants").TWIN) - names.index("ours-int8")
    assert len(names) // 3 <= apart <= 2 * len(names) // 3


def test_another_model_is_not_compared_with_the_peers(part, match, tmp_path):
    make, _ = match
    game = make(lambda *_: 1e6, documents=2, latency_blocks=1, latency_calls=1)
    (tmp_path / "golden.npz").touch()
    ours, plain, torch = game.run(contestants(part, "ours-int8", "ours-plain-int8", "torch-fp32"))
    for row in (plain, torch):
        assert row["parity"]["largest_difference"] == 0
        assert row["windows"]["agreement"] == 1
    assert ours["ok"] and "parity" not in ours
    assert not {"agreement", "agreement_with"} & set(ours["windows"])


def test_everybody_is_credited_with_the_text_it_reads(part, match):
    make, _ = match
    ours, peer = make(lambda *_: 10.0).run(contestants(part, "ours-int8", "torch-fp32"))
    for row, tokens in ((ours, 1000), (peer, 510)):
        assert row["documents"]["tokens"] == 150 * tokens
        assert row["documents"]["documents_per_second"]["median"] == pytest.approx(10)
        assert row["documents"]["tokens_per_second"]["median"] == pytest.approx(10 * tokens)


def test_no_session_is_without_a_batch_in_the_sweep(part, match):
    make, asked = match
    make(lambda operation, sessions, threads, batch: 1e4 * batch).run(contestants(part, "ours-int8"))
    # The race begins with a single document.
    sweep = takewhile(lambda item: item[-1] != 1, asked)
    trials = {(sessions, batch, items) for _, _, sessions, _, batch, items in sweep}
    assert trials == {(sessions, 2**n, max(16, sessions * 2**n)) for sessions in (1, 2) for n in range(6)}


def test_nothing_is_begun_after_the_deadline(part, match):
    make, _ = match
    game = make(lambda *_: 1e6)
    game.deadline = 0.0
    (row,) = game.run(contestants(part, "ours-int8"))
    assert [len(row["sweeps"][measure]) for measure in ("windows", "documents")] == [2, 2]
    assert "documents" not in row and "windows" not in row
    assert game.skipped == ["documents", "windows", "latency", "grid"]


def test_whose_turn_did_not_come_is_named(part, match):
    make, asked = match

    def rate(operation, sessions, threads, batch):
        if asked[-1][-1] == 150:  # a whole turn: it takes all the time that there is
            game.deadline = 0.0
        return 1e6

    game = make(rate)
    first, second = game.run(contestants(part, "ours-int8", "torch-fp32"))
    assert "documents" in first and "documents" not in second
    assert game.skipped == ["documents of torch-fp32", "windows", "latency", "grid"]
