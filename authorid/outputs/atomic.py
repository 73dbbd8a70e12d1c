"""Files that survive: every write, fsync and rename that a run's results depend on goes through here.

One place, so that tests can pull the plug at each of these seams.
"""

from __future__ import annotations

import errno
import os
from pathlib import Path

__all__ = ["create", "publish", "remove", "sync", "sync_directory", "write_all"]


def create(path: Path, mode: int = 0o666) -> int:
    """Open a new, empty file for writing; an older one at `path`, or a link, is removed and never followed.

    `mode` says who may read and write it, less what the umask takes away; its owner always may.
    """
    path.unlink(missing_ok=True)
    return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode & 0o666 | 0o600)


def write_all(descriptor: int, data: bytes) -> None:
    """Write all of `data`; a disk that runs full may take a part of it before it says so."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def sync(descriptor: int) -> None:
    """Wait until what was written is on the disk."""
    os.fsync(descriptor)


def publish(temporary: Path, target: Path) -> None:
    """Give a synced file its name, replacing what had it, and make the change of name last."""
    temporary.replace(target)
    sync_directory(target.parent)


def remove(path: Path) -> None:
    """Remove a file if it is there."""
    path.unlink(missing_ok=True)


def sync_directory(path: Path) -> None:
    """Make the names in the directory `path` last, where the file system can do that."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems have no such thing
            raise
    finally:
        os.close(descriptor)
