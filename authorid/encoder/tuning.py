"""Tuning: find the fastest way to run a model on this machine, and save it for `score`.

Providers, workers, threads and batch sizes are tried on windows of random tokens, because speed does not depend on the
tokens. Rounds are interleaved and the median counts, because the machine may be busy with other work.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision, Provider
from authorid.encoder.cache import cache_directory, write_entry
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.engine_options import DEFAULT_BATCH_TOKENS, EngineOptions
from authorid.encoder.providers import PROVIDERS
from authorid.encoder.windows import load_windower
from authorid.errors import AuthoridError, BundleLacksError
from authorid.machine import available_cores
from authorid.reporter import SILENT, Reporter

__all__ = ["Trial", "random_windows", "throughput", "tune"]

_BATCH_TOKENS_TRIED = (128, 256, 512, 1024, 2048, 4096)

_ROUNDS = 3

_DEFAULT_BONUS = 1.02
"""Another configuration must be faster than the default by this factor to replace it; smaller differences are noise."""


@dataclass(frozen=True, slots=True)
class Trial:
    """One configuration, and its median speed in tokens per second."""

    options: EngineOptions
    tokens_per_second: float


def tune(
    bundle: Bundle,
    precision: str = "auto",
    *,
    provider: str = "auto",
    seconds: float = 60.0,
    reporter: Reporter = SILENT,
) -> list[Trial]:
    """Measure all useful configurations, for `seconds` in total, and return them, fastest first.

    Saves the best configuration of each provider in the cache; with `provider` ``auto`` also which provider is fastest.
    `reporter` gets the progress, a message about each provider that cannot be measured, and where the result was saved.
    Raises `AuthoridError` when the bundle has no encoder, or when the requested provider, or onnxruntime itself,
    cannot be measured.
    """
    if not bundle.graphs:
        raise BundleLacksError(f"{bundle.path}: n-grams only, no encoder to tune; score needs no tuning for this model")
    if bundle.ngrams is not None and not bundle.decision.encoder_weight:
        reporter.warning("the encoder has the weight 0 in this model: only score --effort full runs it")
    chosen = bundle.precision(precision, _provider(provider))
    length, vocabulary = bundle.window.length, load_windower(bundle).tokenizer.get_vocab_size()
    engines = _engines(bundle, chosen, provider, reporter)
    seconds_each = seconds / (_ROUNDS * len(engines))
    speeds: dict[EngineOptions, list[float]] = {options: [] for options in engines}
    done, total = 0, _ROUNDS * len(engines)
    for _ in range(_ROUNDS):
        for options, engine in engines.items():
            ids = random_windows(options.batch_tokens // length, length, vocabulary)
            speeds[options].append(throughput(engine, ids, seconds_each))
            done += 1
            reporter.progress(done, total)
    trials = [Trial(options, statistics.median(values)) for options, values in speeds.items()]
    trials.sort(key=lambda t: t.tokens_per_second * (_DEFAULT_BONUS if _is_default(t.options) else 1.0), reverse=True)
    if _save(bundle, chosen, trials):
        reporter.info(f"saved in {cache_directory()}")
    else:
        reporter.warning(f"the result cannot be saved in {cache_directory()}; score will not use it")
    return trials


def throughput(engine: Engine, ids: npt.NDArray[np.int32], seconds: float) -> float:
    """Tokens per second when all workers of `engine` run the batch `ids` int32 [b, s] again and again.

    Each worker runs the batch once before the measurement, and at least once during it, however short `seconds` is.
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
    finally:  # after an interrupt too: a worker that is left behind would keep the process alive
        stopped.set()
        ready.abort()
        for thread in threads:
            if thread.is_alive():
                thread.join()
    if errors:
        raise errors[0]
    return sum(calls) * ids.size / seconds


def random_windows(batch: int, length: int, vocabulary: int) -> npt.NDArray[np.int32]:
    """Full windows of random tokens, int32 [batch, length]; the same on every call."""
    return np.random.default_rng(0).integers(0, vocabulary, (batch, length), dtype=np.int32)


def _engines(bundle: Bundle, precision: Precision, provider: str, reporter: Reporter) -> dict[EngineOptions, Engine]:
    """An engine for each configuration to measure. Configurations that differ only in batch size share one."""
    length = bundle.window.length
    engines: dict[EngineOptions, Engine] = {}
    for name in PROVIDERS:
        if provider not in ("auto", name):
            continue
        try:
            for workers, threads in _shapes():
                engine = Engine(bundle, EngineOptions(precision, workers, threads, _BATCH_TOKENS_TRIED[-1], name))
                # An engine that must run windows one by one is measured with single windows.
                for batch_tokens in _batch_sizes(length) if engine.batch_tokens > 1 else [length]:
                    engines[EngineOptions(precision, workers, threads, batch_tokens, name)] = engine
        except AuthoridError as error:
            if provider == name or name == "cpu":
                raise
            reporter.info(f"{name} not measured: {error}")
    return engines


def _shapes() -> list[tuple[int, int]]:
    """(workers, threads): all divisions of the cores, from one worker on all cores to one worker on each core."""
    cores = available_cores()
    return [(cores // threads, threads) for threads in range(1, cores + 1) if cores % threads == 0]


def _batch_sizes(length: int) -> list[int]:
    """Batch sizes to try, in tokens; each has room for a full window."""
    return [batch_tokens for batch_tokens in _BATCH_TOKENS_TRIED if batch_tokens >= length]


def _provider(name: str) -> Provider:
    """The provider called `name`; ``cpu`` for ``auto``."""
    return next((provider for provider in PROVIDERS if provider == name), "cpu")


def _is_default(options: EngineOptions) -> bool:
    """Whether the engine runs like this without tuning."""
    batch_tokens = DEFAULT_BATCH_TOKENS[_provider(options.provider)]
    return (options.workers, options.threads, options.batch_tokens) == (available_cores(), 1, batch_tokens)


def _save(bundle: Bundle, precision: Precision, trials: Sequence[Trial]) -> bool:
    """Write the best configuration of each provider to the cache, and the fastest provider if several were measured.

    Returns False when the cache cannot be written.
    """
    best = {trial.options.provider: trial.options for trial in reversed(trials)}
    written = []
    for name in PROVIDERS:
        if name in best:
            entry = {
                "workers": best[name].workers,
                "threads": best[name].threads,
                "batch_tokens": best[name].batch_tokens,
                "model": bundle.name,
            }
            written.append(write_entry("tuning", tuning_key(bundle, precision, name), entry))
    if len(best) > 1:
        entry = {"provider": trials[0].options.provider, "model": bundle.name}
        written.append(write_entry("fastest", tuning_key(bundle, precision), entry))
    return all(written)
