"""Results that go to a stream: standard output, a pipe, a device, or nowhere."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO

from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, Failure
from authorid.outputs.formats import Writer
from authorid.outputs.records import Attribution
from authorid.outputs.resume import EarlierRun
from authorid.outputs.write_errors import raising_output_errors

__all__ = ["StreamOutput"]


class StreamOutput:
    """Writes every row at once to `stream`; None discards it. There is nothing to resume."""

    def __init__(self, out: str, stream: BinaryIO | None, writer: Writer) -> None:
        self.earlier: EarlierRun | None = None
        self._out = "standard output" if out == "-" else out
        self._stream = stream
        self._writer = writer
        self._rows = 0
        self._put(writer.header())

    def recall(
        self, file: DiscoveredFile, items: Iterator[Document | Failure]
    ) -> Iterator[Document | Failure | Attribution]:
        """The `items`: nothing is known."""
        return items

    def write(self, record: Attribution) -> None:
        """Write one row."""
        self._put(self._writer.row(record))
        self._rows += 1

    def finish(self) -> None:
        """Write what the format has after the last row."""
        self._put(self._writer.footer())

    @property
    def resumable(self) -> bool:
        """False: what was written stays as it is."""
        return False

    @property
    def saved(self) -> str:
        """How many rows were written, in words."""
        return f"{self._rows} rows were written"

    def _put(self, data: bytes) -> None:
        if self._stream is not None and data:
            with raising_output_errors(self._out):
                self._stream.write(data)
                self._stream.flush()
