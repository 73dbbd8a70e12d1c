"""Parquet: each row is a document. A few rows are in memory at a time, whatever the size of the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

from authorid.errors import first_line, require
from authorid.inputs.content import Content
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.readers.rows import RowMaker, choose_text_column

__all__ = ["ParquetTableReader"]

_GROUP = 512
"""Rows that are in memory at once."""

_LARGE = 1 << 25
"""Bytes. Larger groups of rows are turned into text one by one."""


class ParquetTableReader:
    """Reads Parquet with pyarrow."""

    name = "parquet"
    suffixes = (".parquet",)
    streams = True

    def recognises(self, head: bytes) -> bool:
        """Whether this is a Parquet file: after its mark comes the header of a page, which is no text."""
        return head.startswith((b"PAR1\x15", b"PARE"))

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the documents. Raises `ValueError` if it is not clear what the texts are, or the file is damaged."""
        pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        stream = content.stream if content.stream.seekable() else io.BytesIO(content.data(options.max_bytes))
        try:
            with parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
                yield from self._documents(pyarrow, table, content.ref, options)
        except (pyarrow.ArrowException, OverflowError) as error:
            raise ValueError(f"damaged Parquet file ({first_line(error)})") from None

    def _documents(
        self, pyarrow: Any, table: Any, ref: DocumentRef, options: ReadOptions
    ) -> Iterator[Document | Failure]:
        schema = table.schema_arrow
        textual = [field.name for field in schema if _is_textual(pyarrow, field.type)]
        column = choose_text_column(schema.names, textual, options)
        if column not in textual:
            raise ValueError(f"column {column!r} holds {schema.field(column).type}, not texts")
        if not table.metadata.num_rows:
            raise ValueError("a table without rows")
        maker = RowMaker(ref.source, self.name, options)
        number = 0
        wanted = [column] if options.id_column is None else [column, options.id_column]
        for batch in table.iter_batches(batch_size=_GROUP, columns=wanted, use_threads=False):
            identities = None if options.id_column is None else batch.column(options.id_column)
            for index, text in enumerate(_texts(pyarrow, batch.column(column))):
                number += 1
                row = maker.ref(number, None if identities is None else identities[index].as_py())
                yield maker.decoded(row, text) if isinstance(text, bytes) else maker.document(row, text)


def _is_textual(pyarrow: Any, kind: Any) -> bool:
    if pyarrow.types.is_dictionary(kind):
        kind = kind.value_type
    kinds = pyarrow.types
    return bool(kinds.is_string(kind) or kinds.is_large_string(kind) or kinds.is_string_view(kind))


def _texts(pyarrow: Any, values: Any) -> Iterator[str | bytes | None]:
    """The texts in a column; one that is not UTF-8 as bytes."""
    if values.nbytes <= _LARGE:
        try:
            yield from values.to_pylist()
            return
        except UnicodeDecodeError:
            pass
    for value in values:
        try:
            yield value.as_py()
        except UnicodeDecodeError:
            plain = value.value if hasattr(value, "value") and hasattr(value, "index") else value
            yield plain.cast(pyarrow.large_binary()).as_py()
