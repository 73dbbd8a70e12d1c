"""Find out how a model runs fastest on this machine, and remember it for `score`.

Providers, workers, threads and batch sizes are tried on windows of random token ids: speed does not depend on the
values. Rounds are interleaved and the median counts, since the machine may be busy with other things.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision
from authorid.encoder.cache import cache_directory, remember
from authorid.encoder.engine import BUDGETS, Engine, EngineOptions, tuning_key
from authorid.encoder.providers import PROVIDERS
from authorid.errors import AuthoridError
from authorid.machine import available_cores

__all__ = ["Trial", "random_windows", "throughput", "tune"]

_TRIED = (128, 256, 512, 1024, 2048, 4096)


@dataclass(frozen=True, slots=True)
class Trial:
    """One way to run the model, and the median of its `tokens_per_second`."""

    options: EngineOptions
    tokens_per_second: float


def tune(
    bundle: Bundle,
    precision: str = "auto",
    *,
    provider: str = "auto",
    seconds: float = 60.0,
    advance: Callable[[int], None] | None = None,
    told: Callable[[str], None] = lambda message: None,
) -> list[Trial]:
    """Measure every sensible configuration for `seconds` in all; the fastest comes first.

    The best configuration of each provider is remembered, and with `provider` ``auto`` also which provider that is;
    `told` hears where, or that it cannot be, and of another provider that cannot be measured. Raises `AuthoridError`
    when that leaves none. A configuration must beat the default by 2 % to replace it: less is noise. `advance` is told
    of each measurement.
    """
    chosen = bundle.precision(precision, "openvino" if provider == "openvino" else "cpu")
    length, vocabulary = bundle.window.length, bundle.windower().tokenizer.get_vocab_size()
    engines: dict[EngineOptions, Engine] = {}
    for name in PROVIDERS:
        if provider not in ("auto", name):
            continue
        try:
            for workers, threads in _shapes():
                engine = Engine(bundle, EngineOptions(chosen, workers, threads, _TRIED[-1], name))
                # An engine that takes windows one by one is measured so.
                for budget in _budgets(length) if engine.budget > 1 else [length]:
                    engines[EngineOptions(chosen, workers, threads, budget, name)] = engine
        except AuthoridError as error:
            if provider == name or name == "cpu":
                raise
            told(f"{name} not measured: {error}")
    rounds = 3
    slot = seconds / (rounds * len(engines))
    speeds: dict[EngineOptions, list[float]] = {options: [] for options in engines}
    for _ in range(rounds):
        for options, engine in engines.items():
            ids = random_windows(options.budget // length, length, vocabulary)
            speeds[options].append(throughput(engine, ids, slot))
            if advance is not None:
                advance(1)
    trials = [Trial(options, statistics.median(values)) for options, values in speeds.items()]
    trials.sort(key=lambda t: t.tokens_per_second * (1.02 if _is_default(t.options) else 1.0), reverse=True)
    kept = _remember(bundle, chosen, trials)
    told(f"remembered in {cache_directory()}" if kept else f"warning: cannot be remembered in {cache_directory()}")
    return trials


def throughput(engine: Engine, ids: npt.NDArray[np.int32], seconds: float) -> float:
    """Tokens per second of all the engine's workers, each running the batch `ids` int32 [b, s] again and again.

    The first run of each does not count, and at least one more does, however few the `seconds`.
    """
    calls = [0] * engine.workers
    ready = threading.Barrier(engine.workers + 1)
    stopped = threading.Event()
    errors: list[BaseException] = []

    def work(worker: int) -> None:
        try:
            engine.run(ids)
            ready.wait()
            deadline = time.perf_counter() + seconds
            while not stopped.is_set() and (not calls[worker] or time.perf_counter() < deadline):
                engine.run(ids)
                calls[worker] += 1
        except BaseException as error:
            errors.append(error)
            ready.abort()

    threads = [threading.Thread(target=work, args=(worker,)) for worker in range(engine.workers)]
    try:
        for thread in threads:
            thread.start()
        with suppress(threading.BrokenBarrierError):
            ready.wait()
        started = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    finally:  # an interrupt leaves no worker behind either: it would keep the process, or be in it when it ends
        stopped.set()
        ready.abort()
        for thread in threads:
            if thread.is_alive():
                thread.join()
    if errors:
        raise errors[0]
    return sum(calls) * ids.size / seconds


def random_windows(batch: int, length: int, vocabulary: int) -> npt.NDArray[np.int32]:
    """Full windows of random tokens, int32 [batch, length]: speed does not depend on which."""
    return np.random.default_rng(0).integers(0, vocabulary, (batch, length), dtype=np.int32)


def _shapes() -> list[tuple[int, int]]:
    """(workers, threads): every way between one wide worker and many narrow ones that uses all cores."""
    cores = available_cores()
    return [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]


def _budgets(length: int) -> list[int]:
    """Sizes of a batch in tokens, each a full window or more."""
    return [budget for budget in _TRIED if budget >= length]


def _is_default(options: EngineOptions) -> bool:
    """Whether this is what runs without tuning: it gets the benefit of the doubt."""
    budget = BUDGETS["openvino" if options.provider == "openvino" else "cpu"]
    return (options.workers, options.threads, options.budget) == (available_cores(), 1, budget)


def _remember(bundle: Bundle, precision: Precision, trials: Sequence[Trial]) -> bool:
    """Keep the best of each provider, and which is the fastest when there was a choice; whether that could be done."""
    best = {trial.options.provider: trial.options for trial in reversed(trials)}
    done = []
    for name in PROVIDERS:
        if name in best:
            shape = {"workers": best[name].workers, "threads": best[name].threads, "budget": best[name].budget}
            done.append(remember("tuning", tuning_key(bundle, precision, name), {**shape, "model": bundle.name}))
    if len(best) > 1:
        note = {"provider": trials[0].options.provider, "model": bundle.name}
        done.append(remember("fastest", tuning_key(bundle, precision), note))
    return all(done)
