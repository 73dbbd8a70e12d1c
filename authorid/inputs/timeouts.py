"""Calls that may never return, and how to stop waiting for them.

A read from a network file system whose server has gone sleeps in the kernel, where nothing can wake it. So it is
made in a thread of its own, and when that does not answer in time, the thread is left behind.
"""

from __future__ import annotations

import errno
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["ENDLESS", "Patience"]

T = TypeVar("T")


class Patience:
    """Makes calls and waits for each at most `seconds`; None: makes them directly, for as long as they take.

    At most `most` threads are left behind; while so many hang, further calls fail at once. Not to be shared
    between threads. A context manager: leaving it lets the thread that waits for work go.
    """

    def __init__(self, seconds: float | None = None, most: int = 16) -> None:
        # More than a lock can wait for, such as infinity, is as long as it can.
        self._seconds = None if seconds is None else min(seconds, threading.TIMEOUT_MAX)
        self._most = most
        self._helper: queue.SimpleQueue[Any] | None = None
        self._left: list[queue.SimpleQueue[Any]] = []

    def __enter__(self) -> Patience:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()

    def call(self, work: Callable[[], T]) -> T:
        """The result of `work()`, or what it raises. Raises `TimeoutError` when it does not answer in time."""
        if self._seconds is None:
            return work()
        self._left = [answer for answer in self._left if answer.empty()]
        if len(self._left) >= self._most:
            raise TimeoutError(errno.ETIMEDOUT, f"not tried: {self._most} earlier reads have not answered")
        if self._helper is None:
            self._helper = queue.SimpleQueue()
            threading.Thread(target=_help, args=(self._helper,), name="authorid-reader", daemon=True).start()
        answer: queue.SimpleQueue[tuple[Any, BaseException | None]] = queue.SimpleQueue()
        self._helper.put((work, answer))
        try:
            result, error = answer.get(timeout=self._seconds)
        except queue.Empty:
            self._left.append(answer)
            self._dismiss()
            raise TimeoutError(errno.ETIMEDOUT, f"no answer within {self._seconds:g} s (see --timeout)") from None
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]

    def _dismiss(self) -> None:
        if self._helper is not None:
            self._helper.put(None)
            self._helper = None


ENDLESS = Patience()
"""Waits for as long as it takes, and so may be shared."""


def _help(inbox: queue.SimpleQueue[Any]) -> None:
    while (task := inbox.get()) is not None:
        work, answer = task
        try:
            answer.put((work(), None))
        except BaseException as error:
            answer.put((None, error))
        del task, work, answer  # hold no file's bytes while waiting for the next
