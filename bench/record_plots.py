"""Pictures of a record: ``python -m bench.record_plots RECORD.json``, in any environment that has matplotlib."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

__all__ = ["draw"]

_OURS, _THEIRS = "#b5402a", "#4a6b8a"


def draw(record: Mapping[str, Any], stem: Path) -> list[Path]:
    """Write ``<stem>-throughput.png``, ``-latency`` and ``-scaling``, as far as there is data."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    drawn = []
    for name, picture in (
        ("throughput", _throughput),
        ("latency", _latency),
        ("scaling", _scaling),
    ):
        figure = picture(record, pyplot)
        if figure is not None:
            path = stem.with_name(f"{stem.name}-{name}.png")
            figure.savefig(path, dpi=110, bbox_inches="tight")
            pyplot.close(figure)
            drawn.append(path)
    return drawn


def _colour(row: Mapping[str, Any]) -> str:
    return _OURS if row["peer"].startswith("ours") else _THEIRS


def _throughput(record: Mapping[str, Any], pyplot: Any) -> Any:
    """Bars with whiskers from the slowest to the fastest round; a line where the machine's INT8 limit is."""
    runs = [run for run in record["runs"] if any("windows" in row for row in run["rows"])]
    if not runs:
        return None
    figure, axes = pyplot.subplots(len(runs), 1, figsize=(9, 3.6 * len(runs)), squeeze=False)
    for axis, run in zip(axes[:, 0], runs, strict=True):
        rows = [row for row in run["rows"] if "windows" in row]
        rows.sort(key=lambda row: row["windows"]["tokens_per_second"]["median"])
        rates = [row["windows"]["tokens_per_second"] for row in rows]
        medians = [rate["median"] for rate in rates]
        whiskers = [
            [rate["median"] - rate["min"] for rate in rates],
            [rate["max"] - rate["median"] for rate in rates],
        ]
        axis.barh([row["label"] for row in rows], medians, xerr=whiskers, color=[_colour(row) for row in rows])
        if run["limits"]:
            limit = run["limits"]["int8"]
            axis.set_xlim(0, max(max(medians) * 1.15, min(limit * 1.05, max(medians) * 2.5)))
            if limit < axis.get_xlim()[1]:
                axis.axvline(limit, color="black", linestyle=":", label="limit of the machine's INT8 matmuls")
                axis.legend(loc="lower right", frameon=False)
        axis.set_xlabel(f"tokens per second, windows of at most {run['model']['window']} tokens")
        axis.set_title(f"{run['model']['name']} on {run['workload']['name']}")
    figure.tight_layout()
    return figure


def _latency(record: Mapping[str, Any], pyplot: Any) -> Any:
    """How often a single window took no longer than that."""
    rows = [row for row in record["runs"][0]["rows"] if "latency_ms" in row]
    if not rows:
        return None
    figure, axis = pyplot.subplots(figsize=(8, 4.5))
    for row in sorted(rows, key=lambda row: row["latency_ms"]["p50"]):
        ours = row["peer"].startswith("ours")
        axis.plot(row["latency_ms"]["cdf"], range(101), label=row["label"], linewidth=2.4 if ours else 1.2)
    axis.set_xscale("log")
    axis.set_xlabel(f"milliseconds for one window of {record['runs'][0]['model']['window']} tokens, all cores")
    axis.set_ylabel("% of calls")
    axis.legend(fontsize=7, frameon=False)
    axis.grid(alpha=0.3)
    return figure


def _scaling(record: Mapping[str, Any], pyplot: Any) -> Any:
    """Memory and speed of `authorid score` against the number of documents."""
    rows = record["scaling"]
    if not rows:
        return None
    counts = [row["documents"] for row in rows]
    figure, axis = pyplot.subplots(figsize=(7, 4))
    axis.plot(counts, [row["peak_rss_mb"] for row in rows], marker="o", color=_OURS)
    axis.set_xscale("log")
    axis.set_ylim(bottom=0)
    axis.set_xlabel("documents")
    axis.set_ylabel("peak memory, MB", color=_OURS)
    other = axis.twinx()
    other.plot(counts, [row["documents_per_second"] for row in rows], marker="s", color=_THEIRS)
    other.set_ylim(bottom=0)
    other.set_ylabel("documents per second", color=_THEIRS)
    return figure


if __name__ == "__main__":
    source = Path(sys.argv[1])
    draw(json.loads(source.read_text("utf-8")), source.with_suffix(""))
