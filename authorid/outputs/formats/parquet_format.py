"""Parquet: typed columns, with the values of a JSON row."""

from __future__ import annotations

from array import array
from itertools import accumulate
from typing import Any, ClassVar

from authorid.errors import require
from authorid.outputs.answers import Answers
from authorid.outputs.formats.columns import arrow_types, columns, unicode_row
from authorid.outputs.records import Attribution

__all__ = ["ParquetWriter", "TakenBytes"]

_GROUP_ROWS = 1 << 14
"""Rows of a row group, which wait in memory."""

_GROUP_NUMBERS = 1 << 20
"""Numbers in the lists of a row group, after which it ends early."""


class ParquetWriter:
    """Writes the columns with full precision, and ``path_b64``, ``top`` and ``evidence`` of a JSON row.

    So is ``explanation``, as text that holds JSON.
    A missing value is null, a missing list empty. Raises `MissingExtraError` without pyarrow.
    """

    name: ClassVar[str] = "parquet"
    suffixes: ClassVar[tuple[str, ...]] = (".parquet",)
    packages: ClassVar[tuple[str, ...]] = ("pyarrow",)
    binary: ClassVar[bool] = True

    def __init__(self, top: int = 5, answers: Answers = Answers()) -> None:
        self._arrow, parquet = require("pyarrow", "parquet"), require("pyarrow.parquet", "parquet")
        self._top = top
        self._answers = answers
        self._columns = columns(answers)
        types = arrow_types(self._arrow)
        text, number = types["text"], types["number"]
        pair = self._arrow.struct([(answers.noun, text), (answers.measure, number)])
        self._schema = self._arrow.schema(
            [
                *((name, types[kind]) for name, kind in self._columns.items()),
                ("path_b64", text),
                ("explanation", text),
                ("top", self._arrow.list_(pair)),
                ("evidence", self._arrow.list_(number)),
            ]
        )
        self._sink = TakenBytes()
        self._file = parquet.ParquetWriter(self._sink, self._schema)
        self._begin_group()

    def header(self) -> bytes:
        """The first bytes of the file."""
        return self._sink.take()

    def row(self, record: Attribution) -> bytes:
        """A row group, if it is complete with this record; otherwise nothing."""
        row = unicode_row(record, self._columns, self._answers)
        row["explanation"] = record.explanation
        self._characters += len(record.explanation or "")
        for name, cells in self._cells.items():
            cells.append(row.get(name))
        first = record.ranking[: self._top]
        self._names += [name for name, _ in first]
        self._numbers.extend(number for _, number in first)
        self._ranked.append(len(first))
        self._evidence.extend(record.evidence)
        self._seen.append(len(record.evidence))
        numbers = len(self._numbers) + len(self._evidence) + self._characters // 8
        return self._end_group() if len(self._seen) > _GROUP_ROWS or numbers >= _GROUP_NUMBERS else b""

    def footer(self) -> bytes:
        """The last row group, and the index of all."""
        last = self._end_group() if len(self._seen) > 1 else b""
        self._file.close()
        return last + self._sink.take()

    def _begin_group(self) -> None:
        self._cells: dict[str, list[Any]] = {name: [] for name in (*self._columns, "path_b64", "explanation")}
        self._characters = 0
        # The lists of all rows one after the other, and their lengths: a hundredth of the memory of separate objects.
        self._names: list[str] = []
        self._numbers, self._ranked = array("d"), [0]
        self._evidence, self._seen = array("d"), [0]

    def _end_group(self) -> bytes:
        arrow, schema = self._arrow, self._schema
        pair = arrow.StructArray.from_arrays(
            [arrow.array(self._names, arrow.string()), arrow.array(self._numbers, arrow.float64())],
            fields=list(schema.field("top").type.value_type),
        )
        lists = (self._ranked, pair), (self._seen, arrow.array(self._evidence, arrow.float64()))
        arrays = [arrow.array(cells, schema.field(name).type) for name, cells in self._cells.items()]
        for lengths, flat in lists:
            arrays.append(arrow.ListArray.from_arrays(arrow.array(accumulate(lengths), arrow.int32()), flat))
        self._file.write_batch(arrow.RecordBatch.from_arrays(arrays, schema=schema))
        self._begin_group()
        return self._sink.take()


class TakenBytes:
    """A file in memory from which the bytes are taken while it is written."""

    closed = False

    def __init__(self) -> None:
        self._data = bytearray()

    def write(self, data: bytes) -> int:
        """Keep `data`."""
        self._data += data
        return len(data)

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """What was written can still be taken."""

    def take(self) -> bytes:
        """What was written since the last call."""
        data, self._data = bytes(self._data), bytearray()
        return data
