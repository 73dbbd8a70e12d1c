"""The queue of inputs between the reader thread and the text workers."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, NamedTuple, TypeVar

__all__ = ["WorkQueue"]

_T = TypeVar("_T")

_LINGER = 0.05
"""Maximum queue delay: seconds that an item waits for its chunk to fill while a consumer is idle."""


class _Entry(NamedTuple, Generic[_T]):
    item: _T
    size: int
    added: float


class WorkQueue(Generic[_T]):
    """A bounded queue between one producer and several `consumers`, which take chunks of items.

    A chunk has at most `max_items` items and a total size of at most `max_size`; a larger item is a chunk of its own.
    The first chunk is due when `first_items` items wait, and each later one needs twice as many as the one before, up
    to `max_items`: with large chunks threads wait for one another less often, but the first results should come soon.
    Where items arrive slowly, a chunk is due once its oldest item has waited for 50 ms. The queue holds no more than
    two full chunks.
    """

    def __init__(self, consumers: int, *, first_items: int, max_items: int, max_size: int) -> None:
        self._consumers = consumers
        self._chunk_items = first_items
        self._max_items = max_items
        self._max_size = max_size
        self._entries: deque[_Entry[_T]] = deque()
        self._total_size = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: _T, size: int) -> bool:
        """Add an item, waiting while the queue is full. Returns False when the queue was closed meanwhile."""
        with self._changed:
            while self._is_full() and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._entries.append(_Entry(item, size, time.monotonic()))
            self._total_size += size
            # A consumer wakes up for the first item, whose linger time it has to know, and for a full chunk.
            if len(self._entries) == 1 or self._has_full_chunk():
                self._changed.notify()
            return True

    def take(self) -> list[_T]:
        """Take the next chunk, in order, waiting until one is due. Returns [] when no more items will come."""
        with self._changed:
            while not self._closed and not self._has_full_chunk() and (delay := self._seconds_until_due()) != 0:
                self._changed.wait(delay)
            waiting = len(self._entries)
            # The last items are divided among the consumers; otherwise one would work while the others are idle.
            limit = min(-(-waiting // self._consumers) if self._closed else waiting, self._chunk_items)
            chunk: list[_T] = []
            size_left = self._max_size
            while len(chunk) < limit and (not chunk or self._entries[0].size <= size_left):
                entry = self._entries.popleft()
                chunk.append(entry.item)
                size_left -= entry.size
                self._total_size -= entry.size
            self._chunk_items = min(2 * self._chunk_items, self._max_items)
            self._changed.notify_all()
            return chunk

    def close(self, *, discard: bool = False) -> None:
        """Accept no more items; with `discard`, drop those that wait."""
        with self._changed:
            self._closed = True
            if discard:
                self._entries.clear()
                self._total_size = 0
            self._changed.notify_all()

    def _has_full_chunk(self) -> bool:
        return len(self._entries) >= self._chunk_items or self._total_size >= self._max_size

    def _seconds_until_due(self) -> float | None:
        """Seconds until the oldest item has waited long enough; None when the queue is empty."""
        return max(0.0, self._entries[0].added + _LINGER - time.monotonic()) if self._entries else None

    def _is_full(self) -> bool:
        return len(self._entries) >= 2 * self._max_items or self._total_size >= 2 * self._max_size
