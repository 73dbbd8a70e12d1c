"""The lines of tables that are text: decoded, and none longer than fits in memory."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator

from authorid.inputs.content import Content
from authorid.inputs.decoding import decode

__all__ = ["LongLineError", "TableLines"]

_MARKS = (
    *((codecs.BOM_UTF32_LE, "utf-32"), (codecs.BOM_UTF32_BE, "utf-32")),
    *((codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16")),
)


class LongLineError(ValueError):
    """A line, or a row of several lines, is longer than it may be."""


class TableLines:
    """The lines of `content`, decoded; in UTF-8, undecodable bytes become lone surrogates.

    The encoding is that of the beginning. Raises `ValueError` if the content is not text.
    """

    def __init__(self, content: Content, declared: str | None, max_bytes: int, newline: str) -> None:
        self.encoding = _encoding(content.head, declared)
        self._longest = 2 * max_bytes + 1024
        codec = "utf-8-sig" if self.encoding == "utf-8" else self.encoding
        errors = "surrogateescape" if self.encoding == "utf-8" else "replace"
        self._stream = io.TextIOWrapper(content.stream, codec, errors, newline)
        self._pending = 0

    def __iter__(self) -> Iterator[str]:
        """Yield the lines with their ends. Raises `LongLineError` when a row gets too long; `skip` ends such a line."""
        while line := self._stream.readline(self._longest):
            self._pending += len(line)
            if self._pending > self._longest or (len(line) == self._longest and line[-1] not in "\r\n"):
                raise LongLineError(f"more than {self._longest} characters in one row (see --max-bytes)")
            yield line

    def end_row(self) -> None:
        """A row is complete: the next line begins another."""
        self._pending = 0

    def skip(self) -> None:
        """Read to the end of the line that was too long."""
        while (part := self._stream.readline(1 << 16)) and part[-1] not in "\r\n":
            pass
        self._pending = 0


def _encoding(head: bytes, declared: str | None) -> str:
    for mark, encoding in _MARKS:
        if head.startswith(mark):
            return encoding
    if b"\0" in head:
        raise ValueError("binary file, not a table (contains NUL bytes)")
    complete = head[: head.rfind(b"\n") + 1] or head
    encoding = decode(complete, declared)[1]
    # A few wrong bytes are dealt with row by row.
    return "utf-8" if encoding.startswith("utf-8") else encoding.partition(" (")[0]
