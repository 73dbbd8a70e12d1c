"""What a benchmark measures: the runs, each of one model on one workload, and how they share the time."""

from __future__ import annotations

import argparse
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from authorid.errors import AuthoridError
from authorid.reporter import Reporter
from bench.checkpoint import write_checkpoint
from bench.environments import OURS, Environment
from bench.plan import Plan
from bench.prepared_models import PreparedModel, WeightSource, Workshop, from_bundle, is_run
from bench.runner import Runner
from bench.scaling import measure_scaling
from bench.summary import machine, matmul_rates, summary
from bench.systems import SYSTEMS
from bench.workloads import Workload, c50, generated, tokenize

__all__ = ["DISTILBERT", "SCHEMA", "Session"]

SCHEMA = 6

DISTILBERT = "distilbert-base"
"""The geometry of which a random classifier is measured after the main model."""

_LENGTHS = (128, 512)
"""Tokens that documents are cut to, where a random classifier is measured."""

_COUNTS = (100, 1_000, 2_000, 20_000, 100_000)
_SCALING_WEIGHT = 0.15

_GRACE = 1.25
"""How much longer than planned rounds may be begun: three late rounds are better than two in time."""

_QUICK_PLAN = Plan(turn_seconds=0.5, batches=(1, 2, 4), trial_seconds=0.05, latency_calls=10)


@dataclass(frozen=True, slots=True)
class _PlannedRun:
    """A run to come, with its `weight` in sharing the time; `sweeps` is shared with other runs of the model."""

    model: PreparedModel
    workload: Workload
    weight: float = 1.0
    sweeps: dict[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Model and workload."""
        length = f", cut to {self.model.length} tokens" if self.model.huggingface else ""
        return f"{self.model.name} on {self.workload.name}{length}"


@dataclass(frozen=True, slots=True)
class Session:
    """What was asked for, and what there is."""

    options: argparse.Namespace
    peers: tuple[str, ...]
    environments: dict[str, Environment]
    cache: Path
    c50: Path | None
    reporter: Reporter

    def record(self) -> dict[str, Any]:
        """Prepare everything, then measure for as long as asked for; raises `AuthoridError`."""
        options, started = self.options, time.monotonic()
        if options.workload == "c50" and self.c50 is None:
            raise AuthoridError("no C50: set AUTHORID_C50 to the directory that holds C50train and C50test")
        record: dict[str, Any] = {
            "schema": SCHEMA,
            "kind": "authorid peers bench",
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "machine": machine(options.threads),
            "settings": {"quick": options.quick, "peers": list(self.peers), "minutes": options.minutes},
            "environments": {
                name: {"ok": found.python is not None, "reason": found.reason, "seconds": found.seconds}
                for name, found in self.environments.items()
            },
        }
        planned = self._planned()
        runners = [self._runner(run) for run in planned]
        for runner in runners:
            runner.prepare()
        prepared = time.monotonic()
        deadline = prepared + 60 * options.minutes
        latest = prepared + _GRACE * 60 * options.minutes
        self.reporter.info("measuring the machine itself")
        record["roofline"], record["roofline_reason"] = matmul_rates(
            self.environments, options.threads, 0.1 if options.quick else 1.0, self.cache
        )
        record["runs"] = []
        scaled = planned[0].model.bundle if self._scales else None
        weights = [run.weight for run in planned] + ([_SCALING_WEIGHT] if scaled else [])
        for number, (run, runner) in enumerate(zip(planned, runners, strict=True)):
            self.reporter.info(f"== {run.name}: {len(run.workload.documents)} documents")
            left = max(0.0, deadline - time.monotonic())
            runner.deadline = latest
            rows = runner.measure(time.monotonic() + left * run.weight / sum(weights[number:]))
            record["runs"].append(summary(runner, rows, record["roofline"]))
        record["scaling"] = self._scaling(scaled, record["runs"][0]["rows"], deadline) if scaled else []
        whole = time.monotonic() - prepared
        spent = {name: sum(runner.seconds[name] for runner in runners) for name in ("sweeps", "rounds")}
        seconds = {"preparing": prepared - started, **spent, "whole": whole}
        record["seconds"] = {name: round(value, 1) for name, value in seconds.items()}
        return record

    @property
    def _scales(self) -> bool:
        """Whether `authorid score` is measured on more and more documents."""
        return not self.options.geometry and not self._huggingface

    @property
    def _huggingface(self) -> bool:
        """Whether the model to measure is in Hugging Face layout."""
        return self.options.model is not None and not is_run(self.options.model)

    def _planned(self) -> list[_PlannedRun]:
        """The runs, in their order; what sweeps find in one serves in the next of the same model."""
        options = self.options
        if options.quick and not self._huggingface and not options.geometry:
            return [_PlannedRun(self._model(), generated(self.cache, 10))]
        workloads = self._workloads()
        if options.geometry:
            return self._cut(self._checkpoint(options.geometry), workloads[:1])
        if self._huggingface:
            corpus = workloads[0].training
            name = options.model.resolve().name
            return self._cut(WeightSource(name, options.model, options.bundle, corpus, options.lengths), workloads)
        model, sweeps = self._model(), dict[str, Any]()
        weights = (2.0, 0.7)
        runs = [
            _PlannedRun(model, workload, weight, sweeps) for workload, weight in zip(workloads, weights, strict=False)
        ]
        return runs + (self._cut(self._checkpoint(DISTILBERT), workloads[:1]) if self.peers else [])

    def _workloads(self) -> list[Workload]:
        options, documents = self.options, (10, 10) if self.options.quick else (150, 80)
        workloads = []
        if self.c50 is not None and options.workload != "generated":
            workloads.append(c50(self.c50, documents[0]))
        if options.workload != "c50":
            workloads.append(generated(self.cache, documents[1]))
        return workloads

    def _cut(self, source: WeightSource, workloads: Sequence[Workload]) -> list[_PlannedRun]:
        """Runs of a model in Hugging Face layout, which reads the beginning of each document."""
        workshop = Workshop(self.environments, self.cache, self.reporter)
        runs = []
        for model in workshop.from_huggingface(source):
            sweeps: dict[str, Any] = {}
            runs += [_PlannedRun(model, workload, 1.0, sweeps) for workload in workloads]
        return runs

    def _checkpoint(self, geometry: str) -> WeightSource:
        path = write_checkpoint(geometry, self.cache / "checkpoints" / geometry)
        lengths = self.options.lengths or _LENGTHS
        return WeightSource(geometry, path, None, self._workloads()[0].training, lengths, random=True)

    def _model(self) -> PreparedModel:
        """The main model: a training run, random weights, or, where there are no peers, a bundle as it is."""
        options = self.options
        if "keras" not in self.environments:
            from authorid.models import default_bundle

            return from_bundle(options.bundle or default_bundle(), self.cache)
        corpus = None if self.c50 is None else self.c50 / "C50train"
        name = "minilm" if options.model is None else options.model.resolve().name
        source = WeightSource(name, options.model, options.bundle, corpus, random=options.model is None)
        return Workshop(self.environments, self.cache, self.reporter).from_keras(source)

    def _runner(self, run: _PlannedRun) -> Runner:
        model, workload = run.model, run.workload
        files = model.path / "windows"
        training = sorted(workload.training.rglob("*.txt"))
        calibration = files / f"{workload.name}-{model.length}-calibration.npz"
        tokenize(training[:: max(1, len(training) // 80)][:80], model.bundle, calibration)
        name = f"{workload.name}-{len(workload.documents)}-{model.length}.npz"
        # Where our bundle already computes the peers' function, the systems that do so on purpose would repeat it.
        repeated = set() if model.funnel and self.peers else {system.name for system in SYSTEMS if system.plain}
        taking_part = [
            system
            for system in SYSTEMS
            if system.peer in (*self.peers, OURS)
            and system.name not in repeated
            # Only peers that were asked for have a row that tells why they cannot.
            and (system.takes_huggingface or not model.huggingface or system.peer != OURS)
        ]
        return Runner(
            model=model,
            workload=workload,
            tokenized=tokenize(workload.documents, model.bundle, files / name, model.truncate),
            calibration=calibration,
            plan=_QUICK_PLAN if self.options.quick else Plan(),
            threads=self.options.threads,
            cache=self.cache,
            environments=self.environments,
            systems=taking_part,
            reporter=self.reporter,
            sweeps=run.sweeps,
        )

    def _scaling(self, bundle: Path, rows: list[dict[str, Any]], deadline: float) -> list[dict[str, Any]]:
        """Speed and memory by the number of documents, with the setup that is fastest for documents."""
        ours: dict[str, Any] = next((row for row in rows if row["system"] == "ours-int8"), {})
        fastest = ours.get("setups", {}).get("documents", {"sessions": 0, "threads": 1})
        config = {**fastest, "total_threads": self.options.threads}
        counts = (20, 100) if self.options.quick else _COUNTS
        corpus = self.cache / f"notes-{max(counts)}"
        measured: list[dict[str, Any]] = []
        try:
            for row in measure_scaling(bundle, corpus, counts, config, self.cache, self.reporter):
                measured.append(row)
                following = next((count for count in counts if count > row["documents"]), None)
                # The next run takes about as much longer as it has more documents.
                if following and time.monotonic() + row["process_seconds"] * following / row["documents"] > deadline:
                    self.reporter.info(f"no time left for {following} documents")
                    break
        except subprocess.SubprocessError as error:
            self.reporter.info(f"scaling: {error}")
        return measured
