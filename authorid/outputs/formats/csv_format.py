"""CSV: one line for each record, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable
from typing import Any, ClassVar

from authorid.outputs.answers import Answers
from authorid.outputs.escaping import cell
from authorid.outputs.formats.columns import Kind, columns, values
from authorid.outputs.records import Attribution

__all__ = ["CsvWriter"]


class CsvWriter:
    """Writes every cell as visible text that no spreadsheet runs as a formula, and probabilities with six decimals."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)
    packages: ClassVar[tuple[str, ...]] = ()
    binary: ClassVar[bool] = False
    delimiter: ClassVar[str] = ","

    def __init__(self, top: int = 2, answers: Answers = Answers()) -> None:
        """A row always has the two likeliest authors, whatever `top` is."""
        self._answers = answers
        self._columns = columns(answers)
        shown = {**_CELLS, "number": _CELLS["share"] if answers.measure == "probability" else "{:.9g}".format}
        self._cells = [shown[kind] for kind in self._columns.values()]

    def header(self) -> bytes:
        """The names of the columns."""
        return self._line(self._columns)

    def row(self, record: Attribution) -> bytes:
        """One line."""
        row = values(record, self._answers)
        return self._line("" if value is None else show(value) for show, value in zip(self._cells, row, strict=True))

    def footer(self) -> bytes:
        """Nothing."""
        return b""

    def _line(self, cells: Iterable[str]) -> bytes:
        # A new csv.writer for each line: it keeps state while it formats, and several threads may write at a time.
        line: str = csv.writer(_ECHO, delimiter=self.delimiter, lineterminator="\n").writerow(cells)
        return line.encode("utf-8")


_CELLS: dict[Kind, Callable[[Any], str]] = {
    "text": cell,
    "share": "{:.6f}".format,
    "count": str,
    "flag": lambda value: "yes" if value else "",
    "names": lambda names: cell("; ".join(names)),
}
"""How a cell shows what a column holds; a `number` depends on what it measures."""


class _Echo:
    """A file for `csv.writer` that returns what is written to it; `writerow` passes that on."""

    def write(self, line: str) -> str:
        return line


_ECHO = _Echo()
