"""Ctrl-C and SIGTERM: the first asks a run to end well, the second leaves at once."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from types import FrameType
from typing import Any

__all__ = ["Interrupts"]

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Interrupts:
    """While the block runs, the first SIGINT or SIGTERM calls `stop`; a second one ends the process there and then.

    `exit_code` is None, or 128 plus the number of the first signal. Only works in the main thread, as signals do.
    """

    def __init__(self, stop: Callable[[], None]) -> None:
        self.exit_code: int | None = None
        self._stop = stop
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> Interrupts:
        self._before = {number: signal.signal(number, self._arrived) for number in _SIGNALS}
        return self

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _arrived(self, number: int, _: FrameType | None) -> None:
        if self.exit_code is not None:
            _leave(128 + number)
        self.exit_code = 128 + number
        self._stop()


def _leave(exit_code: int) -> None:
    """End without any ceremony: no lock, queue or disk may hold this up. A journal stands whatever happens."""
    if os.isatty(2):
        os.write(2, b"\x1b[?25h\n")  # a progress line hides the cursor
    os._exit(exit_code)
