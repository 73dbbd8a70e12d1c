"""Texts in a column of a table: CSV, TSV, JSON Lines or Parquet. Rows are read one by one, or in small groups."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from authorid.errors import CorpusError, os_error_reason, require

__all__ = ["is_table", "read_column"]

_SEPARATORS = {".csv": ",", ".tsv": "\t"}
_JSON_LINES = (".jsonl", ".ndjson")
_PARQUET = ".parquet"

_USUAL = "text"
"""The column that is taken when none is named and there is one of this name."""

_LONGEST_CELL = 1 << 24
"""Characters in a cell of a CSV file."""

_GROUP = 256
"""Rows of a Parquet file that are in memory at once."""


def is_table(path: Path) -> bool:
    """Whether the ending of the file `path` is that of a table."""
    return path.suffix.lower() in (*_SEPARATORS, *_JSON_LINES, _PARQUET)


def read_column(path: Path, column: str | None = None) -> Iterator[str]:
    """Yield the texts in `column` of the table `path`; cells that are empty or hold no text are left out.

    Without a name, the column is the one called ``text``, or else the only one that holds texts. Raises `CorpusError`
    when there is no such column or the file is not such a table, and `MissingExtraError` for Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    try:
        if suffix == _PARQUET:
            yield from _parquet_column(path, column)
        else:
            rows = _json_rows(path) if suffix in _JSON_LINES else _separated_rows(path, _SEPARATORS[suffix])
            yield from _texts(path, rows, column)
    except OSError as error:
        raise CorpusError(f"{path}: cannot be read ({os_error_reason(error)})") from None
    except (ValueError, csv.Error) as error:
        raise CorpusError(f"{path}: not a readable table ({error})") from None


def _separated_rows(path: Path, separator: str) -> Iterator[Mapping[str, Any]]:
    csv.field_size_limit(_LONGEST_CELL)
    with path.open(encoding="utf-8-sig", newline="") as stream:
        yield from csv.DictReader(stream, delimiter=separator)


def _json_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8-sig") as stream:
        for number, line in enumerate(stream, start=1):
            if not line.strip():
                continue
            row = json.loads(line)
            if not isinstance(row, dict):
                raise ValueError(f"line {number} is not an object")
            yield row


def _texts(path: Path, rows: Iterable[Mapping[str, Any]], column: str | None) -> Iterator[str]:
    """The texts of `rows`; the first row decides which column they are in."""
    chosen = column
    for number, row in enumerate(rows):
        if not number:
            chosen = _choose(path, [name for name, value in row.items() if isinstance(value, str)], list(row), column)
        text = row.get(chosen or "")
        if isinstance(text, str) and text.strip():
            yield text


def _parquet_column(path: Path, column: str | None) -> Iterator[str]:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    with parquet.ParquetFile(path) as table:
        schema = table.schema_arrow
        textual = [
            field.name
            for field in schema
            if pyarrow.types.is_string(field.type) or pyarrow.types.is_large_string(field.type)
        ]
        chosen = _choose(path, textual, schema.names, column)
        for batch in table.iter_batches(batch_size=_GROUP, columns=[chosen]):
            yield from (text for text in batch.column(0).to_pylist() if isinstance(text, str) and text.strip())


def _choose(path: Path, textual: list[str], names: list[str], wanted: str | None) -> str:
    """The column to read; raises `CorpusError` when that is not clear."""
    there = ", ".join(str(name) for name in names)
    if wanted is not None:
        if wanted not in names:
            raise CorpusError(f"{path}: has no column {wanted!r}; there are: {there}")
        return wanted
    if _USUAL in textual or len(textual) == 1:
        return _USUAL if _USUAL in textual else textual[0]
    raise CorpusError(f"{path}: which column holds the texts? Choose one with --text-column; there are: {there}")
