"""Calls that may never return, and a limit on the time to wait for them.

A read from a network file system whose server is down sleeps in the kernel, where nothing can interrupt it. With a
timeout, each call therefore runs in a helper thread. If the call does not return in time, that thread is abandoned.
"""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["NO_TIMEOUT", "Timeout"]

T = TypeVar("T")


class Timeout:
    """Runs calls and waits at most `seconds` for each. If `seconds` is None, calls run directly and without a limit.

    At most `max_abandoned` threads are abandoned; while that many hang, further calls fail at once. Not thread-safe.
    Use it as a context manager: on exit, the idle helper thread ends.
    """

    def __init__(self, seconds: float | None = None, max_abandoned: int = 16) -> None:
        # A lock cannot wait longer than TIMEOUT_MAX; infinity, for one, is longer.
        self._seconds = None if seconds is None else min(seconds, threading.TIMEOUT_MAX)
        self._max_abandoned = max_abandoned
        self._helper: queue.SimpleQueue[Any] | None = None
        self._abandoned: list[queue.SimpleQueue[Any]] = []

    def __enter__(self) -> Timeout:
        return self

    def __exit__(self, *_: object) -> None:
        self._release_helper()

    def call(self, work: Callable[[], T]) -> T:
        """The result of `work()`, or the exception it raises. Raises `TimeoutError` if it does not return in time."""
        if self._seconds is None:
            return work()
        self._abandoned = [answer for answer in self._abandoned if answer.empty()]
        if len(self._abandoned) >= self._max_abandoned:
            raise TimeoutError(errno.ETIMEDOUT, f"not tried: {self._max_abandoned} earlier reads have not answered")
        if self._helper is None:
            self._helper = queue.SimpleQueue()
            threading.Thread(target=_run_calls, args=(self._helper,), name="authorid-reader", daemon=True).start()
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._helper.put((work, answer))
        try:
            result, error = answer.get(timeout=self._seconds)
        except queue.Empty:
            self._abandoned.append(answer)
            self._release_helper()
            raise TimeoutError(errno.ETIMEDOUT, f"no answer within {self._seconds:g} s (see --timeout)") from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _release_helper(self) -> None:
        if self._helper is not None:
            self._helper.put(None)
            self._helper = None


NO_TIMEOUT = Timeout()
"""Waits without a limit. It keeps no state, so threads may share it."""


def _run_calls(inbox: queue.SimpleQueue[Any]) -> None:
    while (task := inbox.get()) is not None:
        work, answer = task
        try:
            answer.put((work(), None))
        except BaseException as error:
            answer.put((None, error))
        del task, work, answer  # do not keep a file's bytes in memory until the next call
