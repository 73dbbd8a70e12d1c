"""Clocks for the stages of a run, and percentiles in bounded memory."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["Percentiles", "StageClock"]

_GROWTH = 1.02
"""Neighbouring bins differ by 2 %, so a reported percentile is within 1 % of the true one."""

_FLOOR = 1e-6


class Percentiles:
    """Percentiles of positive values (seconds) from a histogram with logarithmic bins: O(1) memory."""

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.max = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        place = max(0, math.ceil(math.log(max(value, _FLOOR) / _FLOOR, _GROWTH)))
        self._bins[place] = self._bins.get(place, 0) + 1
        self.count += 1
        self.total += value
        self.max = max(self.max, value)

    def percentile(self, percent: float) -> float:
        """The value that `percent` % of those added do not exceed; 0.0 when there are none."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for place in sorted(self._bins):
            seen += self._bins[place]
            if seen >= rank:
                return min(self.max, _FLOOR * math.pow(_GROWTH, place - 0.5))
        return 0.0

    def summary_ms(self) -> dict[str, float]:
        """``{p50, p90, p95, p99, max}`` in milliseconds."""
        summary = {f"p{percent}": self.percentile(percent) for percent in (50, 90, 95, 99)}
        summary["max"] = self.max
        return {name: round(seconds * 1000, 3) for name, seconds in summary.items()}

    def bins(self) -> list[tuple[float, int]]:
        """``(seconds, count)`` of every bin that holds something, ascending."""
        return [(_FLOOR * math.pow(_GROWTH, place - 0.5), self._bins[place]) for place in sorted(self._bins)]


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
        """Seconds a stage, rounded to a microsecond."""
        return {name: round(seconds, 6) for name, seconds in self._seconds.items()}
