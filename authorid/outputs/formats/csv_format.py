"""CSV: one line for each record, safe to open in a spreadsheet."""

from __future__ import annotations

import csv
from typing import ClassVar

from authorid.outputs.escaping import cell
from authorid.outputs.formats.columns import COLUMNS, answer
from authorid.outputs.records import Record

__all__ = ["CsvWriter"]


class CsvWriter:
    """Writes every cell as visible text that no spreadsheet runs as a formula, and numbers with six decimals."""

    name: ClassVar[str] = "csv"
    suffixes: ClassVar[tuple[str, ...]] = (".csv",)

    def __init__(self, top: int = 2) -> None:
        """A CSV row always has the two likeliest authors, whatever `top` is."""

    def header(self) -> bytes:
        """The names of the columns."""
        return _line(list(COLUMNS))

    def row(self, record: Record) -> bytes:
        """One line."""
        cells = [""] * 5
        if (answered := answer(record)) is not None:
            author, probability, runner_up, runner_up_probability, margin = answered
            cells = [
                *(cell(author), f"{probability:.6f}"),
                *(cell(runner_up), f"{runner_up_probability:.6f}"),
                f"{margin:.6f}",
            ]
        return _line(
            [
                cell(str(record.ref)),
                record.status,
                *cells,
                str(record.windows),
                str(record.tokens),
                cell(record.encoding or ""),
                record.sha256 or "",
                cell(record.error or ""),
                *("" if number is None else f"{number:.6f}" for number in (record.known_author_score, record.coverage)),
                cell(record.reason or ""),
                "yes" if record.adapted else "",
            ]
        )

    def footer(self) -> bytes:
        """Nothing."""
        return b""


class _Echo:
    """A file for `csv.writer` that returns what is written to it; `writerow` passes that on."""

    def write(self, line: str) -> str:
        return line


_ECHO = _Echo()


def _line(values: list[str]) -> bytes:
    # A new csv.writer for each line: it keeps state while it formats, and several threads may write at the same time.
    line: str = csv.writer(_ECHO, lineterminator="\n").writerow(values)
    return line.encode("utf-8")
