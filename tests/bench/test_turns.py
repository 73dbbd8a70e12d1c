"""The runner's decisions, on systems whose speed is given by the test and with a clock that only they move."""

from __future__ import annotations

from itertools import takewhile
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

ALIKE = {"same_function": True, "largest_difference": 0.0, "largest_logit": 1.0, "same_answer": 1.0}


class Machine:
    """Two cores and systems that do `rate(system, operation, sessions, threads, batch)` windows or documents a second.

    `start_seconds` and `load_seconds` are what it takes to start a process and to load a model; `asked` is everything
    that systems had to do.
    """

    def __init__(self, part, place):
        self.part, self.place, self.now = part, place, 1000.0
        self.start_seconds = self.load_seconds = 0.0
        self.rate = lambda system, operation, sessions, threads, batch: 100.0
        self.asked: list[tuple] = []
        self.parities = {"ours-int8": {"same_function": False}, "ours-plain-int8": ALIKE, "torch-fp32": ALIKE}

    def do_prepare(self, process, **_):
        return {"rates": None}

    def do_memory(self, process):
        return {}

    def do_parity(self, process):
        return dict(self.parities[process.system.name])

    def do_load(self, process, sessions, threads, **_):
        process.loaded = sessions, threads
        self.now += self.load_seconds
        return {"seconds": self.load_seconds, "versions": {}}

    def do_latency(self, process, count, seconds, **_):
        self.asked.append(("latency", process.system.name, *process.loaded))
        self.now += seconds
        return {"seconds": [seconds / count] * count}

    def do_score(self, process, paths, out, batch, passes=1):
        rows = "".join(f"{path},somebody\n" for path in paths)
        Path(out).write_text(f"path,author\n{rows}", "utf-8")
        return self._work("score", process, len(paths), batch, passes)

    def do_windows(self, process, file, batch, limit=None, logits=None, passes=1):
        with np.load(file) as arrays:
            items = min(limit or 10**9, len(arrays["lengths"]))
        if logits:
            np.save(logits, np.zeros((items, 2), np.float32))
        return self._work("windows", process, items, batch, passes)

    def _work(self, operation, process, items, batch, passes):
        self.asked.append((operation, process.system.name, *process.loaded, batch, items))
        seconds = passes * items / self.rate(process.system.name, operation, *process.loaded, batch)
        self.now += seconds
        return {"seconds": seconds, "tokens": passes * items, "windows": items}

    def runner(self, *names, documents=150, windows=2, sweeps=None, **plan):
        """A runner of the systems `names`, which has prepared them; a document has so many `windows`."""
        part, place = self.part, self.place
        workloads = part("workloads")
        (place / "model.json").write_text('{"authors": ["a", "b"]}', "utf-8")
        paths = tuple(place / "a" / f"{index}.txt" for index in range(documents))
        owners = tuple(index for index in range(documents) for _ in range(windows))
        np.savez(place / "w.npz", ids=np.zeros(len(owners), np.int32), lengths=np.ones(len(owners), np.int32))
        runner = part("runner").Runner(
            model=part("prepared_models").PreparedModel("m", place, False, 128, ("a", "b"), 10, {}, "first", True),
            workload=workloads.Workload("w", place, paths, place),
            tokenized=workloads.TokenizedWorkload(
                place / "w.npz", owners, len(owners), (1000,) * documents, (510,) * documents
            ),
            calibration=place / "c.npz",
            plan=part("plan").Plan(**plan),
            threads=2,
            cache=place,
            environments={name: part("environments").Environment(place) for name in ("torch", "ours", "tfidf")},
            systems=[next(one for one in part("systems").SYSTEMS if one.name == name) for name in names],
            sweeps={} if sweeps is None else sweeps,
        )
        runner.prepare()
        return runner

    def measure(self, *names, seconds=480.0, **options):
        """The rows of the systems `names` after a run of so many seconds."""
        return self.runner(*names, **options).measure(self.now + seconds)


@pytest.fixture
def machine(part, monkeypatch, tmp_path):
    found = Machine(part, tmp_path)

    class Process:
        def __init__(self, system, *_):
            self.system, self.loaded, self.started = system, None, found.now
            found.now += found.start_seconds

        def request(self, operation, **request):
            return getattr(found, f"do_{operation}")(self, **{k: v for k, v in request.items() if k != "timeout"})

        def kill(self):
            pass

    clock = SimpleNamespace(monotonic=lambda: found.now, perf_counter=lambda: found.now)
    for name in ("runner", "sweep", "phases"):
        monkeypatch.setattr(part(name), "time", clock)
    monkeypatch.setattr(part("runner"), "SystemProcess", Process)
    return found


def test_batches_grow_until_two_doublings_bring_nothing(part):
    climb = part("sweep").climb
    batches = (1, 2, 4, 8, 16, 32)
    assert list(climb(batches, float)) == list(batches)
    assert list(climb(batches, lambda batch: -batch)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: 1.0)) == [1, 2, 4]
    assert list(climb(batches, lambda batch: {1: 5, 2: 4, 4: 6, 8: 3, 16: 2, 32: 9}[batch])) == [1, 2, 4, 8, 16]
    assert list(climb(batches, lambda batch: float(batch) if batch < 8 else None)) == [1, 2, 4]


def test_from_a_good_batch_both_neighbours_are_tried(part):
    climb = part("sweep").climb
    batches = (1, 2, 4, 8, 16, 32)
    assert list(climb(batches, lambda batch: 9 - abs(batch - 4), 2, 1)) == [4, 8, 2]
    assert list(climb(batches, float, 3, 1)) == [8, 16, 32]
    assert list(climb(batches, lambda batch: -batch, 2, 1)) == [4, 8, 2, 1]


MANY = ("ours-int8", "ours-fp32", "torch-fp32", "ours-int8-repeat", "torch-bf16", "tfidf")


@pytest.mark.parametrize(("seconds", "slowness"), [(240, 1), (240, 10), (960, 1), (960, 10), (960, 60)])
def test_sweeps_take_a_fifth_and_all_have_three_rounds(machine, seconds, slowness):
    # A whole document takes up to 6 seconds, a start 7, and every other load 2.
    speeds = dict(zip(MANY, (60, 20, 15, 60, 10, 300), strict=True))
    machine.rate = lambda system, operation, sessions, threads, batch: (
        speeds[system] / slowness * sessions / (2 if operation == "windows" else 4) * (1 + batch / 64)
    )
    machine.start_seconds, machine.load_seconds = 5.0, 1.0
    runner = machine.runner(*MANY)
    begun = machine.now
    rows = runner.measure(begun + seconds)
    whole = machine.now - begun
    assert whole <= 1.1 * seconds
    assert runner.seconds["sweeps"] <= whole / 5
    assert runner.seconds["sweeps"] + runner.seconds["rounds"] == pytest.approx(whole)
    for row in rows:
        assert row["rounds"] == dict.fromkeys(
            ("documents",) if row["system"] == "tfidf" else ("documents", "windows", "latency"), "3"
        )
        assert row["documents"]["documents_per_second"]["rounds"] == 3


def test_without_time_for_any_trial_everybody_has_small_batches(machine):
    machine.start_seconds = 30.0
    runner = machine.runner("ours-int8", "torch-fp32")
    for row in runner.measure(machine.now + 60):
        assert row["sweeps"] == {}
        assert row["setups"]["windows"] == {"sessions": 2, "threads": 1, "batch": 2}
        assert row["rounds"]["windows"] == "3"


def test_a_slow_system_sees_every_batch_that_helps_if_there_is_time(machine):
    machine.rate = lambda system, operation, sessions, threads, batch: 10.0 * batch
    (row,) = machine.measure("ours-int8", seconds=1e6)
    for measure in ("windows", "documents"):
        narrow = [trial["batch"] for trial in row["sweeps"][measure] if trial["sessions"] == 2]
        assert row["setups"][measure]["batch"] == 32 in narrow
    assert [trial["batch"] for trial in row["sweeps"]["windows"]] == [1, 2, 4, 8, 16, 32, 32, 16]


def test_what_a_run_has_found_serves_in_the_next(machine):
    sweeps: dict = {}
    first = machine.runner("ours-int8", "torch-fp32", sweeps=sweeps)
    second = machine.runner("ours-int8", "torch-fp32", sweeps=sweeps)
    rows = [runner.measure(machine.now + 480) for runner in (first, second)]
    assert [row["setups"] for row in rows[0]] == [row["setups"] for row in rows[1]]
    assert first.seconds["sweeps"] > 0 == second.seconds["sweeps"]


def test_windows_and_documents_each_have_the_setup_that_suits_them(machine):
    def rate(system, operation, sessions, threads, batch):
        suits = (2, 1, 4) if operation == "windows" else (1, 2, 16)
        return 10_000.0 if (sessions, threads, batch) == suits else 5_000.0 + batch

    machine.rate = rate
    row, torch = machine.measure("ours-int8", "torch-fp32")
    assert row["setups"]["windows"] == {"sessions": 2, "threads": 1, "batch": 4}
    assert row["setups"]["documents"] == {"sessions": 1, "threads": 2, "batch": 16}
    # And that is how they are measured; the sweep's passes come before.
    last = {operation: rest for operation, name, *rest in machine.asked if name == "ours-int8"}
    assert last == {"windows": [2, 1, 4, 300], "score": [1, 2, 16, 150], "latency": [1, 2]}
    assert torch["setups"]["windows"]["sessions"] == 2


def test_where_a_document_is_a_window_one_sweep_is_enough(machine):
    (row,) = machine.measure("ours-int8", windows=1)
    assert row["setups"]["windows"] == row["setups"]["documents"]
    assert list(row["sweeps"]) == ["windows"]


def test_the_pipeline_takes_documents_on_all_cores(machine):
    machine.rate = lambda system, operation, sessions, threads, batch: 100.0 * sessions
    (row,) = machine.measure("torch-bf16")
    assert row["setups"]["windows"]["sessions"] == 2
    assert {tuple(rest[:2]) for operation, _, *rest in machine.asked if operation == "score"} == {(1, 2)}


def test_the_report_shows_both_setups(part, machine):
    machine.rate = lambda system, operation, sessions, threads, batch: (
        1000.0 / batch if operation == "windows" else 1000.0 * batch
    )
    rows = machine.measure("torch-fp32", "tfidf")
    config = part("markdown_report")._config
    assert [config(row, 128) for row in rows] == ["2 x 1, 1; documents: 1 x 2, 32", "2 x 1, all"]


def test_every_round_begins_with_another_system(machine):
    machine.rate = lambda *_: 1e6
    names = ["ours-int8", "ours-fp32", "torch-fp32"]
    machine.measure(*names)
    for measure in ("windows", "latency"):
        rounds = [name for operation, name, *_ in machine.asked if operation == measure][-3 * 3 :]
        assert rounds == names + names[1:] + names[:1] + names[2:] + names[:2]


def test_the_repeated_system_is_far_from_the_one_it_repeats(part):
    names = [system.name for system in part("systems").SYSTEMS if system.encoder]
    apart = names.index(part("systems").REPEAT) - names.index("ours-int8")
    assert len(names) // 3 <= apart <= 2 * len(names) // 3


def test_the_repeated_system_has_the_setup_of_the_one_it_repeats(machine):
    first, again = machine.measure("ours-int8", "ours-int8-repeat")
    assert first["setups"] == again["setups"]
    sweep = takewhile(lambda item: item[-1] != 1, machine.asked)  # the measurement begins with a single document
    assert {name for _, name, *_ in sweep} == {"ours-int8"}


def test_another_model_is_not_compared_with_the_peers(machine):
    (machine.place / "golden.npz").touch()
    ours, plain, torch = machine.measure("ours-int8", "ours-plain-int8", "torch-fp32")
    for row in (plain, torch):
        assert row["parity"]["largest_difference"] == 0
        assert row["windows"]["agreement"] == 1
    assert ours["ok"] and "parity" not in ours
    assert not {"agreement", "agreement_with"} & set(ours["windows"])


def test_each_system_is_credited_with_the_text_that_it_reads(machine):
    ours, peer = machine.measure("ours-int8", "torch-fp32")
    for row, tokens in ((ours, 1000), (peer, 510)):
        assert row["documents"]["tokens"] == row["documents"]["documents"] * tokens
        assert row["documents"]["documents_per_second"]["median"] == pytest.approx(100)
        assert row["documents"]["tokens_per_second"]["median"] == pytest.approx(100 * tokens)


def test_no_session_is_without_a_batch_in_the_sweep(machine):
    machine.rate = lambda system, operation, sessions, threads, batch: 1e4 * batch
    machine.measure("ours-int8")
    sweep = takewhile(lambda item: item[-1] != 1, machine.asked)  # the measurement begins with a single document
    trials = {(sessions, batch): items for _, _, sessions, _, batch, items in sweep}
    assert trials.keys() >= {(2, 1), (2, 32), (1, 32)}
    assert trials == {(sessions, batch): max(8, sessions * batch) for sessions, batch in trials}


def test_a_row_tells_why_it_has_fewer_rounds(part, machine):
    runner = machine.runner("ours-int8", "torch-fp32")

    def rate(system, operation, sessions, threads, batch):
        turns = [item for item in machine.asked if item[0] == "score" and item[-1] == 150]
        if len(turns) > 2:  # of the second round the first turn takes all the time that there is
            runner.deadline = machine.now
        return 1e3

    machine.rate = rate
    first, second = runner.measure(machine.now + 480)
    assert first["rounds"] == {
        "documents": "2 of 3, no time left", "windows": "0 of 3, no time left", "latency": "0 of 3, no time left",
    }  # fmt: skip
    assert second["rounds"]["documents"] == "1 of 3, no time left"
    assert second["documents"]["documents_per_second"]["rounds"] == 1 and "windows" not in second
    assert part("markdown_report")._rounds(second["rounds"]) == (
        "documents 1 of 3, no time left; windows 0 of 3, no time left; latency 0 of 3, no time left"
    )


def test_the_work_of_a_round_is_what_the_slowest_can_do(part):
    share_out = part("plan").share_out
    # 90 s of 100 are planned, six tenths of them for passes of everybody: 54 s at 1.1 s a document.
    work = share_out({"fast": 0.1, "slow": 1.0}, 1000, 16, 100.0)
    assert work.documents == 48
    # The slow one needs 48 s; the fast one repeats its 4.8 s in the other 42.
    assert work.passes == {"fast": 8, "slow": 1}
    # Without time for whole batches it is as many as there is time for.
    assert share_out({"fast": 0.1, "slow": 1.0}, 1000, 64, 100.0).documents == 49
    assert share_out({"slow": 1.0}, 1000, 8, 0.5) == (1, {"slow": 1})
    # Few documents are repeated by everybody.
    assert share_out({"fast": 0.1, "slow": 1.0}, 10, 4, 100.0) == (10, {"fast": 45, "slow": 4})
