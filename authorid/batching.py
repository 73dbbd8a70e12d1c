"""Windows become batches of equal length.

Small batches keep the activations in the core's L2 cache, and windows of equal length need neither padding nor
mask. So windows wait in buckets, one a length, and whoever has a free core takes the batch that is due.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.windows import Window

__all__ = ["Batch", "Batcher"]

_COMPANY = 0.05
"""Seconds that a window waits for others of its length while a core has nothing to do."""


@dataclass(frozen=True, slots=True)
class Batch:
    """Windows of one length: `ids` int32 [b, s]; `owners` [b] are (document, position) of each row."""

    ids: npt.NDArray[np.int32]
    owners: tuple[tuple[int, int], ...]


class Batcher:
    """A bounded pool of windows between many producers and many consumers.

    `budget` is the size of a batch in tokens (a window longer than it travels alone); `capacity` how many windows
    may wait; `patience` how many windows may overtake one that waits for company of its length. Where windows come
    slowly, none waits longer than a moment for company.
    """

    def __init__(self, budget: int, capacity: int = 256, patience: int = 192) -> None:
        self.budget = budget
        self.capacity = capacity
        self.patience = patience
        self._buckets: dict[int, deque[tuple[int, float, Window]]] = {}
        self._waiting = 0
        self._added = 0
        self._blocked = 0
        self._hurried = False
        self._closed = False
        self._changed = threading.Condition()

    def put(self, window: Window) -> bool:
        """Add a window, waiting while the pool is full. False when the pool was closed meanwhile."""
        with self._changed:
            while self._waiting >= self.capacity and not self._closed:
                self._blocked += 1
                self._changed.notify_all()
                self._changed.wait()
                self._blocked -= 1
            if self._closed:
                return False
            entry = (self._added, time.monotonic(), window)
            self._buckets.setdefault(len(window.ids), deque()).append(entry)
            self._added += 1
            self._waiting += 1
            self._changed.notify()
            return True

    def hurry(self, hurried: bool) -> None:
        """Say that the producers are waiting for results: until they go on, batches need not be full."""
        with self._changed:
            self._hurried = hurried
            self._changed.notify_all()

    def close(self, *, discard: bool = False) -> None:
        """No more windows will come; with `discard`, those that wait are dropped."""
        with self._changed:
            self._closed = True
            if discard:
                self._buckets.clear()
                self._waiting = 0
            self._changed.notify_all()

    def get(self) -> Batch | None:
        """The next batch, waiting for one that is due; None when the pool is closed and empty."""
        with self._changed:
            while True:
                length = self._due()
                if length is not None:
                    return self._take(length)
                if self._closed and not self._waiting:
                    return None
                self._changed.wait(_COMPANY if self._waiting else None)

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
        windows = [bucket.popleft()[-1] for _ in range(min(self._size(length), len(bucket)))]
        if not bucket:
            del self._buckets[length]
        self._waiting -= len(windows)
        self._changed.notify_all()
        return Batch(
            np.stack([window.ids for window in windows]),
            tuple((window.document, window.position) for window in windows),
        )
