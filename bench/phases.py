"""The measurements of a benchmark: documents, windows, latency, grid."""

from __future__ import annotations

import csv
import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peer_interface import decide
from bench.plan import Cell
from bench.statistics import spread
from bench.systems import REPEAT, System

if TYPE_CHECKING:
    from bench.runner import Runner

__all__ = ["measure_documents", "measure_grid", "measure_latency", "measure_windows"]


def measure_documents(runner: Runner, systems: list[System]) -> None:
    """Whole documents from files on disk to results on disk, each system in its own way."""

    def turn(system: System, number: int) -> dict[str, Any]:
        setup, process = runner.setup(system, "documents"), runner.process(system)
        out = str(runner.out / f"{system.name}.csv")
        if number == 0:  # warm-up
            few = runner.paths[:: max(1, len(runner.paths) // 12)]
            process.request("score", paths=few, out=out, batch=setup.batch)
        return process.request("score", paths=runner.paths, out=out, batch=setup.batch)

    answers = runner.rounds(systems, "documents", turn)
    for system in runner.remaining(systems):
        seconds = [answer["seconds"] for answer in answers[system.name]]
        if not seconds:
            continue
        count = len(runner.paths)
        found: dict[str, Any] = {
            "documents": count,
            "documents_per_second": spread([count / second for second in seconds]),
        }
        if system.encoder:
            tokens = sum(runner.text_tokens(system))
            found["tokens"] = tokens
            found["tokens_per_second"] = spread([tokens / second for second in seconds])
        found["accuracy"] = _accuracy_of_file(runner, runner.out / f"{system.name}.csv")
        runner.rows[system.name]["documents"] = found


def _accuracy_of_file(runner: Runner, path: Path) -> float | None:
    """The share of right answers in a results file; None where the weights are random."""
    with path.open(encoding="utf-8", newline="") as stream:
        answers = [row["author"] or row.get("candidate") for row in csv.DictReader(stream)]
    if len(answers) != len(runner.paths):
        raise RuntimeError(f"{path}: {len(answers)} rows for {len(runner.paths)} documents")
    if not runner.trained:
        return None
    hits = sum(str(answer) == label for answer, label in zip(answers, runner.workload.labels, strict=True))
    return round(float(hits) / len(answers), 4)


def measure_windows(runner: Runner, systems: list[System]) -> None:
    """The encoder alone on the same windows for every system; the logits of the first round also give its answers."""

    def turn(system: System, number: int) -> dict[str, Any]:
        setup, process = runner.setup(system, "windows"), runner.process(system)
        file, batch = str(runner.tokenized.windows), setup.batch
        if number == 0:  # warm-up
            runner.use(process, setup.sessions, setup.threads)
            process.request("windows", file=file, batch=batch, limit=runner.plan.warm_up_windows)
        target = str(runner.out / f"{system.name}.npy") if number == 0 else None
        return process.request("windows", file=file, batch=batch, logits=target)

    rounds = runner.rounds(systems, "windows", turn)
    attributed: dict[str, list[int]] = {}
    for system in runner.remaining(systems):
        answers = rounds[system.name]
        if answers:
            runner.rows[system.name]["windows"] = {
                "windows": answers[0]["windows"],
                "tokens": answers[0]["tokens"],
                "tokens_per_second": spread([answer["tokens"] / answer["seconds"] for answer in answers]),
            }
            attributed[system.name] = _attributed(runner, np.load(runner.out / f"{system.name}.npy"))
    _compare_answers(runner, attributed)


def _attributed(runner: Runner, logits: Any) -> list[int]:
    """The author of every document, by the decision rule of the runtime."""
    owners = np.array(runner.tokenized.owners)
    return [decide(logits[owners == index])[0] for index in range(len(runner.paths))]


def _compare_answers(runner: Runner, attributed: dict[str, list[int]]) -> None:
    """Add accuracy, and the agreement with a float32 system, to the rows of those that computed the same function."""
    reference = next((name for name in ("keras", "torch-fp32", "ours-fp32") if name in attributed), None)
    authors = json.loads((runner.model / "model.json").read_text("utf-8"))["authors"]
    for name, found in attributed.items():
        result = runner.rows[name]["windows"]
        if reference is not None and runner.rows[name].get("same_function", True):
            same = np.mean([a == b for a, b in zip(found, attributed[reference], strict=True)])
            result["agreement"], result["agreement_with"] = round(float(same), 4), reference
        if runner.trained:
            hits = [authors[a] == label for a, label in zip(found, runner.workload.labels, strict=True)]
            result["accuracy"] = round(sum(hits) / len(hits), 4)


def measure_grid(runner: Runner, systems: list[System]) -> None:
    """Full windows by batch and length, each system with the sessions and threads that suit it."""
    for system in systems:
        runner.rows[system.name]["grid"] = []
        setup = runner.setup(system, "windows")
        runner.guarded(
            system,
            lambda: runner.use(runner.process(system), setup.sessions, setup.threads),  # noqa: B023
        )
    for number, cell in enumerate(runner.plan.cells):
        if time.monotonic() > runner.deadline:
            runner.skipped.append(f"grid {cell.batch} x {cell.length}")
            continue
        runner.reporter.info(f"grid {cell.batch} x {cell.length}")
        for system in runner.in_turn(systems, number, len(runner.plan.cells)):
            if system.name != REPEAT:
                runner.guarded(system, lambda: _measure_cell(runner, system, cell))  # noqa: B023


def _measure_cell(runner: Runner, system: System, cell: Cell) -> None:
    answer = runner.process(system).request(
        "grid",
        batch=cell.batch,
        length=cell.length,
        seconds=runner.plan.cell_seconds,
        vocabulary=runner.vocabulary,
    )
    rate = round(answer["tokens"] / answer["seconds"], 1)
    runner.rows[system.name]["grid"].append({"batch": cell.batch, "length": cell.length, "tokens_per_second": rate})


def measure_latency(runner: Runner, systems: list[System]) -> None:
    """One window at a time in one session on all cores."""
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    for system in systems:
        runner.guarded(system, lambda: runner.use(runner.process(system), 1, runner.threads))  # noqa: B023
    runner.reporter.info("latency")

    def measure(system: System) -> None:
        answer = runner.process(system).request(
            "latency",
            length=runner.plan.latency_length,
            count=runner.plan.latency_calls,
            vocabulary=runner.vocabulary,
        )
        times[system.name] += answer["seconds"]

    for number in range(runner.plan.latency_blocks):
        for system in runner.in_turn(systems, number, runner.plan.latency_blocks):
            runner.guarded(system, lambda: measure(system))  # noqa: B023
    for system in runner.remaining(systems):
        if times[system.name]:
            milliseconds = np.array(times[system.name]) * 1000
            runner.rows[system.name]["latency_ms"] = {
                "calls": len(milliseconds),
                "p50": round(float(np.percentile(milliseconds, 50)), 3),
                "p99": round(float(np.percentile(milliseconds, 99)), 3),
                "cdf": [round(float(np.percentile(milliseconds, p)), 3) for p in range(101)],
            }
