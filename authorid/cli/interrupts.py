"""Ctrl-C and SIGTERM: the first stops a run in good order, the second ends the process at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While the block runs, the first SIGINT or SIGTERM calls `stop`; a second one ends the process at once.

    `exit_code` is None, or 128 plus the number of the first signal. Only for the main thread, as all signal handlers.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.exit_code: int | None = None
        self._stop = stop
        self._former: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._former = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._former.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: FrameType | None) -> None:
        if self.exit_code is not None:
            _exit_at_once(128 + number)
        self.exit_code = 128 + number
        self._stop()


def _exit_at_once(exit_code: int) -> None:
    """End the process without any cleanup, which a lock, queue or disk could hold up. The journal is always whole."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # show the cursor, which a progress bar hides
    os._exit(exit_code)
