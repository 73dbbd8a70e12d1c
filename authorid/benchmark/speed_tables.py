"""The record of a benchmark as tables for people."""

from __future__ import annotations

from typing import Any

__all__ = ["SpeedTable", "tables"]

Columns = list[tuple[str, bool]]
"""Column titles, each with whether the column has numbers."""

SpeedTable = tuple[str, Columns, list[tuple[Any, ...]]]
"""Title, columns and rows, as the console prints them."""

_ENGINE_COLUMNS: Columns = [("provider", False), ("precision", False)]

_LONGEST_BAR = 40
"""Characters of the tallest bin of the histogram."""


def tables(record: dict[str, Any], bar: str = "#") -> list[SpeedTable]:
    """The tables of a `record` of `run_benchmark`. The bars of the histogram are made of the character `bar`."""
    return [
        _latency_table(record["latency"]),
        _histogram_table(record["histogram"], bar),
        _throughput_table(record["throughput"]),
        _documents_table(record["documents"]),
    ]


def _numeric(*titles: str) -> Columns:
    return [(title, True) for title in titles]


def _latency_table(latency: list[dict[str, Any]]) -> SpeedTable:
    percentiles = ("p50", "p90", "p99", "max")
    rows = [
        (
            row["provider"],
            row["precision"],
            row["threads"],
            f"{row['batch']} x {row['length']}",
            *(f"{row['ms'][name]:.2f}" for name in percentiles),
            f"{row['tokens_per_second']:,.0f}",
        )
        for row in latency
    ]
    columns = [*_ENGINE_COLUMNS, *_numeric("threads", "batch", *percentiles, "tokens/s")]
    return "Latency of one batch (ms)", columns, rows


def _histogram_table(histogram: dict[str, Any], bar: str) -> SpeedTable:
    counts, edges = histogram["counts"], histogram["edges_ms"]
    tallest = max(counts)
    rows = [
        (f"{low:.2f} - {high:.2f}", count, bar * round(_LONGEST_BAR * count / tallest))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    return "Latency of one window, fastest engine: histogram", [*_numeric("ms", "calls"), ("", False)], rows


def _throughput_table(throughput: list[dict[str, Any]]) -> SpeedTable:
    rows = [
        (
            row["provider"],
            row["precision"],
            f"{row['workers']} x {row['threads']}",
            row["batch_tokens"],
            *(f"{row[name]:,.0f}" for name in ("tokens_per_second", "slowest", "fastest")),
        )
        for row in sorted(throughput, key=lambda row: -row["tokens_per_second"])
    ]
    columns = [*_ENGINE_COLUMNS, *_numeric("workers x threads", "batch tokens", "tokens/s", "slowest", "fastest")]
    return "Throughput of the encoder (tokens/s, median of rounds)", columns, rows


def _documents_table(documents: dict[str, Any]) -> SpeedTable:
    row = (
        f"{documents['documents']:,}",
        f"{documents['wall_seconds']:.2f}",
        f"{documents['documents_per_second']:,.1f}",
        f"{documents['tokens_per_second']:,.0f}",
        *(f"{documents['latency_ms']['document'][name]:.1f}" for name in ("p50", "p99")),
        "" if documents["peak_rss_mb"] is None else f"{documents['peak_rss_mb']:.0f}",
    )
    columns = _numeric("documents", "s", "documents/s", "tokens/s", "p50 ms", "p99 ms", "MB")
    return f"Documents, end to end, effort {documents['effort']}", columns, [row]
