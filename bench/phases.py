"""The measurements of a benchmark: documents, windows, latency."""

from __future__ import annotations

import csv
import json
import math
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.peer_interface import decide
from bench.plan import Work, share_out
from bench.statistics import spread
from bench.systems import System
from bench.workloads import TokenizedWorkload, part_of

if TYPE_CHECKING:
    from bench.runner import Runner

__all__ = ["measure_documents", "measure_latency", "measure_windows"]

_FEW = 4
"""Documents or windows of a warm-up, if a batch in every session has fewer."""


def measure_documents(runner: Runner, systems: list[System], seconds: float) -> None:
    """Whole documents from files on disk to results on disk, each system in its own way."""

    def score(system: System, chosen: Sequence[int], passes: int = 1) -> dict[str, Any]:
        paths, out = [runner.paths[index] for index in chosen], str(runner.out / f"{system.name}.csv")
        batch = runner.setup(system, "documents").batch
        return runner.process(system).request("score", paths=paths, out=out, batch=batch, passes=passes)

    def warm_up(system: System) -> float:
        setup = runner.setup(system, "documents")
        runner.use(runner.process(system), setup.sessions, setup.threads)
        few = runner.sample(max(_FEW, setup.sessions * setup.batch))
        return float(runner.best_pass(lambda: score(system, few))["seconds"]) / len(few)

    work = _work(runner, systems, "documents", warm_up, seconds)
    if work is None:
        return
    chosen = runner.sample(work.documents)
    answers = runner.rounds(systems, "documents", lambda system, _: score(system, chosen, work.passes[system.name]))
    for system in runner.remaining(systems):
        times = [answer["seconds"] / work.passes[system.name] for answer in answers[system.name]]
        if not times:
            continue
        found: dict[str, Any] = {
            "documents": len(chosen),
            "passes": work.passes[system.name],
            "documents_per_second": spread([len(chosen) / second for second in times]),
        }
        if system.encoder:
            texts = runner.text_tokens(system)
            found["tokens"] = sum(texts[index] for index in chosen)
            found["tokens_per_second"] = spread([found["tokens"] / second for second in times])
        found["accuracy"] = _accuracy_of_file(runner, runner.out / f"{system.name}.csv", chosen)
        runner.rows[system.name]["documents"] = found


def _work(
    runner: Runner, systems: list[System], measurement: str, warm_up: Callable[[System], float], seconds: float
) -> Work | None:
    """What fits into `seconds`, by how long `warm_up` of each system takes for a document; None if nobody is left."""
    started = time.monotonic()
    runner.reporter.info(f"{measurement}, warm-up")
    needed: dict[str, float] = {}
    for system in systems:
        runner.guarded(system, lambda: needed.update({system.name: warm_up(system)}))  # noqa: B023
    if not needed:
        return None
    # Where a document is one window, rounds of whole batches favour nobody.
    setups = [runner.setup(system, measurement) for system in runner.remaining(systems)]
    step = math.lcm(*(setup.sessions * setup.batch for setup in setups))
    left = min(seconds - (time.monotonic() - started), len(needed) * runner.plan.rounds * runner.plan.turn_seconds)
    return share_out(needed, len(runner.paths), step, max(0.0, left) / runner.plan.rounds)


def _accuracy_of_file(runner: Runner, path: Path, chosen: Sequence[int]) -> float | None:
    """The share of right answers in a results file; None where the weights are random."""
    with path.open(encoding="utf-8", newline="") as stream:
        answers = [row.get("author") or row.get("label") or row.get("candidate") for row in csv.DictReader(stream)]
    if len(answers) != len(chosen):
        raise RuntimeError(f"{path}: {len(answers)} rows for {len(chosen)} documents")
    if not runner.trained:
        return None
    labels = runner.workload.labels
    hits = sum(answer == labels[index] for answer, index in zip(answers, chosen, strict=True))
    return round(float(hits) / len(answers), 4)


def measure_windows(runner: Runner, systems: list[System], seconds: float) -> None:
    """The encoder alone on the same windows for every system; the logits of the first round also give its answers."""

    def run(system: System, file: Path, **options: Any) -> dict[str, Any]:
        batch = runner.setup(system, "windows").batch
        return runner.process(system).request("windows", file=str(file), batch=batch, **options)

    def warm_up(system: System) -> float:
        setup = runner.setup(system, "windows")
        runner.use(runner.process(system), setup.sessions, setup.threads)
        few = max(_FEW, setup.sessions * setup.batch)
        answer = runner.best_pass(partial(run, system, runner.tokenized.windows, limit=few))
        return float(answer["seconds"] / answer["tokens"] * runner.tokenized.tokens / len(runner.paths))

    work = _work(runner, systems, "windows", warm_up, seconds)
    if work is None:
        return
    chosen = runner.sample(work.documents)
    part = part_of(runner.tokenized, chosen)

    def turn(system: System, number: int) -> dict[str, Any]:
        target = str(runner.out / f"{system.name}.npy") if number == 0 else None
        return run(system, part.windows, logits=target, passes=work.passes[system.name])

    rounds = runner.rounds(systems, "windows", turn)
    attributed: dict[str, list[int]] = {}
    for system in runner.remaining(systems):
        answers = rounds[system.name]
        if answers:
            runner.rows[system.name]["windows"] = {
                "documents": len(chosen),
                "windows": len(part.owners),
                "tokens": part.tokens,
                "passes": work.passes[system.name],
                "tokens_per_second": spread([answer["tokens"] / answer["seconds"] for answer in answers]),
            }
            attributed[system.name] = _attributed(part, np.load(runner.out / f"{system.name}.npy"))
    _compare_answers(runner, attributed, [runner.workload.labels[index] for index in chosen])


def _attributed(part: TokenizedWorkload, logits: Any) -> list[int]:
    """The author of every document, by the decision rule of the runtime."""
    owners = np.array(part.owners)
    return [decide(logits[owners == index])[0] for index in range(len(part.whole))]


_REFERENCES = ("keras", "torch-fp32", "optimum-fp32", "ours-fp32")


def _compare_answers(runner: Runner, attributed: dict[str, list[int]], labels: list[str]) -> None:
    """Add accuracy, and the agreement with a float32 system, to the rows of those that computed the same function."""
    reference = next((name for name in _REFERENCES if name in attributed), None)
    authors = json.loads((runner.model.path / "model.json").read_text("utf-8"))["authors"]
    for name, found in attributed.items():
        result = runner.rows[name]["windows"]
        if reference is not None and runner.rows[name].get("same_function", True):
            same = np.mean([a == b for a, b in zip(found, attributed[reference], strict=True)])
            result["agreement"], result["agreement_with"] = round(float(same), 4), reference
        if runner.trained:
            hits = [authors[a] == label for a, label in zip(found, labels, strict=True)]
            result["accuracy"] = round(sum(hits) / len(hits), 4)


def measure_latency(runner: Runner, systems: list[System], seconds: float) -> None:
    """One full window at a time in one session on all cores, in blocks of equal time."""
    times: dict[str, list[float]] = {system.name: [] for system in systems}
    started = time.monotonic()
    for system in systems:
        runner.guarded(system, lambda: runner.use(runner.process(system), 1, runner.threads))  # noqa: B023
    left = max(0.0, seconds - (time.monotonic() - started))
    block = left / (runner.plan.rounds * max(1, len(runner.remaining(systems))))

    def measure(system: System, _: int) -> dict[str, Any]:
        answer = runner.process(system).request(
            "latency",
            length=runner.model.length,
            count=runner.plan.latency_calls,
            seconds=block,
            vocabulary=runner.model.vocabulary,
        )
        times[system.name] += answer["seconds"]
        return answer

    runner.rounds(systems, "latency", measure)
    for system in runner.remaining(systems):
        if times[system.name]:
            milliseconds = np.array(times[system.name]) * 1000
            runner.rows[system.name]["latency_ms"] = {
                "calls": len(milliseconds),
                "p50": round(float(np.percentile(milliseconds, 50)), 3),
                "p99": round(float(np.percentile(milliseconds, 99)), 3),
                "cdf": [round(float(np.percentile(milliseconds, p)), 3) for p in range(101)],
            }
