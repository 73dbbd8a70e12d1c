"""The terminal: messages, tables and progress. Plain text where there is no terminal."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from itertools import zip_longest
from typing import Any

from rich import box
from rich.cells import cell_len
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from authorid.inputs.urls import without_secrets
from authorid.outputs.escaping import visible
from authorid.reporter import Reporter

__all__ = ["Columns", "Terminal", "time_left"]

Columns = Sequence[tuple[str, bool]]
"""The columns of a table: the name of each, and whether it holds numbers."""

_LOG_WIDTH = 120
_WHOLE = 10_000
"""Width for results that a program or a file gets: nothing is left out."""

_NARROWEST_TEXT = 6
"""Width of a column of texts on the narrowest terminal."""

_LOG_INTERVAL = 60.0
"""Seconds without a line after which a log gets one about the progress."""


class _PersistentConsole(Console):
    """A console whose reader may go away: the output is then discarded, and the run continues."""

    def on_broken_pipe(self) -> None:
        """Discard the output; rich would close standard output and end the process."""
        self.quiet = True
        null = os.open(os.devnull, os.O_WRONLY)
        # So that the flush of the buffer at exit does not fail once more.
        os.dup2(null, 2 if self.stderr else 1)
        os.close(null)


class Terminal:
    """Shows messages, tables and progress on standard error, or on standard output where they are the result.

    When `quiet`, only warnings and errors; when `verbose`, details too.
    """

    def __init__(self, *, quiet: bool = False, verbose: bool = False, is_result: bool = False) -> None:
        self.quiet = quiet
        self.verbose = verbose
        self.console = _PersistentConsole(stderr=not is_result, highlight=False, soft_wrap=False)
        if not self.console.is_terminal:
            self.console.width = _WHOLE if is_result else _LOG_WIDTH

    @property
    def is_interactive(self) -> bool:
        """Whether standard error is a terminal, which can show colours, bars and box-drawing characters."""
        return self.console.is_terminal

    def info(self, message: str) -> None:
        """Show one line. Markup and control characters in `message` have no effect."""
        if not self.quiet:
            self._print_line(message)

    def detail(self, message: str) -> None:
        """Show one line that only --verbose wants."""
        if self.verbose:
            self._print_line(message)

    def warning(self, message: str) -> None:
        """Show a warning on one line, also when quiet."""
        self._print_line(f"warning: {message}", "bold red")

    def error(self, message: str) -> None:
        """Show an error on one line, also when quiet."""
        self._print_line(f"error: {message}", "bold red")

    @property
    def width(self) -> int:
        """Columns of the terminal, or of a line in a log."""
        return self.console.width

    def table(
        self,
        title: str,
        columns: Columns,
        rows: Sequence[Sequence[Any]],
        *,
        styles: Sequence[str] = (),
        elided: int | None = None,
    ) -> None:
        """Show a table, unless it has no rows; their values may be of any type that converts to a string.

        `styles` are those of the rows. Texts in the column `elided` keep their ends where there is not enough room.
        """
        if self.quiet or not rows:
            return
        texts = [[_one_line(str(value)) for value in row] for row in rows]
        style = box.ROUNDED if self.is_interactive else box.ASCII
        title = _without_middle(_one_line(title), self.console.width)
        table = Table(box=style, pad_edge=False)
        widths = self._widths(columns, texts)
        for (name, numeric), width in zip(columns, widths, strict=True):
            table.add_column(
                name,
                justify="right" if numeric else "left",
                overflow="ellipsis",
                no_wrap=True,
                header_style="bold",
                width=width,
            )
        for row, line_style in zip_longest(texts, styles[: len(texts)], fillvalue=""):
            cells = [
                _without_middle(text, width) if i == elided else text
                for i, (text, width) in enumerate(zip(row, widths, strict=True))
            ]
            table.add_row(*(Text(text) for text in cells), style=line_style)
        self._print(Text(title, style="bold"))  # the title of a table would be wrapped where the table is narrow
        self._print(table)

    @contextmanager
    def progress(self, label: str) -> Iterator[Reporter]:
        """A reporter for one piece of work: a progress bar on a terminal, a line a minute in a log.

        When verbose, a line with the duration follows.
        """
        started = time.monotonic()
        bar = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.fields[text]}", markup=False),
            TimeElapsedColumn(),
            console=self.console,
            transient=True,
            disable=self.quiet or not self.is_interactive,
        )
        with bar:
            yield _TerminalReporter(self, bar, label)
        self.detail(f"{label}: {time.monotonic() - started:.1f} s")

    def _widths(self, columns: Columns, texts: list[list[str]]) -> list[int]:
        """Width of each column: on a narrow terminal, long texts share the space that numbers and short texts leave."""
        widths = [max([len(name), *(len(row[i]) for row in texts)]) for i, (name, _) in enumerate(columns)]
        left = self.console.width - 3 * len(columns)
        left -= sum(width for (_, numeric), width in zip(columns, widths, strict=True) if numeric)
        textual = sorted((i for i, (_, numeric) in enumerate(columns) if not numeric), key=widths.__getitem__)
        for count, i in zip(range(len(textual), 0, -1), textual, strict=True):
            widths[i] = min(widths[i], max(_NARROWEST_TEXT, left // count))
            left -= widths[i]
        return widths

    def _print_line(self, message: str, style: str = "") -> None:
        # Names and the errors of other libraries may hold line breaks: one message must not look like two.
        self._print(Text(_one_line(message), style=style), soft_wrap=True)

    def _print(self, content: Text | Table, *, soft_wrap: bool = False) -> None:
        # A full disk behind 2>log must change neither the run nor its exit code.
        with suppress(OSError):
            self.console.print(content, soft_wrap=soft_wrap)


class _TerminalReporter:
    """The `Reporter` of one progress bar."""

    def __init__(self, terminal: Terminal, bar: Progress, label: str) -> None:
        self._terminal = terminal
        self._bar = bar
        self._label = label
        self._task = bar.add_task(_one_line(label), total=None, text="")
        self._last_line = time.monotonic()
        self._first: tuple[int, float] | None = None  # steps done at the first call, and its time

    def info(self, message: str) -> None:
        """Show a line."""
        self._terminal.info(message)
        self._last_line = time.monotonic()

    def warning(self, message: str) -> None:
        """Show a warning, also when quiet."""
        self._terminal.warning(message)
        self._last_line = time.monotonic()

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Move the bar; in a log, show a line when the last one was a minute ago."""
        now = time.monotonic()
        if self._first is None or done <= self._first[0]:  # another pass begins
            self._first = done, now
        if self._bar.disable and now - self._last_line < _LOG_INTERVAL:
            return
        count = f"{done:,}" if total is None else f"{done:,}/{total:,}"
        left = "" if total is None else time_left(done - self._first[0], total - done, now - self._first[1])
        text = "  ".join(part for part in (count, detail, left) if part)
        if self._bar.disable:
            self.info(f"{self._label}: {text}")
        else:
            self._bar.update(self._task, completed=done, total=total, text=_one_line(text))


def time_left(done: int, left: int, seconds: float) -> str:
    """The time for `left` more steps when `done` steps took `seconds`, such as ``0:01:30 left``; empty when unknown."""
    return f"{timedelta(seconds=round(left * seconds / done))} left" if done else ""


def _without_middle(text: str, width: int) -> str:
    """`text` with its middle left out where it is longer than `width`."""
    if cell_len(text) <= width:
        return text
    kept = max(0, width - 1)
    start, end = text[: kept // 2], text[len(text) - (kept - kept // 2) :]
    while start and cell_len(start) + cell_len(end) > kept:
        start = start[:-1]
    return f"{start}\u2026{end}"


def _one_line(text: str) -> str:
    return visible(without_secrets(text)).replace("\\\\", "\\")
