"""What ``authorid score`` shows at the end of a run: the answer first, on one screen, or all tables when verbose."""

from __future__ import annotations

import os
from collections.abc import Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.outputs.answers import Answers
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.stats import RunStats

__all__ = ["show_attributions", "show_run"]

_WIDE = 100
"""Columns of a terminal that has room for the runner-up."""

_STYLES = {"scored": "", "unknown": "yellow", "failed": "red"}
"""Styles of rows by status."""

_LIKELY = 0.5
"""Answers with a smaller probability are dimmed."""


def show_run(
    terminal: Terminal, rows: Sequence[Attribution], stats: RunStats, report: dict[str, Any], answers: Answers
) -> None:
    """Show the first `rows` of a complete run, and the `report` of its statistics."""
    _show_answer(terminal, stats, answers)
    show_attributions(terminal, rows, stats.documents, answers)
    if terminal.verbose:
        _show_authors(terminal, stats, answers)
        _show_tables(terminal, report)
    _show_speed(terminal, report)


def _show_answer(terminal: Terminal, stats: RunStats, answers: Answers) -> None:
    """One line: how many documents have which status, and the authors with the most of them."""
    counts = [f"{stats.status[status]} {status}" for status in _STYLES if stats.status[status]]
    line = f"{stats.documents} {'document' if stats.documents == 1 else 'documents'}: {', '.join(counts)}"
    if answers.measure == "probability" and stats.authors:
        most = stats.authors.most_common()
        for shown in range(min(len(most), 5), 0, -1):
            more = f", {len(most) - shown} more" if len(most) > shown else ""
            names = ", ".join(f"{author} {count}" for author, count in most[:shown])
            if shown == 1 or len(line) + len(names) + len(more) + 2 <= terminal.width:
                line = f"{line}. {names}{more}"
                break
    terminal.info(line)


def show_attributions(terminal: Terminal, rows: Sequence[Attribution], total: int, answers: Answers) -> None:
    """A table; columns that are empty throughout are left out, and what all names begin with is in the title."""
    number = _percent if answers.measure == "probability" else _value
    measure = "prob." if answers.measure == "probability" else answers.measure
    prefix = _common_directory([row.ref.source for row in rows])
    cells = [
        (
            str(row.ref)[len(prefix) :],
            row.status,
            row.author or row.candidate or "",
            number(row.probability),
            row.runner_up or "",
            number(row.runner_up_probability),
            "; ".join(answers.likely(row.ranking)) if answers.several else "",
            row.error or row.reason or "",
        )
        for row in rows
    ]
    names = ("document", "status", answers.noun, measure, "runner-up", measure, "labels", "problem")
    roomy = terminal.verbose or terminal.width >= _WIDE
    kept = [i for i in range(len(names)) if i < 4 or (any(row[i] for row in cells) and (roomy or i not in (4, 5)))]
    title = f"First {len(rows)} of {total} documents" if total > len(rows) else "Documents"
    terminal.table(
        f"{title} in {prefix}" if prefix else title,
        [(names[i], names[i] == measure) for i in kept],
        [tuple(row[i] for i in kept) for row in cells],
        styles=[_style(row, answers) for row in rows],
        elided=0,
    )


def _style(row: Attribution, answers: Answers) -> str:
    unsure = answers.measure == "probability" and row.status == "scored" and (row.probability or 0) < _LIKELY
    return "dim" if unsure else _STYLES[row.status]


def _common_directory(names: Sequence[str]) -> str:
    """The directory that all `names` begin with, with its separator; empty where there is none, or one name."""
    if len(names) < 2:
        return ""
    # What the first and the last in order have in common, all have.
    pairs = takewhile(lambda pair: pair[0] == pair[1], zip(min(names), max(names), strict=False))
    common = "".join(letter for letter, _ in pairs)
    return common[: common.rfind(os.sep) + 1]


def _show_authors(terminal: Terminal, stats: RunStats, answers: Answers) -> None:
    """How many documents each author (or label) got."""
    scored = stats.status["scored"]
    if not scored or answers.measure != "probability":
        return
    rows = [(author, count, f"{count / scored:.1%}") for author, count in stats.authors.most_common()]
    title = f"Documents per {'most probable ' if answers.several else ''}{answers.noun}"
    terminal.table(title, [(answers.noun, False), ("documents", True), ("share", True)], rows)


def _show_tables(terminal: Terminal, report: dict[str, Any]) -> None:
    """Latencies and stages; what did not happen has no row."""
    latency = report["latency_ms"]
    percentiles = ("p50", "p90", "p95", "p99", "max")
    units = {"service": "document, work", "document": "document, with queues", "batch": "batch"}
    terminal.table(
        "Latency (ms)",
        [("per", False), *((name, True) for name in percentiles)],
        [
            (unit, *(f"{latency[key][name]:.1f}" for name in percentiles))
            for key, unit in units.items()
            if latency[key]["max"]
        ],
    )
    stages = {name: seconds for name, seconds in report["stage_seconds"].items() if seconds}
    terminal.table(
        "Seconds by stage",
        [(name, True) for name in stages],
        [tuple(f"{seconds:.2f}" for seconds in stages.values())] if stages else [],
    )


def _show_speed(terminal: Terminal, report: dict[str, Any]) -> None:
    """A line about the work for a document, and one about the run."""
    service = report["latency_ms"]["service"]
    if service["max"]:
        figures = ", ".join(f"{name} {service[name]:,.1f} ms" for name in ("p50", "p95", "p99"))
        terminal.info(f"work for a document: {figures}")
    tokens = f", {report['tokens_per_second']:,.0f} tokens/s" if report["tokens"] else ""
    memory = "" if report["peak_rss_mb"] is None else f", {report['peak_rss_mb']:.0f} MB"
    how = f"{report['precision']}, {report['provider']}, {report['workers']} x {report['threads']} threads{memory}"
    speed = f"{report['wall_seconds']:.2f} s: {report['documents_per_second']:,.1f} documents/s{tokens}"
    terminal.info(f"{speed} ({report['model']}, {how})")


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"


def _value(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"
