"""Find the batch size, sessions and threads at which a system is fastest."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.plan import Setup
from bench.processes import SystemProcess
from bench.systems import Shape, System

if TYPE_CHECKING:
    from bench.runner import Runner

__all__ = ["climb", "sweep"]

_UNTRIED_BATCH = 8
"""Windows in a batch of systems that have no trial."""


def climb(batches: Iterable[int], rate: Callable[[int], float], seconds: float = float("inf")) -> dict[int, float]:
    """The rate of each batch size, in order, until two in a row are no faster than the best before them.

    No batch size is begun after `seconds`, except the first.
    """
    started = time.monotonic()
    rates: dict[int, float] = {}
    for batch in batches:
        if rates and time.monotonic() - started > seconds:
            break
        rates[batch] = rate(batch)
        tried = list(rates.values())
        if tried.index(max(tried)) + 2 < len(tried):
            break
    return rates


def sweep(runner: Runner, system: System) -> dict[str, Any]:
    """``setups``, the fastest for windows and for documents, and ``sweeps``, everything that was tried."""
    if not system.encoder:
        (sessions, threads), *_ = _shapes(runner, system.document_shapes)
        return {"setups": {"documents": asdict(Setup(sessions, threads, _UNTRIED_BATCH))}, "sweeps": {}}
    trials = {"windows": (system.window_shapes, _rate_of_windows)}
    if runner.plan.documents:
        trials["documents"] = (system.document_shapes, _rate_of_documents)
    process = runner.start_process(system)
    setups, sweeps = {}, {}
    for measurement, (shapes, rate) in trials.items():
        tried: dict[Setup, float] = {}
        pairs = _shapes(runner, shapes)
        seconds = min(runner.plan.sweep_seconds / len(pairs), runner.deadline - time.monotonic())
        for sessions, threads in pairs:
            runner.use(process, sessions, threads)
            rates = climb(runner.plan.batches, partial(rate, runner, process), seconds)
            tried.update((Setup(sessions, threads, batch), found) for batch, found in rates.items())
        setups[measurement] = asdict(max(tried, key=tried.__getitem__))
        sweeps[measurement] = [{**asdict(setup), "rate": round(found, 1)} for setup, found in tried.items()]
    runner.end_process(system)
    return {"setups": setups, "sweeps": sweeps}


def _shapes(runner: Runner, names: Iterable[Shape]) -> list[tuple[int, int]]:
    """Sessions and threads of each shape, without repetition."""
    shapes = {"wide": (1, runner.threads), "narrow": (runner.threads, 1)}
    return list(dict.fromkeys(shapes[name] for name in names))


def _rate_of_windows(runner: Runner, process: SystemProcess, batch: int) -> float:
    """Tokens per second over a few windows."""
    file, limit = str(runner.tokenized.windows), _trial_size(runner, process, batch)
    answer = _best_pass(partial(process.request, "windows", file=file, batch=batch, limit=limit))
    return float(answer["tokens"] / answer["seconds"])


def _rate_of_documents(runner: Runner, process: SystemProcess, batch: int) -> float:
    """Tokens of text per second over a few documents, spread evenly over all of them."""
    count = min(_trial_size(runner, process, batch), len(runner.paths))
    chosen = [index * len(runner.paths) // count for index in range(count)]
    paths, out = [runner.paths[index] for index in chosen], str(runner.out / f"{process.system.name}.sweep.csv")
    answer = _best_pass(partial(process.request, "score", paths=paths, out=out, batch=batch))
    tokens = runner.text_tokens(process.system)
    return float(sum(tokens[index] for index in chosen) / answer["seconds"])


def _trial_size(runner: Runner, process: SystemProcess, batch: int) -> int:
    """How many windows or documents give every session a full batch."""
    sessions, _ = process.loaded or (1, 1)
    return max(runner.plan.sweep_items, sessions * batch)


def _best_pass(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The fastest answer of up to five in about half a second, after one warm-up."""
    run()
    answers = [run()]
    while len(answers) < 5 and sum(float(answer["seconds"]) for answer in answers) < 0.5:
        answers.append(run())
    return min(answers, key=lambda answer: float(answer["seconds"]))
