"""CSV and TSV: the first row names the columns, and each other row is a document."""

from __future__ import annotations

import csv
from collections.abc import Iterator

from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.rows import RowMaker, choose_text_column
from authorid.inputs.readers.table_lines import TableLines

__all__ = ["CSV_READER", "TSV_READER", "DelimitedReader"]


class DelimitedReader:
    """Reads tables whose cells are separated by one character.

    `separators` are the possible ones; the first that the first line contains is taken.
    """

    streams = True

    def __init__(self, name: str, separators: str) -> None:
        self.name = name
        self.suffixes = (f".{name}",)
        self._separators = separators

    def recognises(self, head: bytes) -> bool:
        """False: only the name tells that a text is a table."""
        return False

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the documents. Raises `ValueError` if it is not clear what the texts are, or for a row without end."""
        lines = TableLines(content, options.encoding, options.max_bytes, "")
        csv.field_size_limit(max(csv.field_size_limit(), 2 * options.max_bytes))
        source = iter(lines)
        first = next(source, "").lstrip("\ufeff")
        separator = next((mark for mark in self._separators if mark in first), self._separators[0])
        rows = csv.reader(_chained(first, source), delimiter=separator)
        try:
            names = next(rows, [])
            column = names.index(choose_text_column(names, names, options))
            identity = None if options.id_column is None else names.index(options.id_column)
            maker = RowMaker(content.ref.source, self.name, options)
            number = 0
            lines.end_row()
            for row in rows:
                lines.end_row()
                if not row:
                    continue
                number += 1
                ref = maker.ref(number, row[identity] if identity is not None and identity < len(row) else None)
                if column < len(row):
                    yield maker.document(ref, row[column], lines.encoding)
                else:
                    yield Failure(ref, f"this row has {len(row)} cells, and the text should be in number {column + 1}")
        except csv.Error as error:
            raise ValueError(f"not readable from line {rows.line_num} on ({error})") from None
        if not number:
            raise ValueError("a table without rows")


def _chained(first: str, source: Iterator[str]) -> Iterator[str]:
    yield first
    yield from source


CSV_READER = DelimitedReader("csv", ",;\t")
TSV_READER = DelimitedReader("tsv", "\t")
