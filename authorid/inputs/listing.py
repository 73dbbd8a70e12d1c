"""Listings: the files of a run, found once and kept in a file, in walk order.

A listing is a table (Parquet, JSON Lines or CSV) with the columns `LISTING_COLUMNS`. Finding many small files takes
long on network file systems; a listing also makes all shards of a run see the same files.
"""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Generator, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from authorid.errors import AuthoridError, first_line, os_error_reason, require
from authorid.inputs.discovery import DiscoveredFile, InputPath, walk
from authorid.inputs.documents import DEFAULTS, ReadOptions
from authorid.inputs.timeouts import Timeout

__all__ = ["LISTING_COLUMNS", "LISTING_FORMATS", "listed_files", "listing_format", "read_listing"]

LISTING_COLUMNS = ("path", "path_b64", "size", "problem", "follow")
"""The columns: the path; in Base64 if `path` cannot hold it exactly; the size in bytes, empty where it is unknown; why
the file cannot be opened; and whether it may be opened if it is a symbolic link."""

LISTING_FORMATS = {".parquet": "parquet", ".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
"""Formats of listings, by the endings of their names."""

_LONGEST_LINE = 1 << 20
_BATCH = 1 << 14
"""Rows of a Parquet listing in memory."""


def listing_format(path: Path) -> str:
    """The format of a listing. Raises `ValueError` if its name has another ending."""
    form = LISTING_FORMATS.get(path.suffix.lower())
    if form is None:
        raise ValueError(f"{path}: a listing is one of {', '.join(LISTING_FORMATS)}")
    return form


def listed_files(paths: Iterable[InputPath], options: ReadOptions = DEFAULTS) -> Generator[DiscoveredFile, None, None]:
    """Yield what a walk finds below `paths` (see `walk`)."""
    with Timeout(options.timeout) as timeout:
        yield from walk(paths, options, timeout)


def read_listing(path: Path) -> Iterator[DiscoveredFile]:
    """Yield the files in the listing at `path`. Raises `AuthoridError` if it is none, or is damaged."""
    number = 0
    try:
        for row in _READERS[listing_format(path)](path):
            file = _file(number, row)
            number += 1
            yield file
    except OSError as error:
        raise AuthoridError(f"{path}: cannot be read: {os_error_reason(error)}") from None
    except (ValueError, TypeError, KeyError, csv.Error, RecursionError) as error:
        raise AuthoridError(
            f"{path}: not a listing, which authorid list makes: row {number + 1}: {first_line(error)}"
        ) from None


def _file(index: int, row: Mapping[str, Any]) -> DiscoveredFile:
    """The file of a row. Raises `ValueError`, `TypeError` and `KeyError`."""
    encoded = row["path_b64"]
    path = os.fsdecode(base64.b64decode(encoded, validate=True)) if encoded else row["path"]
    size, problem, follow = row["size"], row["problem"] or None, row["follow"]
    if not isinstance(path, str) or not path or "\0" in path:
        raise ValueError("no path")
    os.fsencode(path)  # raises ValueError for a name that no file can have
    if not isinstance(problem, str | None) or type(follow) is not bool:
        raise ValueError("a value has the wrong type")
    if size is not None and (type(size) is not int or size < 0):
        raise ValueError("a size that is none")
    return DiscoveredFile(path, problem, index, "", follow, size)


def _parquet_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
    try:
        with path.open("rb") as stream, parquet.ParquetFile(stream, pre_buffer=False) as table:
            for batch in table.iter_batches(_BATCH, columns=list(LISTING_COLUMNS), use_threads=False):
                yield from batch.to_pylist()
    except pyarrow.ArrowException as error:
        raise ValueError(f"damaged Parquet file ({first_line(error)})") from None


def _lines(path: Path) -> Iterator[str]:
    with path.open(encoding="utf-8", newline="\n") as stream:
        while line := stream.readline(_LONGEST_LINE):
            if len(line) == _LONGEST_LINE:
                raise ValueError(f"a line of more than {_LONGEST_LINE} characters")
            yield line


def _jsonl_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    for line in _lines(path):
        row = json.loads(line)
        if not isinstance(row, dict):
            raise ValueError("not an object")
        yield {name: None for name in LISTING_COLUMNS} | row


def _csv_rows(path: Path) -> Iterator[Mapping[str, Any]]:
    rows = csv.reader(_lines(path), strict=True)
    if next(rows, None) != list(LISTING_COLUMNS):
        raise ValueError(f"the columns are not {', '.join(LISTING_COLUMNS)}")
    for cells in rows:
        row: dict[str, Any] = dict(zip(LISTING_COLUMNS, cells, strict=True))
        yield row | {
            "size": int(row["size"]) if row["size"] else None,
            "follow": {"yes": True, "": False}[row["follow"]],
        }


_READERS = {"parquet": _parquet_rows, "jsonl": _jsonl_rows, "csv": _csv_rows}
