"""Speed of the encoder alone: latency of single batches and throughput of all workers, on random windows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from statistics import median
from typing import Any

import numpy as np

from authorid.bundle.manifest import Bundle, Precision, Provider
from authorid.encoder.engine import Engine
from authorid.encoder.engine_options import DEFAULT_BATCH_TOKENS, EngineOptions
from authorid.encoder.providers import PROVIDERS
from authorid.encoder.tuning import random_windows, throughput
from authorid.encoder.windows import load_windower
from authorid.errors import AuthoridError
from authorid.machine import available_cores
from authorid.reporter import Reporter
from authorid.scoring.percentiles import Percentiles

__all__ = ["EncoderBenchmark", "latency_histogram", "open_engines"]

_PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
_ROUNDS = 3
_MIN_CALLS, _MAX_CALLS = 2, 400
_BATCHES = (1, 8, 32)
_LARGEST_BATCH = 4096
"""Tokens; batches of several windows are no larger."""


def open_engines(bundle: Bundle, reporter: Reporter) -> tuple[list[Engine], list[dict[str, str]]]:
    """An engine for every configuration that runs here, and a record of each provider and precision that does not.

    Raises `AuthoridError` when there is none.
    """
    engines: list[Engine] = []
    unavailable = []
    for provider, precision in product(PROVIDERS, _PRECISIONS):
        if precision not in bundle.graphs:
            continue
        reporter.info(f"loading {precision} on {provider}")
        try:
            for workers, threads in _shapes(provider):
                engines.append(Engine(bundle, EngineOptions(precision, workers, threads, provider=provider)))
        except AuthoridError as error:
            unavailable.append({"provider": provider, "precision": precision, "reason": str(error)})
    if not engines:
        raise AuthoridError(unavailable[0]["reason"])
    return engines, unavailable


@dataclass(frozen=True)
class EncoderBenchmark:
    """Measures `engines` with random windows of `length` tokens from a vocabulary of size `vocabulary`."""

    engines: Sequence[Engine]
    length: int
    vocabulary: int

    @classmethod
    def of(cls, bundle: Bundle, engines: Sequence[Engine]) -> EncoderBenchmark:
        """A benchmark with full windows of `bundle`."""
        return cls(engines, bundle.window.length, load_windower(bundle).tokenizer.get_vocab_size())

    def latency(self, seconds: float) -> tuple[list[dict[str, Any]], list[float]]:
        """Latency of single batches, measured for about `seconds` in total.

        Returns one row for each batch size and each engine with a single worker, and the times in seconds of the
        fastest engine on single windows. Batches that would take too long for it are left out.
        """
        seconds_each = seconds / (len(self.engines) * len(_BATCHES))
        rows = []
        fastest: list[float] = []
        for engine in self.engines:
            if engine.workers > 1:
                continue
            # An engine that must run windows one by one is measured with single windows.
            several = _BATCHES[1:] if engine.batch_tokens > 1 else ()
            single = self._times(engine, 1, seconds_each)
            rows.append(self._latency_row(engine, 1, single))
            fastest = min(fastest or single, single, key=median)
            for batch in several:
                predicted = (1 + _MIN_CALLS) * batch * median(single)
                if batch * self.length <= _LARGEST_BATCH and predicted <= seconds:
                    rows.append(self._latency_row(engine, batch, self._times(engine, batch, seconds_each)))
        return rows, fastest

    def throughput(self, seconds: float) -> list[dict[str, Any]]:
        """Tokens per second by engine and batch size: median, slowest and fastest of several interleaved rounds.

        Slow models have fewer rounds, so that it takes about `seconds`.
        """
        started = time.perf_counter()
        trials = [(engine, batch_tokens) for engine in self.engines for batch_tokens in self._batch_sizes(engine)]
        seconds_each = seconds / _ROUNDS / len(trials)
        rates: list[list[float]] = [[] for _ in trials]
        for number in range(_ROUNDS):
            if number and time.perf_counter() - started > seconds:
                break
            for (engine, batch_tokens), own in zip(trials, rates, strict=True):
                ids = random_windows(batch_tokens // self.length, self.length, self.vocabulary)
                own.append(throughput(engine, ids, seconds_each))
        return [
            {
                **_configuration(engine),
                "batch_tokens": batch_tokens,
                "tokens_per_second": round(median(own), 1),
                "slowest": round(min(own), 1),
                "fastest": round(max(own), 1),
            }
            for (engine, batch_tokens), own in zip(trials, rates, strict=True)
        ]

    def _times(self, engine: Engine, batch: int, seconds: float) -> list[float]:
        """Seconds of each call of `engine` with a batch of `batch` windows."""
        ids = random_windows(batch, self.length, self.vocabulary)
        engine.run(ids)
        times: list[float] = []
        deadline = time.perf_counter() + seconds
        while len(times) < _MIN_CALLS or (time.perf_counter() < deadline and len(times) < _MAX_CALLS):
            started = time.perf_counter()
            engine.run(ids)
            times.append(time.perf_counter() - started)
        return times

    def _latency_row(self, engine: Engine, batch: int, times: Sequence[float]) -> dict[str, Any]:
        percentiles = Percentiles()
        for value in times:
            percentiles.add(value)
        return {
            **_configuration(engine),
            "batch": batch,
            "length": self.length,
            "calls": len(times),
            "ms": percentiles.summary_ms(),
            "tokens_per_second": round(batch * self.length / median(times), 1),
        }

    def _batch_sizes(self, engine: Engine) -> list[int]:
        """Batch sizes in tokens, each at least a full window: half, once, twice and four times the default."""
        if engine.batch_tokens == 1:  # this engine must run windows one by one
            return [self.length]
        default = DEFAULT_BATCH_TOKENS[engine.provider]
        return sorted({max(self.length, tokens) for tokens in (default // 2, default, 2 * default, 4 * default)})


def latency_histogram(times: Sequence[float], bins: int = 12) -> dict[str, Any]:
    """Histogram of `times` in seconds: the bin edges in ms and the counts; the last bin has the slowest 1 % too."""
    milliseconds = np.array(times) * 1000
    edges = np.linspace(milliseconds.min(), np.percentile(milliseconds, 99), bins + 1)
    if edges[-1] <= edges[0]:
        edges = np.linspace(edges[0], edges[0] + 1e-3, bins + 1)
    counts, _ = np.histogram(np.minimum(milliseconds, edges[-1]), edges)
    return {"edges_ms": [round(float(edge), 4) for edge in edges], "counts": [int(count) for count in counts]}


def _shapes(provider: Provider) -> list[tuple[int, int]]:
    """(workers, threads): one core, one batch on each core, and (onnxruntime only) one batch on all cores."""
    cores = available_cores()
    return sorted({(1, 1), (cores, 1), *([(1, cores)] if provider == "cpu" else [])})


def _configuration(engine: Engine) -> dict[str, Any]:
    return {
        "provider": engine.provider,
        "precision": engine.precision,
        "workers": engine.workers,
        "threads": engine.threads,
    }
