"""The lock that keeps two runs from writing the same results; it ends with its process.

The lock file holds the id of the process and the token of its `RunFiles`. So the next run can remove the unfinished
file of one that was killed, whose name nothing else tells.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authorid import portability
from authorid.errors import BusyError, OutputError, os_error_reason
from authorid.outputs import atomic
from authorid.outputs.run_files import TOKEN_LENGTH, RunFiles
from authorid.portability import open_flags

try:
    import fcntl
except ImportError:  # no locks: see authorid.portability.lost_promises
    fcntl = None  # type: ignore[assignment]

__all__ = ["exclusive_lock", "run_lock"]

_CONTENT = re.compile(rb"([0-9]{0,20})(?:\n([0-9a-f]{0,%d})\n?)?" % TOKEN_LENGTH)
"""What a lock file contains, whole or cut short by a crash."""


@contextmanager
def exclusive_lock(path: Path, out: str) -> Iterator[None]:
    """Hold the lock file `path` while `out` is written. Raises `BusyError` if another process holds it.

    The kernel releases the lock when the process ends, however it ends. So a lock file that is left over means nothing.
    """
    descriptor = _acquire(path, out)
    try:
        _write(descriptor, f"{os.getpid()}\n")
        yield
    finally:
        _release(descriptor, path)


@contextmanager
def run_lock(files: RunFiles, out: str) -> Iterator[None]:
    """Hold the lock file of `files` while the run `out` goes on, and remove what a run that was killed has left.

    Raises `OutputError` as `exclusive_lock` does, and if there is a file with that name and another content, which is
    not touched.
    """
    descriptor = _acquire(files.lock, out)
    _take_over(descriptor, files, out)
    try:
        yield
    finally:
        _release(descriptor, files.lock)


def _acquire(path: Path, out: str) -> int:
    while True:
        try:
            descriptor = os.open(path, open_flags("O_RDWR", "O_CREAT", "O_NOFOLLOW"), 0o666)
        except OSError as error:
            raise OutputError(f"{out}: cannot write there: {os_error_reason(error)}") from None
        try:
            if fcntl is not None:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = _read(descriptor, 32).partition(b"\n")[0].decode("ascii", "replace")
            os.close(descriptor)
            by = f" (process {owner})" if owner.isdigit() else ""
            raise BusyError(f"{out}: another run is writing it{by}; wait for it, or choose another --out") from None
        except OSError as error:
            os.close(descriptor)
            raise OutputError(f"{out}: cannot lock {path.name}: {os_error_reason(error)}") from None
        if atomic.is_at(descriptor, path):
            return descriptor
        os.close(descriptor)  # its owner removed it between our opening and our locking


def _take_over(descriptor: int, files: RunFiles, out: str) -> None:
    """Remove what a run that was killed has left, and write who holds the lock now."""
    content = _CONTENT.fullmatch(_read(descriptor, 64))
    if content is None:
        os.close(descriptor)
        raise OutputError(
            f"{files.lock}: not a lock of authorid, which needs this name; move it away, or choose another --out"
        )
    try:
        token = (content[2] or b"").decode("ascii")
        if len(token) == TOKEN_LENGTH:
            atomic.remove(RunFiles(files.target, token).partial)
        _write(descriptor, f"{os.getpid()}\n{files.token}\n")
        atomic.sync(descriptor)  # before there is a file with this token
    except BaseException as error:
        _release(descriptor, files.lock)
        if isinstance(error, OSError):
            raise OutputError(f"{out}: cannot write there: {os_error_reason(error)}") from None
        raise


def _release(descriptor: int, path: Path) -> None:
    # Removed while it is still locked: a process that has opened it meanwhile notices that it is no longer in use.
    if atomic.is_at(descriptor, path):
        if not portability.MOVES_OPEN_FILES:
            os.close(descriptor)
        with contextlib.suppress(OSError):
            path.unlink()
        if not portability.MOVES_OPEN_FILES:
            return
    os.close(descriptor)


def _read(descriptor: int, size: int) -> bytes:
    """The first `size` bytes of a file."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    return os.read(descriptor, size)


def _write(descriptor: int, content: str) -> None:
    """Make `content` all that is in a file."""
    os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_SET)
    os.write(descriptor, content.encode("ascii"))
