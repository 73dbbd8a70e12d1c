"""Parquet: each row is a document. A few rows are in memory at a time, whatever the size of the file."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from authorid.errors import first_line, require
from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
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
        """Yield the documents; a row group that is damaged is one failure.

        Raises `ValueError` if it is not clear what the texts are, or the file is damaged.
        """
        pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        stream = content.stream if content.stream.seekable() else io.BytesIO(content.data(options.max_bytes))
        with _naming_damage(pyarrow), parquet.ParquetFile(stream, buffer_size=1 << 20, pre_buffer=False) as table:
            column = _text_column(pyarrow, table, options)
            groups = content.groups or (0, table.num_row_groups)
            if groups[1] > table.num_row_groups:
                raise ValueError("changed since it was listed: there are fewer row groups")
            maker = RowMaker(content.ref.source, self.name, options)
            before = sum(table.metadata.row_group(group).num_rows for group in range(groups[0]))
            for group in range(*groups):
                texts = _group_texts(pyarrow, table, group, column, options.id_column)
                try:
                    with _naming_damage(pyarrow, f"row group {group + 1}: "):
                        for number, (identity, text) in enumerate(texts, start=before + 1):
                            ref = maker.ref(number, identity)
                            yield maker.decoded(ref, text) if isinstance(text, bytes) else maker.document(ref, text)
                except _DamagedTableError as error:  # the next row group can be intact
                    yield Failure(content.ref, str(error))
                before += table.metadata.row_group(group).num_rows

    def group_sizes(self, content: Content, options: ReadOptions) -> list[int]:
        """The bytes of each row group, if `read` can read each by itself; else nothing. Raises what `read` raises."""
        if not content.stream.seekable():
            return []
        pyarrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        with _naming_damage(pyarrow), parquet.ParquetFile(content.stream, pre_buffer=False) as table:
            _text_column(pyarrow, table, options)
            return [table.metadata.row_group(group).total_byte_size for group in range(table.num_row_groups)]


class _DamagedTableError(ValueError):
    """A Parquet file, or a row group in it, cannot be read."""


@contextmanager
def _naming_damage(pyarrow: Any, where: str = "") -> Iterator[None]:
    """Raise `_DamagedTableError` for an error of pyarrow about the content of a file."""
    try:
        yield
    except (pyarrow.ArrowException, OverflowError, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:  # of the file system
            raise
        raise _DamagedTableError(f"damaged Parquet file ({where}{first_line(error)})") from None


def _text_column(pyarrow: Any, table: Any, options: ReadOptions) -> str:
    """The column of the texts. Raises `ValueError` if there is none, or no row."""
    schema = table.schema_arrow
    textual = [field.name for field in schema if _is_textual(pyarrow, field.type)]
    column = choose_text_column(schema.names, textual, options)
    if column not in textual:
        raise ValueError(f"column {column!r} holds {schema.field(column).type}, not texts")
    if not table.metadata.num_rows:
        raise ValueError("a table without rows")
    return column


def _group_texts(
    pyarrow: Any, table: Any, group: int, column: str, id_column: str | None
) -> Iterator[tuple[object, str | bytes | None]]:
    """The value of `id_column`, if any, and the text of each row of a row group."""
    wanted = [column] if id_column is None else [column, id_column]
    for batch in table.iter_batches(batch_size=_GROUP, row_groups=[group], columns=wanted, use_threads=False):
        identities = None if id_column is None else batch.column(id_column)
        for index, text in enumerate(_texts(pyarrow, batch.column(column))):
            yield None if identities is None else identities[index].as_py(), text


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
