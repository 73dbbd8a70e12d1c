"""What people see on standard error: tables, statistics, progress. Plain text unless it is a terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table
from rich.text import Text

from authorid.outputs.escaping import visible
from authorid.scoring.attribution import Attribution

if TYPE_CHECKING:
    from authorid.evaluation.evaluation_report import EvaluationReport
    from authorid.evaluation.metrics import Metrics

__all__ = ["Screen", "TrainingProgress"]


_NARROWEST = 6
"""What is left of a text's column on the narrowest screen."""


class _Console(Console):
    """A console whose reader may go away: what is told from then on is told to nobody, and the run goes on."""

    def on_broken_pipe(self) -> None:
        """Where rich would close standard output and end the process."""
        self.quiet = True
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, 2)  # so that what is left in the buffer does not fail once more at the end
        os.close(nobody)


class Screen:
    """Standard error as a place to show things; `quiet` shows nothing but errors."""

    def __init__(self, *, quiet: bool = False) -> None:
        self.quiet = quiet
        self.console = _Console(stderr=True, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = 120

    def say(self, message: str, style: str = "") -> None:
        """One line for people. `message` is shown as it is: no markup, nothing that steers the terminal."""
        if not self.quiet:
            self._line(message, style)

    def complain(self, message: str) -> None:
        """An error or a warning, on one line: shown even when quiet."""
        self._line(message, "bold red")

    def _line(self, message: str, style: str) -> None:
        # Its line breaks come from names and from the errors of others: one message must not look like two.
        self._print(Text(_shown(message), style=style), soft_wrap=True)

    def _print(self, what: Text | Table, *, soft_wrap: bool = False) -> None:
        # A screen that takes no more (2>log on a full disk) changes nothing about the run and its exit code.
        with suppress(OSError):
            self.console.print(what, soft_wrap=soft_wrap)

    def table(self, title: str, columns: list[tuple[str, bool]], rows: list[tuple[Any, ...]]) -> None:
        """A table with `columns` of (name, is it a number) and `rows` of anything that has a text."""
        if self.quiet:
            return
        style = box.ROUNDED if self.console.is_terminal else box.ASCII
        table = Table(title=Text(title), box=style, title_justify="left", title_style="bold", pad_edge=False)
        texts = [[_shown(str(value)) for value in row] for row in rows]
        widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, (name, _) in enumerate(columns)]
        # On a narrow screen long texts (paths, reasons, names) share what numbers and short texts leave.
        left = self.console.width - 3 * len(columns)
        left -= sum(width for (_, numeric), width in zip(columns, widths, strict=True) if numeric)
        texts_left = [i for i, (_, numeric) in enumerate(columns) if not numeric]
        for count, i in zip(range(len(texts_left), 0, -1), sorted(texts_left, key=widths.__getitem__), strict=True):
            widths[i] = min(widths[i], max(_NARROWEST, left // count))
            left -= widths[i]
        for (name, numeric), width in zip(columns, widths, strict=True):
            table.add_column(
                name,
                justify="right" if numeric else "left",
                overflow="ellipsis",
                no_wrap=True,
                header_style="bold",
                width=width,
            )
        for row in texts:
            table.add_row(*(Text(text) for text in row))
        self._print(table)

    def attributions(self, rows: list[Attribution], total: int) -> None:
        """The attribution table: the first rows of a run of `total`."""
        shown = [
            (
                row.path,
                row.status,
                row.author or "",
                _percent(row.probability),
                row.runner_up or "",
                _percent(row.runner_up_probability),
                row.error or "",
            )
            for row in rows
        ]
        title = f"Attributions (first {len(rows)} of {total})" if total > len(rows) else "Attributions"
        names = ("document", "status", "author", "prob.", "runner-up", "prob.", "problem")
        keep = [i for i in range(len(names)) if i < 4 or any(row[i] for row in shown)]
        self.table(
            title,
            [(names[i], names[i] == "prob.") for i in keep],
            [tuple(row[i] for i in keep) for row in shown],
        )

    def counts(self, authors: list[tuple[str, int]], scored: int, most: int = 10) -> None:
        """How many documents went to each author, the commonest first."""
        rows = [(author, count, f"{count / scored:.1%}") for author, count in authors[:most]]
        if len(authors) > most:
            rest = sum(count for _, count in authors[most:])
            rows.append((f"({len(authors) - most} more)", rest, f"{rest / scored:.1%}"))
        self.table("Documents per author", [("author", False), ("documents", True), ("share", True)], rows)

    def statistics(self, report: dict[str, Any]) -> None:
        """Latency and throughput of a finished run, from the record of `RunStats.report`."""
        latency = report["latency_ms"]
        columns = ("p50", "p90", "p95", "p99", "max")
        self.table(
            "Latency (ms)",
            [("per", False), *((name, True) for name in columns)],
            [(what, *(f"{latency[what][name]:.1f}" for name in columns)) for what in ("document", "batch")],
        )
        stages = report["stage_seconds"]
        self.table(
            "Seconds by stage, all threads",
            [(name, True) for name in stages],
            [tuple(f"{seconds:.2f}" for seconds in stages.values())],
        )
        self.say(
            f"{report['documents']} documents ({report['scored']} scored, {report['unknown']} unknown, "
            f"{report['failed']} failed) in {report['wall_seconds']:.2f} s: "
            f"{report['documents_per_second']:.1f} documents/s, {report['tokens_per_second']:,.0f} tokens/s "
            f"({report['model']}, {report['precision']}, {report['provider']}, {report['workers']} x "
            f"{report['threads']} threads, {report['peak_rss_mb']:.0f} MB)"
        )

    def evaluation(self, metrics: Metrics) -> None:
        """What an evaluation found: the figures, the authors that fare worst, the commonest confusions."""
        figures = {
            "accuracy": f"{metrics.accuracy:.4f}",
            "macro-F1": f"{metrics.macro_f1:.4f}",
            "top-3": f"{metrics.top_3:.4f}",
            "top-5": f"{metrics.top_5:.4f}",
            "ECE": f"{metrics.ece:.4f}",
            "log-loss": f"{metrics.log_loss:.4f}",
        }
        title = f"Evaluation on {metrics.documents} documents"
        self.table(title, [(name, True) for name in figures], [tuple(figures.values())])
        worst = sorted((row for row in metrics.per_author if row.support), key=lambda row: row.f1)[:10]
        self.table(
            "Authors with the lowest F1",
            [("author", False), ("precision", True), ("recall", True), ("F1", True), ("documents", True)],
            [(row.author, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", row.support) for row in worst],
        )

    def findings(self, findings: EvaluationReport) -> None:
        """What else an evaluation found."""
        low, high = findings.interval
        self.say(f"accuracy {findings.metrics.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f}")
        self.table(
            "Commonest confusions",
            [("author", False), ("attributed to", False), ("documents", True), ("share", True)],
            [(row["author"], row["attributed_to"], row["documents"], f"{row['share']:.0%}") for row in findings.pairs],
        )
        self.table(
            "By length",
            [("characters from", True), ("documents", True), ("accuracy", True)],
            [(row["from"], row["documents"], f"{row['accuracy']:.4f}") for row in findings.by_length],
        )
        self.table(
            "Surest documents only",
            [("answered", True), ("wrong", True), ("probability at least", True)],
            [
                (f"{row['coverage']:.0%}", f"{row['error']:.1%}", f"{row['probability']:.2f}")
                for row in findings.risk_coverage[::-4][::-1]
            ],
        )
        if len(findings.ablation) > 1:
            self.table(
                "By model and effort",
                [("models", False), ("effort", False), ("accuracy", True), ("ECE", True), ("documents/s", True)],
                [
                    (
                        row["models"],
                        row["effort"],
                        f"{row['accuracy']:.4f}",
                        f"{row['ece']:.4f}",
                        f"{row['documents_per_second']:.0f}",
                    )
                    for row in findings.ablation
                ],
            )
        if findings.unknown_authors is not None:
            number, auroc = findings.unknown_authors["documents"], findings.unknown_authors["auroc"]
            self.say(f"{number} documents by unknown authors: AUROC {auroc:.4f}")

    @contextmanager
    def progress(self, label: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A progress line; yields ``advance(count)``. Shown only on a terminal."""
        progress = Progress(
            SpinnerColumn(),
            TextColumn("{task.description}", markup=False),
            *([BarColumn()] if total else []),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            *([TimeRemainingColumn()] if total else []),
            console=self.console,
            transient=True,
            disable=self.quiet or not self.console.is_terminal,
        )
        with progress:
            task = progress.add_task(_shown(label), total=total)

            def advance(count: int) -> None:
                progress.advance(task, count)

            yield advance


def _shown(text: str) -> str:
    return visible(text).replace("\\\\", "\\")


def _percent(probability: float | None) -> str:
    return "" if probability is None else f"{probability:.1%}"


_SILENCE = 60.0
"""Seconds after which a log gets a line of progress."""


class TrainingProgress:
    """A `Reporter` for long work: a bar on a terminal, a line a minute in a log. A context manager."""

    def __init__(self, screen: Screen, label: str = "Training") -> None:
        self._screen = screen
        self._bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]} left", markup=False),
            console=screen.console,
            transient=True,
            disable=screen.quiet or not screen.console.is_terminal,
        )
        self._label = label
        self._task = self._bar.add_task(label, total=None, left="-:--:--")
        self._origin: tuple[int, float] | None = None
        self._silent_since = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def info(self, message: str) -> None:
        """Show a message."""
        self._screen.say(message)
        self._silent_since = time.monotonic()

    def warning(self, message: str) -> None:
        """Show a warning."""
        self._screen.complain(f"warning: {message}")
        self._silent_since = time.monotonic()

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Show one step."""
        description = detail or self._label
        left = self._time_left(done, total)
        if self._bar.disable and total and time.monotonic() - self._silent_since >= _SILENCE:
            self.info(f"{description}  step {done}/{total}  {left} left")
        self._bar.update(self._task, completed=done, total=total or None, description=description, left=left)

    def _time_left(self, done: int, total: int | None) -> str:
        """Estimate from the steps since the first one reported, which is slow: it traces the graph."""
        now = time.monotonic()
        if self._origin is None or done < self._origin[0]:
            self._origin = (done, now)
        first, began = self._origin
        if total is None or done == first:
            return "-:--:--"
        return str(timedelta(seconds=round((now - began) / (done - first) * (total - done))))
