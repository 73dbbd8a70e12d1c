"""Compressed files: they are unpacked while they are read, and their content goes to the reader of its own format."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, BinaryIO

from authorid.errors import require
from authorid.inputs.content import Content

__all__ = ["split_suffix", "unpacked"]

_MOST_LAYERS = 3
"""How often a file may be compressed: there are files that unpack to themselves."""

_MOST_RATIO, _FREE = 250, 1 << 26
"""What has more than `_FREE` bytes may be so many times as large as it was compressed; texts are at most about 20."""

_XZ_MEMORY = 1 << 28
"""Bytes that unpacking .xz may take; ``xz -9`` needs 65 MB."""


@dataclass(frozen=True, slots=True)
class _Compression:
    """A format of compression: the ending of names, how files begin, and what opens them."""

    suffix: str
    magic: bytes
    open: Callable[[BinaryIO], Any]


def _open_zstd(stream: BinaryIO) -> Any:
    zstandard = require("zstandard", "zstd")
    unpacker = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    return unpacker.stream_reader(stream, read_across_frames=True, closefd=False)


class _XzStream(io.RawIOBase):
    """Unpacks .xz within `_XZ_MEMORY`, which `lzma.LZMAFile` does not limit."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._unpacker = self._begin()
        self._waiting = b""

    @staticmethod
    def _begin() -> lzma.LZMADecompressor:
        return lzma.LZMADecompressor(format=lzma.FORMAT_XZ, memlimit=_XZ_MEMORY)

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes; empty at the end."""
        while True:
            if self._unpacker.eof:
                rest = (self._unpacker.unused_data or self._stream.read(io.DEFAULT_BUFFER_SIZE)).lstrip(b"\0")
                if not rest:
                    return b""
                self._unpacker, self._waiting = self._begin(), rest
            elif self._unpacker.needs_input:
                self._waiting = self._stream.read(io.DEFAULT_BUFFER_SIZE)
                if not self._waiting:
                    raise EOFError("the end is missing")
            data = self._unpacker.decompress(self._waiting, size)
            self._waiting = b""
            if data:
                return data


_COMPRESSIONS = (
    _Compression(".gz", b"\x1f\x8b\x08", lambda stream: gzip.GzipFile(fileobj=stream)),
    _Compression(".bz2", b"BZh", bz2.BZ2File),
    _Compression(".xz", b"\xfd7zXZ\0", _XzStream),
    _Compression(".zst", b"\x28\xb5\x2f\xfd", _open_zstd),
)

_BZ2_BLOCKS = (b"1AY&SY", b"\x17rE8P\x90")
"""With which a block of .bz2 begins, or the end; "BZh" alone could be text."""


def split_suffix(name: str) -> tuple[str, bool]:
    """`name` without the endings of compressions, and whether it had one."""
    short = name
    for _ in range(_MOST_LAYERS):
        for compression in _COMPRESSIONS:
            if short.lower().endswith(compression.suffix):
                short = short[: -len(compression.suffix)]
    return short, short != name


def unpacked(content: Content) -> Content:
    """What is compressed in `content`, or `content` itself if nothing is.

    Raises `ValueError` if it is damaged or compressed too often, and `MissingExtraError` for .zst without zstandard.
    Reading the result raises `ValueError` too, for what is damaged or grows beyond all measure.
    """
    for _ in range(_MOST_LAYERS):
        compression = _compression_of(content.head)
        if compression is None:
            return content
        name = content.name
        if name.lower().endswith(compression.suffix):
            name = name[: -len(compression.suffix)]
        raw = _Unpacking(compression, content.stream)
        content = Content.of_stream(content.ref, name, raw, content.sha256)
    if _compression_of(content.head) is not None:
        raise ValueError(f"compressed more than {_MOST_LAYERS} times")
    return content


def _compression_of(head: bytes) -> _Compression | None:
    for compression in _COMPRESSIONS:
        if head.startswith(compression.magic):
            return compression if compression.suffix != ".bz2" or head[4:10] in _BZ2_BLOCKS else None
    return None


class _Unpacking(io.RawIOBase):
    """Unpacks a stream, within `_MOST_RATIO`."""

    def __init__(self, compression: _Compression, stream: BinaryIO) -> None:
        self._format = compression.suffix
        self._counted = _Counted(stream)
        self._unpacker = compression.open(self._counted)  # type: ignore[arg-type]
        self._size = 0

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer`, unless the end comes first. Raises `ValueError`."""
        filled = 0
        with memoryview(buffer) as view:
            while filled < len(view):
                data = self._read(len(view) - filled)
                if not data:
                    break
                view[filled : filled + len(data)] = data
                filled += len(data)
        self._size += filled
        if self._size > max(_FREE, _MOST_RATIO * self._counted.size):
            raise ValueError(f"unpacks to more than {_MOST_RATIO} times its size ({self._format})")
        return filled

    def _read(self, size: int) -> bytes:
        try:
            data: bytes = self._unpacker.read(size)
            return data
        except (EOFError, OSError, ValueError, zlib.error, lzma.LZMAError) as error:
            reason = str(error)
        except Exception as error:  # zstandard is not imported here, and has errors of its own
            if type(error).__name__ != "ZstdError":
                raise
            reason = str(error)
        raise ValueError(f"damaged {self._format} file ({reason})")


class _Counted(io.RawIOBase):
    """Counts the bytes that are read from a stream."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self.size = 0

    def readable(self) -> bool:
        """True."""
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to `size` bytes."""
        data = self._stream.read(size)
        self.size += len(data)
        return data

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)
