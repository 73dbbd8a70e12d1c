"""Files become documents: open, read, unpack, and pass the content to the reader of its format.

Every file gives at least one item: its documents, or a `Failure` with the reason. Only regular files are opened, and
nothing here blocks on a FIFO or follows a symbolic link into a loop.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import replace
from typing import Any, BinaryIO

from authorid.errors import MissingExtraError, os_error_reason
from authorid.inputs.compression import unpacked
from authorid.inputs.content import Content
from authorid.inputs.discovery import DiscoveredFile, InputPath, problem_of, walk
from authorid.inputs.documents import DEFAULTS, Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.long_paths import is_long, open_parent
from authorid.inputs.readers import is_streamed, reader_for
from authorid.inputs.readers.parquet_table import ParquetTableReader
from authorid.inputs.timeouts import NO_TIMEOUT, Timeout
from authorid.portability import open_flags

__all__ = ["file_sha256", "read_documents", "read_file", "read_stream", "row_group_sizes"]


def read_file(
    file: DiscoveredFile, options: ReadOptions = DEFAULTS, timeout: Timeout = NO_TIMEOUT
) -> Iterator[Document | Failure]:
    """Yield every document of one file. Whatever is wrong with the file is a `Failure`, not an exception."""
    ref = DocumentRef(file.path)
    if file.problem is not None:
        yield Failure(ref, file.problem)
        return
    yield from _with_failures(ref, _read(ref, file, options, timeout))


def read_stream(stream: BinaryIO, name: str, options: ReadOptions = DEFAULTS) -> Iterator[Document | Failure]:
    """Yield every document of what comes from `stream`, which `name` stands for."""
    ref = DocumentRef(name)
    yield from _with_failures(ref, _read_stream(ref, stream, name, options))


def _with_failures(ref: DocumentRef, items: Iterator[Document | Failure]) -> Iterator[Document | Failure]:
    """The `items`, and a failure of `ref` for what ends them early."""
    try:
        yield from items
    except (OSError, ValueError) as error:
        yield Failure(ref, os_error_reason(error))
    except MissingExtraError as error:
        yield Failure(ref, str(error))
    except RecursionError:
        yield Failure(ref, "nested too deeply")
    except MemoryError:
        yield Failure(ref, "out of memory while reading")


def _read(
    ref: DocumentRef, file: DiscoveredFile, options: ReadOptions, timeout: Timeout
) -> Iterator[Document | Failure]:
    if is_streamed(file.path):
        with closing(_OpenFile(file, timeout)) as raw:
            content = unpacked(Content.of_stream(ref, file.path, raw))
            reader = reader_for(content.name, content.head)
            if file.groups is not None:
                content = replace(content, groups=file.groups)
                if not isinstance(reader, ParquetTableReader):
                    raise ValueError("changed since it was listed: no longer a Parquet table")
            if reader.streams and content.head:
                yield from reader.read(content, options)
                return
    data = timeout.call(lambda: _read_bytes(file, options.max_bytes))
    yield from _read_data(ref, file.path, data, options)


def _read_stream(ref: DocumentRef, stream: BinaryIO, name: str, options: ReadOptions) -> Iterator[Document | Failure]:
    data = stream.read(options.max_bytes + 1)
    if len(data) > options.max_bytes:
        raise ValueError(_too_large(options.max_bytes))
    yield from _read_data(ref, name, data, options)


def _read_data(ref: DocumentRef, name: str, data: bytes, options: ReadOptions) -> Iterator[Document | Failure]:
    content = unpacked(Content.of_bytes(ref, name, data, hashlib.sha256(data).hexdigest()))
    if content.head:
        yield from reader_for(content.name, content.head).read(content, options)
    else:
        yield Failure(ref, "empty file")


def row_group_sizes(file: DiscoveredFile, options: ReadOptions = DEFAULTS) -> list[int]:
    """The bytes of each row group if `file` is a Parquet table that can be read in parts; else nothing."""
    if file.problem is not None or not is_streamed(file.path):
        return []
    try:
        with Timeout(options.timeout) as timeout, closing(_OpenFile(file, timeout)) as raw:
            content = unpacked(Content.of_stream(DocumentRef(file.path), file.path, raw))
            reader = reader_for(content.name, content.head)
            return reader.group_sizes(content, options) if isinstance(reader, ParquetTableReader) else []
    except (OSError, ValueError, MissingExtraError, RecursionError, MemoryError):
        return []  # whoever reads the file as a whole reports that


def file_sha256(file: DiscoveredFile, options: ReadOptions = DEFAULTS, timeout: Timeout = NO_TIMEOUT) -> str | None:
    """The SHA-256 of a file's bytes, as `Document.sha256` has it; None if the file cannot be read."""
    if file.problem is not None:
        return None
    try:
        return hashlib.sha256(timeout.call(lambda: _read_bytes(file, options.max_bytes))).hexdigest()
    except (OSError, ValueError, MemoryError):
        return None


def read_documents(
    paths: Iterable[InputPath],
    options: ReadOptions = DEFAULTS,
) -> Iterator[Document | Failure]:
    """Yield the documents of every file below `paths`, in walk order."""
    with Timeout(options.timeout) as timeout:
        for file in walk(paths, options, timeout):
            yield from read_file(file, options, timeout)


_CHUNK_BYTES = 1024 * 1024


def _read_bytes(file: DiscoveredFile, max_bytes: int) -> bytes:
    descriptor = _open(file)
    try:
        status = os.fstat(descriptor)
        problem = problem_of(status.st_mode)
        if problem is not None:
            raise ValueError(problem)
        # The size that a file reports is not reliable: the file may grow, and files in /proc report 0.
        chunks: list[bytes] = []
        size, wanted = 0, status.st_size + 1
        while size <= max_bytes and status.st_size <= max_bytes:
            chunk = os.read(descriptor, min(wanted, max_bytes + 1 - size))
            if not chunk:
                return chunks[0] if len(chunks) == 1 else b"".join(chunks)
            chunks.append(chunk)
            size, wanted = size + len(chunk), _CHUNK_BYTES
    finally:
        os.close(descriptor)
    raise ValueError(_too_large(max_bytes))


def _too_large(max_bytes: int) -> str:
    return f"larger than {max_bytes} bytes (see --max-bytes)"


class _OpenFile(io.RawIOBase):
    """A file that is read in pieces, each with the `timeout`. Raises `OSError` and `ValueError`."""

    def __init__(self, file: DiscoveredFile, timeout: Timeout) -> None:
        self._timeout = timeout
        self._hangs = False
        self._descriptor: int | None = timeout.call(lambda: _open_regular(file))

    def readable(self) -> bool:
        """True."""
        return True

    def seekable(self) -> bool:
        """True."""
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Go to another position, and return it."""
        return os.lseek(self._open(), offset, whence)

    def tell(self) -> int:
        """The position."""
        return self.seek(0, os.SEEK_CUR)

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible."""
        descriptor, size = self._open(), len(buffer)
        try:
            data = self._timeout.call(lambda: os.read(descriptor, size))
        except TimeoutError:
            self._hangs = True
            raise
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Close the file, unless a thread still waits for it."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None and not self._hangs:
            os.close(descriptor)
        super().close()

    def _open(self) -> int:
        if self._descriptor is None:
            raise ValueError("the file is closed")
        return self._descriptor


def _open_regular(file: DiscoveredFile) -> int:
    descriptor = _open(file)
    problem = problem_of(os.fstat(descriptor).st_mode)
    if problem is None:
        return descriptor
    os.close(descriptor)
    raise ValueError(problem)


_OUT_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def _open(file: DiscoveredFile) -> int:
    # O_NONBLOCK: if a FIFO has replaced the file since the walk, opening it must not block.
    flags = open_flags("O_RDONLY", "O_NONBLOCK", "O_NOCTTY")
    if not file.follow:
        flags |= open_flags("O_NOFOLLOW")
    for pause in (0.01, 0.1, None):
        try:
            if not is_long(file.path):
                return os.open(file.path, flags)
            with open_parent(file.path) as (name, directory):
                return os.open(name, flags, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP and not file.follow:
                raise ValueError("became a symbolic link since it was found") from None
            if error.errno not in _OUT_OF_DESCRIPTORS or pause is None:
                raise
            time.sleep(pause)  # another thread may be about to close a descriptor
    raise AssertionError("unreachable")
