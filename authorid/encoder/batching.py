"""Batching: windows of equal length are grouped into small batches.

Small batches keep the activations in the core's L2 cache, and windows of equal length need neither padding nor a mask.
Windows therefore wait in buckets, one for each length, and each idle worker takes the next batch that is due.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Window

__all__ = ["Batch", "Batcher"]

_LINGER = 0.05
"""Seconds that a window waits for others of its length before an idle worker runs a partial batch."""


class Batch(NamedTuple):
    """Windows of one length."""

    windows: tuple[Window, ...]

    @property
    def ids(self) -> npt.NDArray[np.int32]:
        """Token ids, int32 [b, s]; a new array on every access."""
        return np.stack([window.ids for window in self.windows])

    @property
    def owners(self) -> tuple[tuple[int, int], ...]:
        """(document, position) of each window."""
        return tuple((window.document, window.position) for window in self.windows)

    @property
    def tokens(self) -> int:
        """Number of tokens in all windows."""
        return sum(len(window.ids) for window in self.windows)

    def halves(self) -> tuple[Batch, Batch]:
        """The windows of this batch in two batches."""
        half = len(self.windows) // 2
        return Batch(self.windows[:half]), Batch(self.windows[half:])


class Batcher:
    """A bounded pool of windows between several producers and several consumers.

    `batch_tokens` is the largest size of a batch in tokens; a window that is longer gets a batch of its own. `capacity`
    is the number of windows that may wait in the pool. A batch is due when it is full, when its oldest window has
    lingered, or when `max_overtakes` windows were added after that window. Partial batches are due as well while a
    producer waits for room, so that producers and consumers never wait for each other.

    A document takes memory for all of its windows, also for those that are not in the pool yet. A producer therefore
    calls `begin` before the first window of a document and `finish` after its last result. `begin` waits while the
    documents in progress have `max_begun_windows` windows or more in total.
    """

    def __init__(
        self, batch_tokens: int, capacity: int = 256, max_overtakes: int = 192, max_begun_windows: int = 1 << 14
    ) -> None:
        self.batch_tokens = batch_tokens
        self.capacity = capacity
        self.max_overtakes = max_overtakes
        self.max_begun_windows = max_begun_windows
        self._buckets: dict[int, deque[tuple[int, float, Window]]] = {}  # by length: (sequence number, time, window)
        self._begun_windows = 0
        self._waiting = 0
        self._added = 0
        self._blocked_producers = 0
        self._partial_allowed = False
        self._closed = False
        lock = threading.Lock()
        self._filled = threading.Condition(lock)
        self._emptied = threading.Condition(lock)

    def begin(self, windows: int) -> bool:
        """Register a document with this number of windows, after waiting for room.

        Returns False when the pool was closed.
        """
        with self._emptied:
            if not self._wait_until(lambda: self._begun_windows < self.max_begun_windows):
                return False
            self._begun_windows += windows
            return True

    def finish(self, windows: int) -> None:
        """Release the windows of a document that was registered with `begin`."""
        with self._emptied:
            self._begun_windows -= windows
            self._emptied.notify_all()

    def put(self, window: Window, *, wait: bool = True) -> bool:
        """Add a window. When the pool is full, wait for room, or exceed the capacity if `wait` is false.

        Returns False when the pool was closed.
        """
        with self._emptied:
            if not self._wait_until(lambda: not wait or self._waiting < self.capacity):
                return False
            entry = (self._added, time.monotonic(), window)
            self._buckets.setdefault(len(window.ids), deque()).append(entry)
            self._added += 1
            self._waiting += 1
            self._filled.notify()
            return True

    def allow_partial(self, allowed: bool) -> None:
        """While `allowed`, partial batches are due at once: call it when the producers wait for results."""
        with self._filled:
            self._partial_allowed = allowed
            self._filled.notify_all()

    def close(self, *, discard: bool = False) -> None:
        """Accept no more windows. With `discard`, also drop those in the pool."""
        with self._filled:
            self._closed = True
            if discard:
                self._buckets.clear()
                self._waiting = 0
            self._filled.notify_all()
            self._emptied.notify_all()

    def get(self) -> Batch | None:
        """The next batch, after waiting until one is due; None when the pool is closed and empty."""
        with self._filled:
            while True:
                length = self._due()
                if length is not None:
                    return self._take(length)
                if self._closed and not self._waiting:
                    return None
                self._filled.wait(_LINGER if self._waiting else None)

    def _wait_until(self, has_room: Callable[[], bool]) -> bool:
        """Wait as a producer; meanwhile partial batches are due. Returns False when the pool was closed."""
        if not has_room() and not self._closed:
            self._blocked_producers += 1
            self._filled.notify_all()
            self._emptied.wait_for(lambda: has_room() or self._closed)
            self._blocked_producers -= 1
        return not self._closed

    def _batch_size(self, length: int) -> int:
        """Number of windows of this length in a full batch."""
        return max(1, self.batch_tokens // length)

    def _due(self) -> int | None:
        """The length of the next batch: of all buckets with a batch that is due, the one with the oldest window."""
        partial = self._blocked_producers > 0 or self._partial_allowed or self._closed
        latest = time.monotonic() - _LINGER
        best, oldest = None, self._added
        for length, bucket in self._buckets.items():
            number, added_at, _ = bucket[0]
            late = added_at <= latest or self._added - number > self.max_overtakes
            due = partial or late or len(bucket) >= self._batch_size(length)
            if due and number < oldest:
                best, oldest = length, number
        return best

    def _take(self, length: int) -> Batch:
        bucket = self._buckets[length]
        windows = tuple(bucket.popleft()[-1] for _ in range(min(self._batch_size(length), len(bucket))))
        if not bucket:
            del self._buckets[length]
        self._waiting -= len(windows)
        self._emptied.notify_all()
        if self._waiting:
            self._filled.notify()
        return Batch(windows)
