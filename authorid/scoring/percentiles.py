"""Percentiles of durations in bounded memory."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

__all__ = ["Percentiles", "amount_of", "count_of"]

_GROWTH = 1.02
"""Each bin ends 2 % higher than the one before, so a reported percentile is within 1 % of the true one."""

_FLOOR = 1e-6
"""Upper end of the first bin, in seconds."""


_MOST_BINS = 4096
"""Durations are shorter than the end of the last of so many bins: 10**29 seconds."""


def count_of(value: object) -> int:
    """A count that was stored as JSON. Raises `ValueError` if it is none."""
    if type(value) is not int or not 0 <= value < 1 << 63:
        raise ValueError("a count that is none")
    return value


def amount_of(value: object) -> float:
    """A finite number, 0 or more, that was stored as JSON. Raises `ValueError` if it is none."""
    if type(value) not in (int, float) or not 0 <= value < math.inf:  # type: ignore[operator]
        raise ValueError("a number that is none")
    return float(value)  # type: ignore[arg-type]


class Percentiles:
    """Percentiles of durations in seconds, from a histogram with logarithmic bins.

    The bins are the same in every process, so that histograms can be added: the percentiles of the sum are those of all
    values in one histogram.
    """

    def __init__(self) -> None:
        self._bins: dict[int, int] = {}
        self.count = 0
        self.total = 0.0
        self.max = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        index = max(0, math.ceil(math.log(max(value, _FLOOR) / _FLOOR, _GROWTH)))
        self._bins[index] = self._bins.get(index, 0) + 1
        self.count += 1
        self.total += value
        self.max = max(self.max, value)

    def state(self) -> dict[str, Any]:
        """All that is known, as values that JSON can represent; see `add_state`."""
        return {"bins": sorted(self._bins.items()), "total": self.total, "max": self.max}

    def add_state(self, state: Mapping[str, Any]) -> None:
        """Add the values of another histogram, from its `state`. Raises `ValueError` if that is none."""
        try:
            bins = [(index, count) for index, count in state["bins"]]
            total, largest = amount_of(state["total"]), amount_of(state["max"])
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the state of a histogram: {error}") from None
        if not all(count_of(index) < _MOST_BINS and count_of(count) for index, count in bins):
            raise ValueError("not the state of a histogram: a bin that is none")
        for index, count in bins:
            self._bins[index] = self._bins.get(index, 0) + count
            self.count += count
        self.total += total
        self.max = max(self.max, largest)

    def percentile(self, percent: float) -> float:
        """The value, in seconds, that `percent` % of the values do not exceed; 0.0 when there are none."""
        rank, seen = math.ceil(self.count * percent / 100), 0
        for index in sorted(self._bins):
            seen += self._bins[index]
            if seen >= rank:
                return min(self.max, _middle(index))
        return 0.0

    def summary_ms(self) -> dict[str, float]:
        """``p50``, ``p90``, ``p95``, ``p99`` and ``max`` in milliseconds."""
        summary = {f"p{percent}": self.percentile(percent) for percent in (50, 90, 95, 99)}
        summary["max"] = self.max
        return {name: round(seconds * 1000, 3) for name, seconds in summary.items()}

    def bins(self) -> list[tuple[float, int]]:
        """``(seconds, count)`` of every bin that is not empty, ascending; `seconds` is the middle of the bin."""
        return [(_middle(index), self._bins[index]) for index in sorted(self._bins)]


def _middle(index: int) -> float:
    """The geometric middle of a bin, in seconds."""
    return _FLOOR * math.pow(_GROWTH, index - 0.5)
