"""The benchmark runner: starts a process for every system, interleaves their rounds, and records the results.

Each round starts with another system (A B C D, C D A B, ...), so that a machine that slows down for a minute, or for
good, slows down for all of them.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authorid.reporter import SILENT, Reporter
from bench.environments import Environment
from bench.phases import measure_documents, measure_latency, measure_windows
from bench.plan import SWEEPS, Plan, Setup
from bench.prepared_models import PreparedModel
from bench.processes import SystemFailure, SystemProcess
from bench.sweep import sweep
from bench.systems import REPEAT, System
from bench.workloads import TokenizedWorkload, Workload

__all__ = ["Runner"]

_PARITY = 1e-3
"""How far float32 logits may be from the golden ones, relative to the largest one."""

_LONG = 5.0
"""Seconds of a pass in which it does not matter that it is the first."""


@dataclass
class Runner:
    """Measures `systems` on one model and one workload: first `prepare`, then `measure`.

    `deadline` is a time of `time.monotonic` after which no round begins. `sweeps` keeps what a sweep found by system,
    so that runners of the same model can share it. `rows` holds the results by system, `seconds` what sweeps and rounds
    took; starts and warm-up count as rounds.
    """

    model: PreparedModel
    workload: Workload
    tokenized: TokenizedWorkload
    calibration: Path
    plan: Plan
    threads: int
    cache: Path
    environments: dict[str, Environment]
    systems: Sequence[System]
    reporter: Reporter = SILENT
    deadline: float = float("inf")
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    rows: dict[str, dict[str, Any]] = field(default_factory=dict)
    seconds: dict[str, float] = field(default_factory=lambda: {"sweeps": 0.0, "rounds": 0.0})

    def __post_init__(self) -> None:
        self._processes: dict[str, SystemProcess] = {}
        self._graphs: dict[str, str] = {}
        self.out = self.cache / "out"
        self.out.mkdir(parents=True, exist_ok=True)
        self.paths = [str(path) for path in self.workload.documents]
        self.trained = self.model.trained and set(self.workload.labels) <= set(self.model.author_names)

    def prepare(self) -> None:
        """Have every system make what it loads: it exports, quantizes, fits. None of this is measured."""
        for system in self.systems:
            environment = self.environments[system.peer]
            reason = environment.reason
            if self.model.huggingface and not system.takes_huggingface:
                reason = "it cannot load a Hugging Face classifier"
            self.rows[system.name] = {
                "system": system.name,
                "label": system.label,
                "peer": system.peer,
                "precision": system.precision,
                "ok": environment.python is not None and reason is None,
                "reason": reason,
            }
        self._each("preparing", self._prepare)

    def measure(self, until: float) -> list[dict[str, Any]]:
        """All measurements, until about that time of `time.monotonic`: one row a system, in the order of `systems`."""
        started = time.monotonic()
        taking_part = self.remaining(self.systems)
        until = min(until, started + self.plan.useful_seconds(len(taking_part)))
        try:
            with self._timed("sweeps"):
                self._sweep_all(started + SWEEPS * (until - started))
            with self._timed("rounds"):
                self._each("starting", self._start)
                self._phase(measure_documents, taking_part, 0.45, until)
                self._each("", self._measure_memory)
                encoders = [system for system in taking_part if system.encoder]
                self._phase(measure_windows, encoders, 0.8, until)
                self._phase(measure_latency, encoders, 1.0, until)
        finally:
            for process in self._processes.values():
                process.kill()
        return [self.rows[system.name] for system in self.systems]

    def remaining(self, systems: Iterable[System]) -> list[System]:
        """The systems that have not failed."""
        return [system for system in systems if self.rows[system.name]["ok"]]

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
        """The answers of ``turn(system, round)`` by system, for every round of the plan that there is time for.

        The row of a system has how many it had, and why not all.
        """
        answers: dict[str, list[dict[str, Any]]] = {system.name: [] for system in systems}
        planned = self.plan.rounds
        for number in range(planned):
            self.reporter.info(f"{name}, round {number + 1} of {planned}")
            remaining = self.remaining(systems)
            first = number * len(remaining) // planned
            for system in remaining[first:] + remaining[:first]:
                if time.monotonic() < self.deadline:
                    self.guarded(system, lambda: answers[system.name].append(turn(system, number)))  # noqa: B023
        for system in self.remaining(systems):
            done = len(answers[system.name])
            text = f"{done}" if done == planned else f"{done} of {planned}, no time left"
            self.rows[system.name].setdefault("rounds", {})[name] = text
        return answers

    def sample(self, count: int) -> list[int]:
        """The indices of so many documents, or of all if there are fewer, spread evenly over them."""
        count = min(count, len(self.paths))
        return [index * len(self.paths) // count for index in range(count)]

    def best_pass(self, run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """The fastest answer of up to five in about the time of a trial; a first one that is short does not count."""
        answers = [run()]
        if float(answers[0]["seconds"]) > _LONG:
            return answers[0]
        answers = [run()]
        while len(answers) < 5 and sum(float(answer["seconds"]) for answer in answers) < self.plan.trial_seconds:
            answers.append(run())
        return min(answers, key=lambda answer: float(answer["seconds"]))

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

    @contextmanager
    def _timed(self, what: str) -> Iterator[None]:
        started = time.monotonic()
        try:
            yield
        finally:
            self.seconds[what] += time.monotonic() - started

    def _each(self, activity: str, work: Callable[[System], object]) -> None:
        for system in self.remaining(self.systems):
            if activity:
                self.reporter.info(f"{activity} {system.name}")
            self.guarded(system, lambda: work(system))  # noqa: B023

    def _phase(
        self,
        measure: Callable[[Runner, list[System], float], None],
        systems: Iterable[System],
        share: float,
        until: float,
    ) -> None:
        """Give a measurement its `share` of the time that is left."""
        measure(self, self.remaining(systems), share * (until - time.monotonic()))

    def _settings(self, system: System) -> dict[str, Any]:
        return {
            "bundle": self.model.bundle_name,
            **system.settings,
            "calibration": str(self.calibration),
            "corpus": str(self.workload.training),
            "classifier": str(self._classifier()),
            "length": self.model.length,
            "truncate": self.model.truncate,
            "threads": self.threads,
            "graph": self._graphs.get(system.name),
        }

    def _classifier(self) -> Path:
        """The file in which the baseline keeps what it learnt from the workload's training documents."""
        digest = hashlib.sha256(str(self.workload.training).encode()).hexdigest()[:8]
        return self.cache / f"tfidf-{self.workload.name}-{digest}.joblib"

    def _load(self, process: SystemProcess, sessions: int, threads: int) -> dict[str, Any]:
        model, settings = str(self.model.path), self._settings(process.system)
        answer = process.request("load", model=model, settings=settings, sessions=sessions, threads=threads)
        process.loaded = sessions, threads
        return answer

    def _prepare(self, system: System) -> None:
        process = self.start_process(system)
        model, settings = str(self.model.path), self._settings(system)
        answer = process.request("prepare", model=model, settings=settings, timeout=1200)
        # Of several graphs, the fastest one.
        if answer["rates"]:
            self._graphs[system.name] = max(answer["rates"], key=answer["rates"].__getitem__)
            self.rows[system.name] |= {"graph": self._graphs[system.name], "graphs": answer["rates"]}
        self.end_process(system)

    def _sweep_all(self, until: float) -> None:
        """Find the best setup of every system, each in an equal part of the time that is left until `until`."""
        waiting = [system for system in self.remaining(self.systems) if self._swept(system) not in self.sweeps]
        # The repeated system has the setup of the one that it repeats; those without an encoder take no time.
        waiting = [system for system in waiting if system.name == self._swept(system)]
        for number, system in enumerate(waiting):
            later = sum(other.encoder for other in waiting[number:])
            seconds = (until - time.monotonic()) / max(1, later)
            self.reporter.info(f"finding the best batch and threads of {system.name}")
            self.guarded(system, lambda: self.sweeps.update({system.name: sweep(self, system, seconds)}))  # noqa: B023
        for system in self.remaining(self.systems):
            self.rows[system.name].update(self.sweeps.get(self._swept(system)) or sweep(self, system, 0.0))

    def _swept(self, system: System) -> str:
        """The system whose sweep `system` uses."""
        first = "ours-int8"
        return first if system.name == REPEAT and self.rows.get(first, {}).get("ok") else system.name

    def _start(self, system: System) -> None:
        """Measure the time from nothing to the first answer, then check parity."""
        row = self.rows[system.name]
        setup = self.setup(system, "documents")
        process = self.start_process(system)
        loaded = self._load(process, setup.sessions, setup.threads)
        process.request("score", paths=self.paths[:1], out=str(self.out / f"{system.name}.csv"), batch=setup.batch)
        row["start_up_seconds"] = round(time.perf_counter() - process.started, 3)
        row["load_seconds"] = round(loaded["seconds"], 3)
        row["versions"] = loaded["versions"]
        if system.encoder and (self.model.path / "golden.npz").is_file():
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
