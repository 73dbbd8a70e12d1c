"""The content of a file on its way to a reader: a stream, what it begins with, and a name that tells its format."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import BinaryIO

from authorid.inputs.documents import DocumentRef

__all__ = ["BUFFER", "Content"]

BUFFER = 1 << 16
"""How much of a content can be seen before it is read, and how much is read from a file at a time."""


@dataclass(frozen=True, slots=True)
class Content:
    """The content of the file `ref`, or of what is compressed in it.

    `name` has the ending of the format: that of a compression is taken away. `stream` can be read once; it can seek
    unless it is decompressed meanwhile. `head` is what it begins with. `sha256` is the hex digest of the bytes of the
    file; it is empty for a file that is only there as a stream. `groups` are the row groups to read of a Parquet table,
    the first and the one after the last; None for all.
    """

    ref: DocumentRef
    name: str
    stream: BinaryIO
    head: bytes
    sha256: str = ""
    groups: tuple[int, int] | None = None

    @classmethod
    def of_bytes(cls, ref: DocumentRef, name: str, data: bytes, sha256: str) -> Content:
        """A content that is in memory."""
        return cls(ref, name, io.BytesIO(data), data[:BUFFER], sha256)

    @classmethod
    def of_stream(cls, ref: DocumentRef, name: str, raw: io.RawIOBase, sha256: str = "") -> Content:
        """A content that is read in pieces. Raises `OSError` and `ValueError`."""
        stream = io.BufferedReader(raw, BUFFER)
        return cls(ref, name, stream, stream.peek(BUFFER)[:BUFFER], sha256)

    def data(self, max_bytes: int) -> bytes:
        """All bytes. Raises `ValueError` if there are more than `max_bytes`."""
        data = self.stream.read(max_bytes + 1)
        if len(data) > max_bytes:
            raise ValueError(f"larger than {max_bytes} bytes (see --max-bytes)")
        return data
