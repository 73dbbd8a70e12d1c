"""Find the batch size, sessions and threads at which a system is fastest, in the time that there is for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

from bench.plan import Setup
from bench.processes import SystemProcess
from bench.systems import Shape, System

if TYPE_CHECKING:
    from bench.runner import Runner

__all__ = ["Trials", "climb", "sweep"]

_UNTRIED_TOKENS = 256
"""Tokens in a batch of systems that have no trial."""

_FEWEST_TOKENS = 1024
"""Tokens of a trial, if a batch in every session has fewer."""


def climb(
    batches: Sequence[int], rate: Callable[[int], float | None], start: int = 0, patience: int = 2
) -> dict[int, float]:
    """The rates of batch sizes, from the one at `start` on, until `patience` in a row are no faster than the best.

    Smaller ones are tried when none is faster than the first. It ends where `rate` answers None: no time is left.
    """
    rates: dict[int, float] = {}
    for way in (batches[start:], batches[:start][::-1]):
        slower = 0
        for batch in way:
            found = rate(batch)
            if found is None:
                break
            slower = slower + 1 if rates and found <= max(rates.values()) else 0
            rates[batch] = found
            if slower == patience:
                break
        if not rates or max(rates, key=rates.__getitem__) != batches[start]:
            break
    return rates


@dataclass
class Trials:
    """The rates of setups, as `measure` finds them: tokens per second, and the seconds of a pass over one batch each.

    A trial has `fewest` windows or documents, or a batch for every session; `each` is how many seconds one of them has
    taken so far. As far as that is known, no trial is begun that would not end before `until`, a time of
    `time.monotonic`.
    """

    measure: Callable[[Setup, int], tuple[float, float]]
    until: float
    fewest: int
    each: float = 0.0
    rates: dict[Setup, float] = field(default_factory=dict)

    def rate(self, sessions: int, threads: int, batch: int) -> float | None:
        """Tokens per second, None where there is no time."""
        setup = Setup(sessions, threads, batch)
        items = max(self.fewest, sessions * batch)
        # A pass that does not count, and one that does.
        if time.monotonic() + 2 * items * self.each > self.until:
            return None
        self.rates[setup], seconds = self.measure(setup, items)
        self.each = seconds / items
        return self.rates[setup]

    def search(self, shapes: Sequence[tuple[int, int]], batches: Sequence[int], first: int | None = None) -> Setup:
        """The fastest setup: all batches with the first shape, with the others those about the best.

        `first` is a batch size to begin with, and the answer if there is no time for any trial.
        """
        start, patience = (0, 2) if first is None else (batches.index(first), 1)
        best = Setup(*shapes[0], batches[start])
        for sessions, threads in shapes:
            climb(batches, partial(self.rate, sessions, threads), start, patience)
            best = max(self.rates, key=self.rates.__getitem__, default=best)
            start, patience = batches.index(best.batch), 1
        return best


def sweep(runner: Runner, system: System, seconds: float) -> dict[str, Any]:
    """``setups``, the fastest for windows and for documents, and ``sweeps``, everything that was tried in `seconds`.

    Without time, or without an encoder, a system has the first of its shapes and small batches.
    """
    shapes = {"windows": _shapes(runner, system.window_shapes), "documents": _shapes(runner, system.document_shapes)}
    batch = max(1, _UNTRIED_TOKENS // runner.model.length)
    measured = shapes if system.encoder else ["documents"]
    untried = {"setups": {name: asdict(Setup(*shapes[name][0], batch)) for name in measured}, "sweeps": {}}
    if not system.encoder or seconds <= 0:
        return untried
    until, fewest = time.monotonic() + seconds, max(1, _FEWEST_TOKENS // runner.model.length)
    process = runner.start_process(system)
    # Where a document is one window, what suits windows suits documents.
    both = shapes["windows"] == shapes["documents"] and len(runner.tokenized.owners) == len(runner.paths)
    half = until if both else (time.monotonic() + until) / 2
    found = Trials(partial(_windows, runner, process), half, fewest)
    best = {"windows": found.search(shapes["windows"], runner.plan.batches)}
    if not found.rates:
        runner.end_process(system)
        return untried
    sweeps = {"windows": found.rates}
    if both:
        best["documents"] = best["windows"]
    else:
        shape = best["windows"].sessions, best["windows"].threads
        ordered = sorted(shapes["documents"], key=lambda other: other != shape)
        tokens = runner.text_tokens(system)
        windows = sum(tokens) / len(tokens) / runner.model.length
        found = Trials(partial(_documents, runner, process), until, max(1, int(fewest / windows)), found.each * windows)
        best["documents"] = found.search(ordered, runner.plan.batches, best["windows"].batch)
        sweeps["documents"] = found.rates
    runner.end_process(system)
    return {
        "setups": {name: asdict(setup) for name, setup in best.items()},
        "sweeps": {
            name: [{**asdict(setup), "rate": round(rate, 1)} for setup, rate in rates.items()]
            for name, rates in sweeps.items()
        },
    }


def _shapes(runner: Runner, names: Iterable[Shape]) -> list[tuple[int, int]]:
    """Sessions and threads of each shape, without repetition."""
    shapes = {"wide": (1, runner.threads), "narrow": (runner.threads, 1)}
    return list(dict.fromkeys(shapes[name] for name in names))


def _windows(runner: Runner, process: SystemProcess, setup: Setup, items: int) -> tuple[float, float]:
    """Tokens per second over a few windows, and the seconds of a pass."""
    runner.use(process, setup.sessions, setup.threads)
    file = str(runner.tokenized.windows)
    answer = runner.best_pass(partial(process.request, "windows", file=file, batch=setup.batch, limit=items))
    return answer["tokens"] / answer["seconds"], answer["seconds"]


def _documents(runner: Runner, process: SystemProcess, setup: Setup, items: int) -> tuple[float, float]:
    """Tokens of text per second over a few documents, and the seconds of a pass."""
    runner.use(process, setup.sessions, setup.threads)
    chosen, out = runner.sample(items), str(runner.out / f"{process.system.name}.sweep.csv")
    paths = [runner.paths[index] for index in chosen]
    answer = runner.best_pass(partial(process.request, "score", paths=paths, out=out, batch=setup.batch))
    tokens = runner.text_tokens(process.system)
    return sum(tokens[index] for index in chosen) / answer["seconds"], answer["seconds"]
