"""Lists of paths that arrive on a stream, such as the output of ``find``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import BinaryIO

from authorid.errors import AuthoridError

__all__ = ["listed_paths"]

_LONGEST_NAME = 1024 * 1024


def listed_paths(stream: BinaryIO) -> Iterator[str]:
    """The paths listed in `stream`, one on each line, or separated by NUL characters as ``find -print0`` writes them.

    Raises `AuthoridError` if the stream has no separators and so is not a list.
    """
    pending = b""
    # In a list separated by NULs a name may contain line breaks, so look ahead for a NUL before deciding. But do not
    # make a producer of single lines wait: data that ends with a line break and has no NUL is a list of lines.
    while b"\0" not in pending and not pending.endswith(b"\n") and len(pending) < 8192 and (more := _read_some(stream)):
        pending += more
    separator = b"\0" if b"\0" in pending else b"\n"
    while True:
        *names, pending = pending.split(separator)
        yield from (os.fsdecode(name) for name in names if name)
        if len(pending) > _LONGEST_NAME:
            raise AuthoridError("standard input is not a list of paths: a million bytes without a line break")
        more = _read_some(stream)
        if not more:
            break
        pending += more
    if pending:
        yield os.fsdecode(pending)


def _read_some(stream: BinaryIO) -> bytes:
    # Directly from the descriptor: a thread that waits inside a buffered reader cannot be abandoned at exit.
    return os.read(stream.fileno(), 65536)
