"""Medians and spreads."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

__all__ = ["spread"]


def spread(values: Sequence[float]) -> dict[str, float | int]:
    """Median, smallest and largest of the rounds."""
    return {
        "median": round(median(values), 2),
        "min": round(min(values), 2),
        "max": round(max(values), 2),
        "rounds": len(values),
    }
