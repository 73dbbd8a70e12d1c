"""Threads that the system may refuse: found out before libraries are imported, some of which end the process then."""

from __future__ import annotations

import _thread
import os
import time

from authorid.errors import AuthoridError
from authorid.machine import visible_cores

__all__ = ["require_threads"]

_LEAST = 4
"""Threads that a run has beside the main one: for reading, for texts, for the encoder, and one to spare."""


def require_threads() -> None:
    """Raise `AuthoridError` when the system allows this process too few threads.

    Where it allows some, but not as many as every library would start, the libraries are told to start none.
    """
    wanted = 2 * visible_cores() + _LEAST
    started = _startable(wanted)
    if started < _LEAST:
        raise AuthoridError(
            f"the system allows this process too few threads, {started} where at least {_LEAST} are needed: "
            "raise the limit (ulimit -u, or the pids limit of the container)"
        )
    if started < wanted:
        # OpenBLAS, which comes with numpy, interrupts the process when it gets no threads.
        for variable, value in (("OPENBLAS_NUM_THREADS", "1"), ("TOKENIZERS_PARALLELISM", "false")):
            os.environ.setdefault(variable, value)


def _startable(most: int) -> int:
    """How many threads can be started now, up to `most`."""
    before = _thread._count()
    started = 0
    gate = _thread.allocate_lock()
    with gate:
        try:
            while started < most:
                _thread.start_new_thread(_pass, (gate,))
                started += 1
        except RuntimeError:
            pass
    if started < most:
        while _thread._count() > before:
            time.sleep(0.001)
        time.sleep(0.05)  # for the kernel to forget them
    return started


def _pass(gate: _thread.LockType) -> None:
    with gate:
        pass
