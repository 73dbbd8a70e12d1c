"""What a run did and how long it took: counted while it goes on, reported at its end."""

from __future__ import annotations

import platform
import threading
from collections import Counter
from functools import cache
from importlib.metadata import version
from typing import Any

from authorid import __version__
from authorid.machine import cpu_name, peak_rss_mb
from authorid.scoring.attribution import Attribution
from authorid.scoring.latency import Percentiles, StageClock

__all__ = ["STAGES", "RunStats", "versions"]

STAGES = ("read", "tokenize", "infer", "write")


class RunStats:
    """Counters and clocks of one run. Threads of the run add to it; read it when the run is over.

    A document's latency is the time from opening its file until its answer is known, waiting in queues included;
    a batch's is its time in the encoder. Stage seconds are summed over threads. Tokens count special tokens. Rows that
    an earlier run had finished are counted, but they are no work of this one: rates and padding leave them out.
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
        self.batch_latency = Percentiles()
        self.stages = StageClock(STAGES)
        self._lock = threading.Lock()

    @property
    def documents(self) -> int:
        """Rows so far, whatever their status."""
        return self.status.total()

    def count(self, attribution: Attribution) -> None:
        """Add one finished row."""
        self.status[attribution.status] += 1
        self.windows += attribution.windows
        self.tokens += attribution.tokens
        if attribution.status == "scored" and attribution.author is not None:
            self.authors[attribution.author] += 1

    def recall(self, attribution: Attribution) -> None:
        """Say that a row, which `count` adds too, is known from an earlier run."""
        self.recalled_documents += 1
        self.recalled_tokens += attribution.tokens

    def latency(self, seconds: float) -> None:
        """Add the latency of one document."""
        self.document_latency.add(seconds)

    def batch(self, slots: int, seconds: float) -> None:
        """Add one batch of `slots` token slots, padding included, that took `seconds` in the encoder."""
        with self._lock:
            self.slots += slots
            self.batch_latency.add(seconds)
        self.stages.add("infer", seconds)

    def report(self, wall_seconds: float, about: dict[str, Any]) -> dict[str, Any]:
        """The record that ``--stats`` writes; `about` says what ran (provider, precision, model, ...)."""
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
                "document": self.document_latency.summary_ms(),
                "batch": self.batch_latency.summary_ms(),
            },
            "stage_seconds": self.stages.seconds(),
            **about,
            "versions": versions(),
            "cpu": cpu_name(),
            "peak_rss_mb": peak_rss_mb(),
        }


@cache
def versions() -> dict[str, str]:
    """Versions of Python and of what decides a score."""
    packages = ("numpy", "onnxruntime", "tokenizers")
    return {
        "python": platform.python_version(),
        "authorid": __version__,
        **{name: version(name) for name in packages},
    }
