"""JSON Lines: each line is an object, and one of its values is a document."""

from __future__ import annotations

import json
from collections.abc import Iterator
from itertools import chain
from typing import Any

from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.rows import RowMaker, choose_text_column
from authorid.inputs.readers.table_lines import LongLineError, TableLines

__all__ = ["JsonLinesReader"]

_EXAMINED = 100
"""Rows among which the columns are looked for: a row may lack some of them."""

_MOST_EXAMINED = 1 << 20
"""Characters in them."""

_Row = tuple[int, dict[str, Any] | str]
"""The number of a row, and its values or the reason why there are none."""


class JsonLinesReader:
    """Reads each line as a document. Lines that cannot be read are failures; a first line that is not JSON is fatal."""

    name = "jsonl"
    suffixes = (".jsonl", ".ndjson")
    streams = True

    def recognises(self, head: bytes) -> bool:
        """False: only the name tells that each line is a document."""
        return False

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the documents. Raises `ValueError` if this is no such table, or its texts are not clear."""
        lines = TableLines(content, options.encoding, options.max_bytes, "\n")
        rows = _rows(lines)
        first: list[_Row] = []
        names: dict[str, bool] = {}
        size = 0
        for row in rows:
            first.append(row)
            values = row[1]
            if isinstance(values, str):
                if len(first) == 1:
                    raise ValueError(f"not a JSON Lines table: row 1: {values}")
                continue
            for name, value in values.items():
                names[name] = names.get(name, False) or isinstance(value, str)
                size += len(value) if isinstance(value, str) else 1
            if len(first) == _EXAMINED or size > _MOST_EXAMINED:
                break
        if not first:
            raise ValueError("a table without rows")
        column = choose_text_column(list(names), [name for name, textual in names.items() if textual], options)
        maker = RowMaker(content.ref.source, self.name, options)
        for number, values in chain(first, rows):
            if isinstance(values, str):
                yield Failure(maker.ref(number), values)
            else:
                identity = values.get(options.id_column) if options.id_column is not None else None
                yield maker.document(maker.ref(number, identity), values.get(column), lines.encoding)


def _rows(lines: TableLines) -> Iterator[_Row]:
    """Yield the rows; blank lines are none."""
    number = 0
    remaining = iter(lines)
    while True:
        try:
            line = next(remaining, None)
        except LongLineError as error:
            number += 1
            yield number, str(error)
            lines.skip()
            remaining = iter(lines)
            continue
        if line is None:
            return
        lines.end_row()
        if line.isspace():
            continue
        number += 1
        yield number, _values(line)


def _values(line: str) -> dict[str, Any] | str:
    try:
        values = json.loads(line)
    except RecursionError:
        return "JSON that is nested too deeply"
    except ValueError as error:
        return f"not JSON ({error})"
    return values if isinstance(values, dict) else "not a JSON object"
