"""Writers of listings (see `authorid.inputs.listing`): which names there are is up to others, so they are escaped."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
from collections.abc import Callable
from typing import Any

from authorid.errors import require
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.listing import LISTING_COLUMNS
from authorid.outputs.escaping import cell, unicode_text
from authorid.outputs.file_output import RowWriter
from authorid.outputs.formats.parquet_format import TakenBytes

__all__ = ["LISTING_WRITERS"]

_GROUP_ROWS = 1 << 14
"""Rows of a row group, which wait in memory."""


def _row(file: DiscoveredFile, shown: Callable[[str], str]) -> dict[str, Any]:
    """The values of a row, with the path as `shown`, and in Base64 if that is not exact."""
    path = shown(file.path)
    exact = None if path == file.path else base64.b64encode(os.fsencode(file.path)).decode("ascii")
    return dict(zip(LISTING_COLUMNS, (path, exact, file.size, file.problem, file.follow), strict=True))


class _JsonlListing:
    def header(self) -> bytes:
        return b""

    def row(self, file: DiscoveredFile) -> bytes:
        return json.dumps(_row(file, unicode_text)).encode("ascii") + b"\n"

    def footer(self) -> bytes:
        return b""


class _CsvListing:
    def header(self) -> bytes:
        return _csv_line(LISTING_COLUMNS)

    def row(self, file: DiscoveredFile) -> bytes:
        row = _row(file, cell)
        row["problem"] = cell(row["problem"] or "")
        row["follow"] = "yes" if file.follow else ""
        return _csv_line("" if value is None else str(value) for value in row.values())

    def footer(self) -> bytes:
        return b""


def _csv_line(cells: Any) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(cells)
    return line.getvalue().encode("utf-8")


class _ParquetListing:
    """Raises `MissingExtraError` without pyarrow."""

    def __init__(self) -> None:
        arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        text = arrow.string()
        types = (text, text, arrow.int64(), text, arrow.bool_())
        self._arrow = arrow
        self._schema = arrow.schema(list(zip(LISTING_COLUMNS, types, strict=True)))
        self._sink = TakenBytes()
        self._file = parquet.ParquetWriter(self._sink, self._schema)
        self._rows: list[dict[str, Any]] = []

    def header(self) -> bytes:
        return self._sink.take()

    def row(self, file: DiscoveredFile) -> bytes:
        self._rows.append(_row(file, unicode_text))
        return self._group() if len(self._rows) == _GROUP_ROWS else b""

    def footer(self) -> bytes:
        last = self._group() if self._rows else b""
        self._file.close()
        return last + self._sink.take()

    def _group(self) -> bytes:
        self._file.write_batch(self._arrow.RecordBatch.from_pylist(self._rows, schema=self._schema))
        self._rows = []
        return self._sink.take()


LISTING_WRITERS: dict[str, Callable[[], RowWriter[DiscoveredFile]]] = {
    "parquet": _ParquetListing,
    "jsonl": _JsonlListing,
    "csv": _CsvListing,
}
"""The writers by the names of their formats (see `LISTING_FORMATS`)."""
