"""Paths become documents: walk, read, decode.

Every input gives exactly one item: a `Document`, or a `Failure` that says why it is not one. Only regular files
are ever opened, and nothing here blocks on a FIFO or follows a link into a loop.
"""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from authorid.inputs.decoding import UndecodableError, decode, tidy
from authorid.inputs.discovery import (
    DEFAULT_MAX_BYTES,
    DEFAULTS,
    DiscoveredFile,
    ReadOptions,
    is_long,
    listed_paths,
    problem_of,
    reach,
    reason,
    walk,
)
from authorid.inputs.timeouts import ENDLESS, Patience

__all__ = [
    "DEFAULT_MAX_BYTES",
    "DiscoveredFile",
    "Document",
    "DocumentRef",
    "Failure",
    "ReadOptions",
    "UndecodableError",
    "decode",
    "digest",
    "listed_paths",
    "read",
    "read_documents",
    "tidy",
    "walk",
]


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Names one document: `source` is a file (or a text's position, for texts in memory), `member` a part of it.

    `member` is None where the file is the document; for a table it is the row.
    """

    source: str
    member: str | None = None

    def __str__(self) -> str:
        return self.source if self.member is None else f"{self.source}#{self.member}"


@dataclass(frozen=True, slots=True)
class Document:
    """One readable text.

    `text` is `tidy`, `encoding` the codec it was decoded with, `sha256` the digest of its bytes.
    """

    ref: DocumentRef
    text: str
    encoding: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or scored, and why."""

    ref: DocumentRef
    reason: str


def read(found: DiscoveredFile, options: ReadOptions = DEFAULTS, patience: Patience = ENDLESS) -> Document | Failure:
    """Open, read and decode one input; never raises for what is wrong with the file."""
    ref = DocumentRef(found.path)
    if found.problem is not None:
        return Failure(ref, found.problem)
    try:
        data = patience.call(lambda: _read_bytes(found, options.max_bytes))
        if not data:
            return Failure(ref, "empty file")
        text, encoding = decode(data, options.encoding)
        text = tidy(text)
    except (OSError, ValueError) as error:  # UndecodableError is a ValueError
        return Failure(ref, reason(error))
    except MemoryError:
        return Failure(ref, "out of memory while reading")
    if not text.strip():
        return Failure(ref, "no text (only white space)")
    return Document(ref, text, encoding, hashlib.sha256(data).hexdigest())


def digest(found: DiscoveredFile, options: ReadOptions = DEFAULTS, patience: Patience = ENDLESS) -> str | None:
    """The SHA-256 that `read` would give this input's document; None when it cannot be read."""
    if found.problem is not None:
        return None
    try:
        return hashlib.sha256(patience.call(lambda: _read_bytes(found, options.max_bytes))).hexdigest()
    except (OSError, ValueError, MemoryError):
        return None


def read_documents(
    paths: Iterable[str | os.PathLike[str]],
    options: ReadOptions = DEFAULTS,
) -> Iterator[Document | Failure]:
    """Walk `paths` and read everything found, one item for every input."""
    with Patience(options.timeout) as patience:
        for found in walk(paths, options, patience):
            yield read(found, options, patience)


_PIECE = 1024 * 1024


def _read_bytes(found: DiscoveredFile, max_bytes: int) -> bytes:
    descriptor = _open(found)
    try:
        status = os.fstat(descriptor)
        problem = problem_of(status.st_mode)
        if problem is not None:
            raise ValueError(problem)
        # What a file says of its size is not to be trusted: it may grow, and those of /proc say 0.
        pieces: list[bytes] = []
        size, wish = 0, status.st_size + 1
        while size <= max_bytes and status.st_size <= max_bytes:
            piece = os.read(descriptor, min(wish, max_bytes + 1 - size))
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)
            size, wish = size + len(piece), _PIECE
    finally:
        os.close(descriptor)
    raise ValueError(f"larger than {max_bytes} bytes (see --max-bytes)")


_NO_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


def _open(found: DiscoveredFile) -> int:
    # O_NONBLOCK: a FIFO that took the file's place since the walk must not hang the run.
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    if not found.follow:
        flags |= os.O_NOFOLLOW
    for pause in (0.01, 0.1, None):
        try:
            if not is_long(found.path):
                return os.open(found.path, flags)
            with reach(found.path) as (name, directory):
                return os.open(name, flags, dir_fd=directory)
        except OSError as error:
            if error.errno == errno.ELOOP and not found.follow:
                raise ValueError("became a symbolic link since it was found") from None
            if error.errno not in _NO_DESCRIPTORS or pause is None:
                raise
            time.sleep(pause)  # not the file's fault: another thread may be about to close one
    raise AssertionError("unreachable")
