"""Run statistics: what a run did, and how long it took."""

from __future__ import annotations

import platform
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from importlib.metadata import version
from typing import Any

from authorid.machine import cpu_name, peak_rss_mb
from authorid.scoring.attribution import Attribution
from authorid.scoring.percentiles import Percentiles, amount_of, count_of
from authorid.version import __version__

__all__ = ["STAGES", "RunStats", "StageClock", "versions"]

STAGES = ("read", "tokenize", "infer", "write")
"""Stages of a run; ``infer`` covers the n-gram model and the encoder."""


_COUNTS = ("windows", "tokens", "slots", "recalled_documents", "recalled_tokens")
_HISTOGRAMS = ("document_latency", "service_time", "batch_latency")
"""Attributes of `RunStats` that are numbers, and those that are histograms."""


class StageClock:
    """Seconds spent in each stage of a run, summed over threads."""

    def __init__(self, stages: tuple[str, ...]) -> None:
        self._seconds = dict.fromkeys(stages, 0.0)
        self._lock = threading.Lock()

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Time the enclosed block as part of stage `name`."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.add(name, time.perf_counter() - start)

    def add(self, name: str, seconds: float) -> None:
        """Add `seconds` to stage `name`."""
        with self._lock:
            self._seconds[name] += seconds

    def seconds(self) -> dict[str, float]:
        """Seconds of each stage, rounded to a microsecond."""
        return {name: round(seconds, 6) for name, seconds in self._seconds.items()}


class RunStats:
    """Counters and clocks of one run. The threads of the run add to it; read it when the run is over.

    The latency of a document is the time from opening its file until its answer is known, including the time in
    queues; its service time is that of the work for it. The latency of a batch is its time in the encoder. The seconds
    of a stage are summed over threads. Tokens include special tokens. Rows that a resumed run takes over from an
    earlier one are counted, but rates and the padding ratio leave them out.

    Attributes:
        status: How many rows have each status.
        authors: How many rows with the status ``scored`` each author has.
        windows: Windows that the encoder has seen.
        tokens: Tokens in those windows.
        slots: Token slots in the encoder's batches, padding included.
        recalled_documents: Rows taken over from an earlier run.
        recalled_tokens: Tokens of those rows.
        document_latency: Latencies of documents, in seconds.
        service_time: Service times of documents, in seconds.
        batch_latency: Latencies of batches, in seconds.
        stages: Seconds spent in each of `STAGES`.

    """

    def __init__(self) -> None:
        self.status: Counter[str] = Counter()
        self.authors: Counter[str] = Counter()
        self.windows = 0
        self.tokens = 0
        self.slots = 0
        self.recalled_documents = 0
        self.recalled_tokens = 0
        self.document_latency = Percentiles()
        self.service_time = Percentiles()
        self.batch_latency = Percentiles()
        self.stages = StageClock(STAGES)
        self._lock = threading.Lock()

    @property
    def documents(self) -> int:
        """How many rows there are so far, whatever their status."""
        return self.status.total()

    def count(self, attribution: Attribution) -> None:
        """Add one finished row."""
        self.status[attribution.status] += 1
        self.windows += attribution.windows
        self.tokens += attribution.tokens
        if attribution.status == "scored" and attribution.author is not None:
            self.authors[attribution.author] += 1

    def recall(self, attribution: Attribution) -> None:
        """Note that a row comes from an earlier run; `count` has to be called for it, too."""
        self.recalled_documents += 1
        self.recalled_tokens += attribution.tokens

    def latency(self, seconds: float, service: float) -> None:
        """Add the latency of one document, and its `service` time, both in seconds."""
        self.document_latency.add(seconds)
        self.service_time.add(service)

    def batch(self, slots: int, seconds: float) -> None:
        """Add one batch of `slots` token slots, padding included, that took `seconds` in the encoder."""
        with self._lock:
            self.slots += slots
            self.batch_latency.add(seconds)
        self.stages.add("infer", seconds)

    def state(self) -> dict[str, Any]:
        """All that is known, exact, as values that JSON can represent; see `add_state`."""
        return {
            "status": dict(self.status),
            "authors": dict(self.authors),
            **{name: getattr(self, name) for name in _COUNTS},
            **{name: getattr(self, name).state() for name in _HISTOGRAMS},
            "stages": self.stages.seconds(),
        }

    def add_state(self, state: Mapping[str, Any]) -> None:
        """Add what another run knew, from its `state`. Raises `ValueError` if that is none."""
        try:
            for number in (*state["status"].values(), *state["authors"].values()):
                count_of(number)
            self.status.update(state["status"])
            self.authors.update(state["authors"])
            for name in _COUNTS:
                setattr(self, name, getattr(self, name) + count_of(state[name]))
            for name in _HISTOGRAMS:
                getattr(self, name).add_state(state[name])
            for name in STAGES:
                self.stages.add(name, amount_of(state["stages"][name]))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the state of statistics: {error}") from None

    def report(self, wall_seconds: float, description: dict[str, Any]) -> dict[str, Any]:
        """The JSON-ready statistics that ``--stats`` writes.

        Args:
            wall_seconds: How long the run took.
            description: What scored, from `Scorer.describe`; its keys become part of the result.

        """
        documents = self.documents - self.recalled_documents
        tokens = self.tokens - self.recalled_tokens
        return {
            "documents": self.documents,
            "scored": self.status["scored"],
            "unknown": self.status["unknown"],
            "failed": self.status["failed"],
            "windows": self.windows,
            "tokens": self.tokens,
            "wall_seconds": round(wall_seconds, 6),
            "documents_per_second": round(documents / wall_seconds, 3) if wall_seconds else 0.0,
            "tokens_per_second": round(tokens / wall_seconds, 3) if wall_seconds else 0.0,
            "padding_ratio": round(1 - tokens / self.slots, 6) if self.slots else 0.0,
            "latency_ms": {
                "service": self.service_time.summary_ms(),
                "document": self.document_latency.summary_ms(),
                "batch": self.batch_latency.summary_ms(),
            },
            "stage_seconds": self.stages.seconds(),
            **description,
            "versions": versions(),
            "cpu": cpu_name(),
            "peak_rss_mb": peak_rss_mb(),
        }


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of the packages that determine scores."""
    packages = ("numpy", "onnxruntime", "tokenizers")
    return {
        "python": platform.python_version(),
        "authorid": __version__,
        **{name: version(name) for name in packages},
    }
