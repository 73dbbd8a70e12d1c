"""Paths that are longer than a single system call accepts, reached through their directories."""

# Names need not be text: strings and os.path, not Path objects.
# ruff: noqa: PTH116

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from authorid.portability import open_flags

__all__ = ["is_long", "list_directory", "open_parent", "status_of"]

_SYSCALL_BYTES = 4000 if sys.platform == "linux" else 1000
"""A path of this many bytes is accepted by every system call; Linux allows 4095, others 1023."""

_MAX_BYTES = 3 * 4096
"""Longer paths are refused: the time and memory of a walk are quadratic in the depth of the tree."""


def is_long(path: str) -> bool:
    """Whether `path` is too long for a single system call, but short enough to be supported."""
    if os.open not in os.supports_dir_fd:
        return False  # the system itself answers what it makes of such a path
    # A character takes at most four bytes, so most paths need not be encoded.
    return 4 * len(path) > _SYSCALL_BYTES and _SYSCALL_BYTES < len(os.fsencode(path)) <= _MAX_BYTES


@contextmanager
def open_parent(path: str) -> Iterator[tuple[str, int]]:
    """Open a directory above the long `path`; give the rest of the path and the directory's descriptor (`dir_fd`).

    Raises `OSError` if a directory cannot be opened, and `ValueError` if the path is not long.
    """
    rest = os.fsencode(path)
    directory = None
    try:
        while len(rest) > _SYSCALL_BYTES:
            cut = rest.rfind(b"/", 1, _SYSCALL_BYTES)
            if cut < 0:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            below = os.open(rest[:cut], open_flags("O_PATH", "O_DIRECTORY"), dir_fd=directory)
            if directory is not None:
                os.close(directory)
            directory, rest = below, rest[cut:].lstrip(b"/") or b"."
        if directory is None:
            raise ValueError("not a long path")
        yield os.fsdecode(rest), directory
    finally:
        if directory is not None:
            os.close(directory)


def status_of(path: str, *, follow: bool) -> os.stat_result:
    """The status of `path`; of what it points to, if `follow` is set and it is a symbolic link. Raises `OSError`."""
    if not is_long(path):
        return os.stat(path) if follow else os.lstat(path)
    with open_parent(path) as (name, directory):
        return os.stat(name, dir_fd=directory, follow_symlinks=follow)


@contextmanager
def list_directory(path: str) -> Iterator[Iterator[os.DirEntry[Any]]]:
    """The entries of a directory, in no particular order. Raises `OSError`."""
    if not is_long(path):
        with os.scandir(os.fsencode(path)) as entries:
            yield entries
        return
    with open_parent(path) as (name, directory):
        descriptor = os.open(name, open_flags("O_RDONLY", "O_DIRECTORY"), dir_fd=directory)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)
