"""The statistics of a whole run, from those of its shards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from authorid.scoring.percentiles import amount_of
from authorid.scoring.stats import RunStats

__all__ = ["merge_statistics", "shard_statistics"]

_LARGEST, _SUMS = "peak_rss_mb", "resumed"
"""Keys of a report: a number of which the largest is taken, and an object of counts that are added."""

_SHOWN = ("provider", "precision", "workers", "threads", "model", _LARGEST)
"""Keys that the commands show."""

_ADDED = frozenset(
    {"documents", "scored", "unknown", "failed", "windows", "tokens", "latency_ms", "stage_seconds", "wall_seconds"}
    | {"documents_per_second", "tokens_per_second", "padding_ratio"}
)
"""Keys that follow from the counts and seconds of all shards. The others describe what scored."""


def shard_statistics(stats: RunStats, wall_seconds: float, description: Mapping[str, Any]) -> dict[str, Any]:
    """What the part of a shard keeps of its statistics; JSON-ready. The arguments are those of `RunStats.report`."""
    return {"state": stats.state(), "report": stats.report(wall_seconds, dict(description))}


def merge_statistics(shards: Iterable[Mapping[str, Any]]) -> tuple[RunStats, dict[str, Any]]:
    """The statistics of all `shards` (see `shard_statistics`) as those of one run, and their report.

    Percentiles are exact: those of all values in one histogram. Seconds are summed over shards, ``peak_rss_mb`` is that
    of the largest process, and what differs between shards, such as ``cpu``, is a list of the values.

    Raises `ValueError` if what a part keeps is no statistics.
    """
    stats = RunStats()
    seconds = 0.0
    described: dict[str, list[Any]] = {}
    for shard in shards:
        try:
            stats.add_state(shard["state"])
            report = dict(shard["report"])
            seconds += amount_of(report["wall_seconds"])
            if missing := [name for name in _SHOWN if name not in report]:
                raise ValueError(f"not the statistics of a shard: no {', '.join(missing)}")
            for name in (name for name in report if name not in _ADDED):
                _add(name, report[name], described.setdefault(name, []))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"not the statistics of a shard: {error}") from None
    common = {name: values[0] if len(values) == 1 else values for name, values in described.items()}
    return stats, stats.report(seconds, {}) | common


def _add(name: str, value: Any, values: list[Any]) -> None:
    """Add what one shard reports as `name` to the `values` of the shards before it."""
    if name == _LARGEST:
        known = [number for number in (*values, value) if number is not None]
        values[:] = [max(map(amount_of, known), default=None)]
    elif name == _SUMS and values:
        values[0] = {kind: values[0][kind] + value[kind] for kind in values[0]}
    elif value not in values:
        values.append(value)
