"""The benchmark runner: starts a process for every system, interleaves their rounds, and records the results.

Each round starts with another system (A B C D, C D A B, ...), so that a machine that slows down for a minute, or for
good, slows down for all of them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authorid.reporter import SILENT, Reporter
from bench.environments import Environment
from bench.phases import measure_documents, measure_grid, measure_latency, measure_windows
from bench.plan import Plan, Setup
from bench.processes import SystemFailure, SystemProcess
from bench.sweep import sweep
from bench.systems import REPEAT, System
from bench.workloads import TokenizedWorkload, Workload

__all__ = ["Runner"]

_PARITY = 1e-3
"""How far float32 logits may be from those of Keras, relative to the largest one."""


@dataclass
class Runner:
    """Measures all systems on one model and one workload.

    `deadline` is a time of `time.monotonic` after which no measurement begins. `sweeps` keeps what a sweep found by
    system, so that runners can share it. `rows` holds the results by system, `skipped` the measurements for which no
    time was left.
    """

    model: Path
    geometry: dict[str, Any]
    vocabulary: int
    trained: bool
    workload: Workload
    tokenized: TokenizedWorkload
    calibration: Path
    plan: Plan
    threads: int
    cache: Path
    environments: dict[str, Environment]
    reporter: Reporter = SILENT
    deadline: float = float("inf")
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._processes: dict[str, SystemProcess] = {}
        self.out = self.cache / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        self.paths = [str(path) for path in self.workload.documents]

    def run(self, systems: Sequence[System]) -> list[dict[str, Any]]:
        """All measurements: one row a system, in the order of `systems`."""
        for system in systems:
            environment = self.environments[system.peer]
            self.rows[system.name] = {
                "system": system.name,
                "label": system.label,
                "peer": system.peer,
                "precision": system.precision,
                "ok": environment.python is not None,
                "reason": environment.reason,
            }
        try:
            self._each(systems, "preparing", self._prepare)
            self._each(systems, "finding the best batch and threads of", self._sweep)
            self._each(systems, "starting", self._start)
            encoders = [system for system in systems if system.encoder]
            if self.plan.documents:
                self._phase("documents", measure_documents, systems)
            self._each(systems, "", self._measure_memory)
            self._phase("windows", measure_windows, encoders)
            self._phase("latency", measure_latency, encoders)
            # The grid takes longest and matters least, so it comes last.
            self._phase("grid", measure_grid, encoders)
        finally:
            for process in self._processes.values():
                process.kill()
        return [self.rows[system.name] for system in systems]

    def remaining(self, systems: Iterable[System]) -> list[System]:
        """The systems that have not failed."""
        return [system for system in systems if self.rows[system.name]["ok"]]

    def in_turn(self, systems: Iterable[System], number: int, rounds: int) -> list[System]:
        """The remaining systems in the order of round `number` of `rounds`: the start rotates through the list."""
        remaining = self.remaining(systems)
        first = number * len(remaining) // rounds
        return remaining[first:] + remaining[:first]

    def guarded(self, system: System, work: Callable[[], object]) -> None:
        """Run `work`; a system that fails takes no further part, and its row says why."""
        try:
            work()
        except SystemFailure as failure:
            self.rows[system.name].update(ok=False, reason=str(failure))
            self.reporter.info(f"  {system.name}: {failure}")
            process = self._processes.pop(system.name, None)
            if process is not None:
                process.kill()

    def rounds(
        self, systems: Sequence[System], name: str, turn: Callable[[System, int], dict[str, Any]]
    ) -> dict[str, list[dict[str, Any]]]:
        """The answers of ``turn(system, round)`` by system, for every round of the plan that there is time for."""
        answers: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
        for number in range(self.plan.rounds):
            self.reporter.info(f"{name}, round {number + 1} of {self.plan.rounds}")
            for system in self.in_turn(systems, number, self.plan.rounds):
                done = answers[system.name]
                spent = sum(float(answer["seconds"]) for answer in done)
                late = time.monotonic() > self.deadline
                if late or (done and spent + spent / len(done) / 2 > self.plan.round_seconds):
                    continue
                self.guarded(system, lambda: done.append(turn(system, number)))  # noqa: B023
        self.skipped += [f"{name} of {system.name}" for system in self.remaining(systems) if not answers[system.name]]
        return answers

    def start_process(self, system: System) -> SystemProcess:
        """Start the process of `system`."""
        python = self.environments[system.peer].python
        assert python is not None
        process = SystemProcess(system, python, self.threads, self.cache)
        self._processes[system.name] = process
        return process

    def end_process(self, system: System) -> None:
        """End the process of `system`."""
        self._processes.pop(system.name).kill()

    def process(self, system: System) -> SystemProcess:
        """The process of `system`, which must be running."""
        return self._processes[system.name]

    def setup(self, system: System, measurement: str) -> Setup:
        """The fastest setup that the sweep found for ``windows`` or ``documents``."""
        return Setup(**self.rows[system.name]["setups"][measurement])

    def use(self, process: SystemProcess, sessions: int, threads: int) -> None:
        """Load the model with these sessions and threads, unless it is loaded so already."""
        if process.loaded != (sessions, threads):
            self._load(process, sessions, threads)

    def text_tokens(self, system: System) -> tuple[int, ...]:
        """How many tokens of text `system` reads of each document."""
        return self.tokenized.whole if system.ours else self.tokenized.beginnings

    def _each(self, systems: Iterable[System], activity: str, work: Callable[[System], object]) -> None:
        for system in self.remaining(systems):
            if activity:
                self.reporter.info(f"{activity} {system.name}")
            self.guarded(system, lambda: work(system))  # noqa: B023

    def _phase(self, name: str, measure: Callable[[Runner, list[System]], None], systems: Iterable[System]) -> None:
        if time.monotonic() > self.deadline:
            self.skipped.append(name)
            self.reporter.info(f"no time left for {name}")
        else:
            measure(self, self.remaining(systems))

    def _settings(self, system: System) -> dict[str, Any]:
        return {
            **system.settings,
            "calibration": str(self.calibration),
            "corpus": str(self.workload.training),
            "classifier": str(self._classifier()),
        }

    def _classifier(self) -> Path:
        """The file in which the baseline keeps what it learnt from the workload's training documents."""
        digest = hashlib.sha256(str(self.workload.training).encode()).hexdigest()[:8]
        return self.cache / f"tfidf-{self.workload.name}-{digest}.joblib"

    def _load(self, process: SystemProcess, sessions: int, threads: int) -> dict[str, Any]:
        settings = self._settings(process.system)
        answer = process.request("load", model=str(self.model), settings=settings, sessions=sessions, threads=threads)
        process.loaded = sessions, threads
        return answer

    def _prepare(self, system: System) -> None:
        process = self.start_process(system)
        process.request("prepare", model=str(self.model), settings=self._settings(system), timeout=900)
        self.end_process(system)

    def _sweep(self, system: System) -> None:
        """Find the best setup of `system`; the repeated system uses that of the one it repeats."""
        name = "ours-int8" if system.name == REPEAT and "ours-int8" in self.sweeps else system.name
        if name not in self.sweeps:
            self.sweeps[name] = sweep(self, system)
        self.rows[system.name].update(self.sweeps[name])

    def _start(self, system: System) -> None:
        """Measure the time from nothing to the first answer, then check parity."""
        row = self.rows[system.name]
        setup = self.setup(system, "documents" if "documents" in row["setups"] else "windows")
        process = self.start_process(system)
        loaded = self._load(process, setup.sessions, setup.threads)
        process.request("score", paths=self.paths[:1], out=str(self.out / f"{system.name}.csv"), batch=setup.batch)
        row["start_up_seconds"] = round(time.perf_counter() - process.started, 3)
        row["load_seconds"] = round(loaded["seconds"], 3)
        row["versions"] = loaded["versions"]
        if system.encoder and (self.model / "golden.npz").is_file():
            self._check_parity(system, process.request("parity"))

    def _check_parity(self, system: System, parity: dict[str, Any]) -> None:
        row = self.rows[system.name]
        row["same_function"] = parity.pop("same_function")
        if row["same_function"]:
            row["parity"] = parity
            difference, largest = parity["largest_difference"], max(1.0, parity["largest_logit"])
            # bf16 and INT8 are free to round; float32 must be the same function.
            if system.precision == "fp32" and not difference <= _PARITY * largest:
                raise SystemFailure(f"its logits are off by {difference:.3g}: not the same model")

    def _measure_memory(self, system: System) -> None:
        self.rows[system.name].update(self.process(system).request("memory"))
