"""Windows become batches of equal length.

Small batches keep the activations in the core's L2 cache, and windows of equal length need neither padding nor
mask. So windows wait in buckets, one a length, and whoever has a free core takes the batch that is due.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Window

__all__ = ["Batch", "Batcher"]

_COMPANY = 0.05
"""Seconds that a window waits for others of its length while a core has nothing to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one length."""

    windows: tuple[Window, ...]

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Their token ids, int32 [b, s]: a copy, made when it is asked for."""
        return np.stack([window.ids for window in self.windows])

    @property
    def owners(self) -> tuple[tuple[int, int], ...]:
        """(document, position) of each."""
        return tuple((window.document, window.position) for window in self.windows)

    @property
    def tokens(self) -> int:
        """How many they have in all."""
        return sum(len(window.ids) for window in self.windows)

    def halves(self) -> tuple[Batch, Batch]:
        """The same in two batches."""
        half = len(self.windows) // 2
        return Batch(self.windows[:half]), Batch(self.windows[half:])


class Batcher:
    """A bounded pool of windows between many producers and many consumers.

    `budget` is the size of a batch in tokens (a window longer than it travels alone); `capacity` how many windows
    may wait; `patience` how many windows may overtake one that waits for company of its length. Where windows come
    slowly, none waits longer than a moment for company.

    Windows that are not put yet, but will be, take memory too: a document is begun with all of its windows, and while
    those begun and not finished have `begun` windows or more in all, no other is.
    """

    def __init__(self, budget: int, capacity: int = 256, patience: int = 192, begun: int = 1 << 14) -> None:
        self.budget = budget
        self.capacity = capacity
        self.patience = patience
        self.begun = begun
        self._buckets: dict[int, deque[tuple[int, float, Window]]] = {}
        self._begun = 0
        self._waiting = 0
        self._added = 0
        self._blocked = 0
        self._hurried = False
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def begin(self, windows: int) -> bool:
        """Begin a document that has so many, waiting while too much is begun. False when the pool was closed."""
        with self._emptied:
            if not self._wait_until(lambda: self._begun < self.begun):
                return False
            self._begun += windows
            return True

    def finish(self, windows: int) -> None:
        """Say that a document that was begun has no more use for its windows."""
        with self._emptied:
            self._begun -= windows
            self._emptied.notify_all()

    def put(self, window: Window, *, wait: bool = True) -> bool:
        """Add a window, waiting while the pool is full unless told not to. False when the pool was closed."""
        with self._emptied:
            if not self._wait_until(lambda: not wait or self._waiting < self.capacity):
                return False
            entry = (self._added, time.monotonic(), window)
            self._buckets.setdefault(len(window.ids), deque()).append(entry)
            self._added += 1
            self._waiting += 1
            self._filled.notify()
            return True

    def hurry(self, hurried: bool) -> None:
        """Say that the producers are waiting for results: until they go on, batches need not be full."""
        with self._filled:
            self._hurried = hurried
            self._filled.notify_all()

    def close(self, *, discard: bool = False) -> None:
        """No more windows will come; with `discard`, those that wait are dropped."""
        with self._filled:
            self._closed = True
            if discard:
                self._buckets.clear()
                self._waiting = 0
            self._filled.notify_all()
            self._emptied.notify_all()

    def get(self) -> Batch | None:
        """The next batch, waiting for one that is due; None when the pool is closed and empty."""
        with self._filled:
            while True:
                length = self._due()
                if length is not None:
                    return self._take(length)
                if self._closed and not self._waiting:
                    return None
                self._filled.wait(_COMPANY if self._waiting else None)

    def _wait_until(self, free: Callable[[], bool]) -> bool:
        """Wait as a producer, and have batches go unfilled meanwhile. False when the pool was closed."""
        if not free() and not self._closed:
            self._blocked += 1
            self._filled.notify_all()
            self._emptied.wait_for(lambda: free() or self._closed)
            self._blocked -= 1
        return not self._closed

    def _size(self, length: int) -> int:
        return max(1, self.budget // length)

    def _due(self) -> int | None:
        """Length of the bucket to serve now: the one that waits longest among those that are due."""
        anything = self._blocked > 0 or self._hurried or self._closed
        latest = time.monotonic() - _COMPANY
        best, oldest = None, self._added
        for length, bucket in self._buckets.items():
            place, since, _ = bucket[0]
            late = since <= latest or self._added - place > self.patience
            due = anything or late or len(bucket) >= self._size(length)
            if due and place < oldest:
                best, oldest = length, place
        return best

    def _take(self, length: int) -> Batch:
        bucket = self._buckets[length]
        windows = tuple(bucket.popleft()[-1] for _ in range(min(self._size(length), len(bucket))))
        if not bucket:
            del self._buckets[length]
        self._waiting -= len(windows)
        self._emptied.notify_all()
        if self._waiting:
            self._filled.notify()
        return Batch(windows)
