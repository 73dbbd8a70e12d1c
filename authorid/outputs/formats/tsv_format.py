"""TSV: the cells of a CSV, separated by tabs."""

from __future__ import annotations

from typing import ClassVar

from authorid.outputs.formats.csv_format import CsvWriter

__all__ = ["TsvWriter"]


class TsvWriter(CsvWriter):
    """Writes the cells of a CSV. None contains a tab or a line break; quotes are doubled as in a CSV."""

    name: ClassVar[str] = "tsv"
    suffixes: ClassVar[tuple[str, ...]] = (".tsv",)
    delimiter: ClassVar[str] = "\t"
