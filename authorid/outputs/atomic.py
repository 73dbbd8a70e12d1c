"""Durable files and directories: every write, fsync and rename that results and models depend on is made here.

They are in one module so that tests can interrupt a run at each of them.
"""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

from authorid.portability import open_flags

__all__ = [
    "create",
    "exchange",
    "is_at",
    "make_directory",
    "move",
    "publish",
    "remove",
    "remove_tree",
    "sync",
    "sync_directory",
    "write_all",
    "write_file",
]


def create(path: Path, mode: int = 0o666) -> int:
    """Open a new, empty file for writing. Raises `FileExistsError` if something is at `path`, even a symbolic link.

    `mode` is the mode of the file; the umask applies, and its owner can always read and write it.
    """
    return os.open(path, open_flags("O_WRONLY", "O_CREAT", "O_EXCL"), mode & 0o666 | 0o600)


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
    if not hasattr(os, "O_DIRECTORY"):  # Windows opens no directories
        return
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):  # some network file systems do not support it
            raise
    finally:
        os.close(descriptor)


def write_file(path: Path, data: bytes) -> None:
    """Write `data` to `path`; a file that is there is replaced in one step."""
    temporary = path.with_name(f".{path.name}.tmp")
    descriptor = create(temporary)
    try:
        write_all(descriptor, data)
        sync(descriptor)
    finally:
        os.close(descriptor)
    publish(temporary, path)


def make_directory(path: Path, mode: int = 0o777) -> None:
    """Create the directory `path`; the umask applies to `mode`."""
    path.mkdir(mode)
    sync_directory(path.parent)


def move(source: Path, target: Path) -> None:
    """Rename a directory to `target`, where nothing or an empty directory is, and make that durable."""
    source.rename(target)
    sync_directory(target.parent)
    sync_directory(source.parent)


def exchange(first: Path, second: Path) -> None:
    """Exchange the names of two directories in one step, and make that durable.

    Raises `OSError`, with `errno.EINVAL`, `ENOSYS` or `EOPNOTSUPP` where the system or the file system cannot do it.
    """
    import ctypes  # only here: it takes a moment, and scoring does without

    # Windows has no library of this kind.
    renameat2 = None if os.name == "nt" else getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if renameat2 is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    here, swap = ctypes.c_int(-100), ctypes.c_uint(2)  # AT_FDCWD, RENAME_EXCHANGE
    if renameat2(here, os.fsencode(first), here, os.fsencode(second), swap):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), os.fspath(first), None, os.fspath(second))
    sync_directory(second.parent)
    sync_directory(first.parent)


def remove_tree(path: Path) -> None:
    """Remove a directory and all that is in it; links are removed, never followed."""
    shutil.rmtree(path)
