"""The lock that keeps two runs from writing the same results; it ends with its process."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from authorid.errors import OutputError, os_error_reason

__all__ = ["exclusive_lock"]


@contextmanager
def exclusive_lock(path: Path, out: str) -> Iterator[None]:
    """Hold the lock file `path` while `out` is written. Raises `OutputError`, with its id, if another process holds it.

    The kernel releases the lock when the process ends, however it ends. So a lock file that is left over means nothing.
    """
    descriptor = _acquire(path, out)
    try:
        yield
    finally:
        # Removed while it is still locked: a process that has opened it meanwhile notices that it is no longer in use.
        with contextlib.suppress(OSError):
            path.unlink()
        os.close(descriptor)


def _acquire(path: Path, out: str) -> int:
    while True:
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            raise OutputError(f"{out}: cannot write there: {os_error_reason(error)}") from None
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(descriptor, path):
                os.ftruncate(descriptor, 0)
                os.write(descriptor, f"{os.getpid()}\n".encode("ascii"))
                return descriptor
            os.close(descriptor)  # its owner removed it between our opening and our locking
        except BlockingIOError:
            owner = os.read(descriptor, 32).decode("ascii", "replace").strip()
            os.close(descriptor)
            by = f" (process {owner})" if owner.isdigit() else ""
            raise OutputError(f"{out}: another run is writing it{by}; wait for it, or choose another --out") from None
        except OSError as error:
            os.close(descriptor)
            raise OutputError(f"{out}: cannot lock {path.name}: {os_error_reason(error)}") from None


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False
