"""Find out how a model runs fastest on this machine, and remember it for `score`.

Workers, threads and batch size are tried on windows of random token ids: speed does not depend on the values. Rounds
are interleaved and the median counts, since the machine may be busy with other things.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import numpy as np

from authorid.bundle import Bundle
from authorid.cache import remember
from authorid.engine import DEFAULTS, Engine, EngineOptions, tuning_key
from authorid.machine import available_cores

__all__ = ["Trial", "tune"]

BUDGETS = (128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run the model, and the median of its `tokens_per_second`."""

    options: EngineOptions
    tokens_per_second: float


def tune(
    bundle: Bundle,
    precision: str = "auto",
    *,
    seconds: float = 60.0,
    advance: Callable[[int], None] | None = None,
) -> list[Trial]:
    """Measure every sensible configuration for `seconds` in all; the best is remembered and comes first.

    A configuration must beat the default by 2 % to replace it: less is noise. `advance` is told of each measurement.
    """
    chosen = bundle.precision(precision)
    engines = {
        (workers, threads): Engine(bundle, EngineOptions(chosen, workers, threads)) for workers, threads in _shapes()
    }
    configurations = [
        EngineOptions(chosen, workers, threads, budget)
        for (workers, threads), budget in product(engines, BUDGETS)
        if budget >= bundle.window.length
    ]
    vocabulary = bundle.windower().tokenizer.get_vocab_size()
    rounds = 3
    slot = seconds / (rounds * len(configurations))
    speeds: dict[EngineOptions, list[float]] = {options: [] for options in configurations}
    for _ in range(rounds):
        for options in configurations:
            engine = engines[options.workers, options.threads]
            speeds[options].append(_measure(engine, options, bundle.window.length, vocabulary, slot))
            if advance is not None:
                advance(1)
    trials = [Trial(options, statistics.median(values)) for options, values in speeds.items()]
    default = EngineOptions(chosen, available_cores(), DEFAULTS.threads, DEFAULTS.budget)
    # The default gets the benefit of the doubt.
    trials.sort(key=lambda t: t.tokens_per_second * (1.02 if t.options == default else 1.0), reverse=True)
    best = trials[0].options
    note = {"workers": best.workers, "threads": best.threads, "budget": best.budget, "model": bundle.name}
    remember("tuning", tuning_key(bundle, chosen), note)
    return trials


def _shapes() -> list[tuple[int, int]]:
    """(workers, threads) that use all cores, and every way between one wide worker and many narrow ones."""
    cores = available_cores()
    return [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]


def _measure(engine: Engine, options: EngineOptions, length: int, vocabulary: int, seconds: float) -> float:
    """Tokens a second of `options.workers` threads that run full batches for about `seconds`."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, vocabulary, (max(1, options.budget // length), length), dtype=np.int32)
    engine.run(ids)
    stop = time.perf_counter() + seconds
    done = [0] * options.workers

    def work(worker: int) -> None:
        while time.perf_counter() < stop:
            engine.run(ids)
            done[worker] += ids.size

    started = time.perf_counter()
    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(options.workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return sum(done) / (time.perf_counter() - started)
