"""Durable files: every write, fsync and rename that the results of a run depend on is made here.

They are in one module so that tests can interrupt a run at each of them.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["create", "is_at", "publish", "remove", "sync", "sync_directory", "write_all"]


def create(path: Path, mode: int = 0o666) -> int:
    """Open a new, empty file for writing. Raises `FileExistsError` if something is at `path`, even a symbolic link.

    `mode` is the mode of the file; the umask applies, and its owner can always read and write it.
    """
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o666 | 0o600)


def is_at(descriptor: int, path: Path) -> bool:
    """Whether the open file `descriptor` is the one at `path`: it may have been removed or replaced."""
    try:
        return os.path.samestat(os.fstat(descriptor), path.lstat())
    except OSError:
        return False


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`: when a disk becomes full, one call may write only a part of it."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(descriptor: int) -> None:
    """Wait until everything that was written is on the disk."""
    os.fsync(descriptor)


def publish(temporary: Path, target: Path) -> None:
    """Rename a synced file to `target`, replacing what is there, and make the rename durable."""
    temporary.replace(target)
    sync_directory(target.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make changes of names in the directory `path` durable, if the file system supports that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems do not support it
            raise
    finally:
        os.close(descriptor)
