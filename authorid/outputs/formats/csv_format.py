"""CSV: one line for each record, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from authorid.outputs.answers import Answers
from authorid.outputs.escaping import cell
from authorid.outputs.formats.columns import Kind, columns, values
from authorid.outputs.records import Record

__all__ = ["CsvWriter"]


class CsvWriter:
    """Writes every cell as visible text that no spreadsheet runs as a formula, probabilities with six decimals."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def __init__(self, top: int = 2, answers: Answers = Answers()) -> None:
        """A CSV row always has the two likeliest authors, whatever `top` is."""
        self._answers = answers
        kinds = columns(answers)
        self._header = list(kinds)
        self._cells = [_CELLS[kind] for kind in kinds.values()]

    def header(self) -> bytes:
        """The names of the columns."""
        return _line(self._header)

    def row(self, record: Record) -> bytes:
        """One line."""
        row = values(record, self._answers)
        return _line(["" if value is None else show(value) for show, value in zip(self._cells, row, strict=True)])

    def footer(self) -> bytes:
        """Nothing."""
        return b""


_CELLS: dict[Kind, Callable[[Any], str]] = {
    "text": cell,
    "probability": "{:.6f}".format,
    "value": "{:.9g}".format,
    "count": str,
    "flag": lambda value: "yes" if value else "",
    "names": lambda names: cell("; ".join(names)),
}
"""How a cell shows what a column holds."""


class _Echo:
    """A file for `csv.writer` that returns what is written to it; `writerow` passes that on."""

    def write(self, line: str) -> str:
        return line


_ECHO = _Echo()


def _line(cells: Iterable[str]) -> bytes:
    # A new csv.writer for each line: it keeps state while it formats, and several threads may write at the same time.
    line: str = csv.writer(_ECHO, lineterminator="\n").writerow(cells)
    return line.encode("utf-8")
