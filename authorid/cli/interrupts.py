"""Ctrl-C and SIGTERM: the first ends a command in good order and soon, the second ends the process at once."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Interrupts", "raise_interrupt"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)

_GRACE = 2.5
"""Seconds after the first signal in which the block must end."""


def raise_interrupt() -> None:
    """Unwind the main thread: for work that needs no other way to stop."""
    raise KeyboardInterrupt


def _only_note() -> None:
    """Do nothing yet: for work that must not be interrupted, such as the import of a library."""


class Interrupts:
    """While the block runs, the first SIGINT or SIGTERM calls `stop`, and a second one ends the process at once.

    The process is ended too when the block has not ended `_GRACE` seconds after the first signal, whatever holds it up.
    That loses nothing but work, because files are replaced in one step and journals are always whole.

    `exit_code` is None, or 128 plus the number of the first signal. An exception from `stop` may pass through libraries
    that turn it into another one or drop it, so `exit_code` alone says whether there was a signal. In threads other
    than the main one, which get no signals, nothing is done.
    """

    def __init__(self, stop: Callable[[], None] = _only_note) -> None:
        self.exit_code: int | None = None
        self.stop = stop
        self._former: dict[signal.Signals, Any] = {}
        self._ended = False

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        self._ended = True
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def ignore_from_now_on(self) -> None:
        """Ignore both signals after the block: the command is over, and its exit code must be the one that is seen."""
        for number in self._former:
            self._former[number] = signal.SIG_IGN

    def exit_if_interrupted(self) -> None:
        """Raise `SystemExit` when there was a signal."""
        if self.exit_code is not None:
            raise SystemExit(self.exit_code)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.exit_code is not None:
            _exit_at_once(128 + number)
        self.exit_code = 128 + number
        # Not a `threading.Thread`: the main thread may hold that module's lock at this moment.
        with contextlib.suppress(RuntimeError):  # no threads to be had
            _thread.start_new_thread(self._end_late, (128 + number,))
        self.stop()

    def _end_late(self, exit_code: int) -> None:
        time.sleep(_GRACE)
        if not self._ended:
            with contextlib.suppress(OSError):
                os.write(2, b"error: interrupted\n")
            _exit_at_once(exit_code)


def _exit_at_once(exit_code: int) -> None:
    """End the process without any cleanup, which a lock, queue or disk could hold up. The journal is always whole."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
    os._exit(exit_code)
