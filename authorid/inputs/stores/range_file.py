"""A remote object as a file that can seek: it is read in parts, and larger ones where it is read from front to back."""

from __future__ import annotations

import io
import os
from collections import deque
from collections.abc import Callable
from typing import Any

__all__ = ["RangeFile"]

_SMALLEST, _LARGEST = 1 << 16, 1 << 22
"""Bytes of a part that is fetched, unless more are asked for at once."""

_PARTS = 4
"""Parts in memory: the columns of a table are read side by side."""


class RangeFile(io.RawIOBase):
    """Reads `size` bytes through `fetch`, which gives those from one offset up to another. Raises what that raises."""

    def __init__(self, fetch: Callable[[int, int], bytes], size: int) -> None:
        self._fetch = fetch
        self._size = size
        self._position = 0
        self._parts: deque[tuple[int, bytes]] = deque(maxlen=_PARTS)

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another position, and return it."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._size}[whence]
        if base + offset < 0:
            raise ValueError("a position before the beginning of the file")
        self._position = base + offset
        return self._position

    def tell(self) -> int:
        """The position."""
        return self._position

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as the part goes that has this position."""
        wanted = min(len(buffer), self._size - self._position)
        if wanted <= 0:
            return 0
        begin, data = self._part(wanted)
        offset = self._position - begin
        count = min(wanted, len(data) - offset)
        buffer[:count] = memoryview(data)[offset : offset + count]
        self._position += count
        return count

    def _part(self, wanted: int) -> tuple[int, bytes]:
        """The part that has the position. What continues a part is twice as large as that."""
        length = _SMALLEST
        for begin, data in self._parts:
            if begin <= self._position < begin + len(data):
                return begin, data
            if begin + len(data) == self._position:
                length = min(2 * len(data), _LARGEST)
        end = min(self._position + max(length, wanted), self._size)
        data = self._fetch(self._position, end)
        if len(data) != end - self._position:
            raise OSError("the answer has another length than the part that was asked for")
        self._parts.append((self._position, data))
        return self._position, data
