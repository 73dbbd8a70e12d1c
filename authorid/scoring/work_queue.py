"""What was read and waits for whoever starts on it: much at a time where there is much, and nothing for long."""

from __future__ import annotations

import threading
import time
from collections import deque
from typing import Generic, TypeVar

__all__ = ["WorkQueue"]

_T = TypeVar("_T")

_COMPANY = 0.05
"""Seconds that an item waits for others while a taker has nothing to do."""


class WorkQueue(Generic[_T]):
    """A bounded queue between a reader and several `takers`, each of which gets a share at a time.

    A share has up to `most` items or `weight` in all; a heavier item travels alone. The first one goes when `first`
    items are there, each of the next waits for twice as many, up to `most`: the bigger shares are, the more seldom
    threads wait for one another, but the first answers should come soon. Where items come slowly, none waits longer
    than a moment for company. No more than the next two are held.
    """

    def __init__(self, takers: int, first: int, most: int, weight: int) -> None:
        self._takers = takers
        self._wanted = first
        self._most = most
        self._weight = weight
        self._held: deque[tuple[_T, int, float]] = deque()
        self._weighs = 0
        self._closed = False
        self._changed = threading.Condition()

    def put(self, item: _T, weight: int) -> bool:
        """Add an item, waiting while there is too much. False when the intake was closed meanwhile."""
        with self._changed:
            while self._full() and not self._closed:
                self._changed.wait()
            if self._closed:
                return False
            self._held.append((item, weight, time.monotonic()))
            self._weighs += weight
            # A taker looks when there is one, to know how long that may wait, and when there is a share.
            if len(self._held) == 1 or self._enough():
                self._changed.notify()
            return True

    def take(self) -> list[_T]:
        """A share, in order, waiting for one that is due; empty when nothing more will come."""
        with self._changed:
            while not self._closed and not self._enough() and (left := self._patience()) != 0:
                self._changed.wait(left)
            # At the end everybody gets a part of what is left, or one taker would have it all and the others nothing.
            count = -(-len(self._held) // self._takers) if self._closed else len(self._held)
            share: list[_T] = []
            room = self._weight
            while len(share) < min(count, self._wanted) and (not share or self._held[0][1] <= room):
                item, weight, _ = self._held.popleft()
                share.append(item)
                room -= weight
                self._weighs -= weight
            self._wanted = min(2 * self._wanted, self._most)
            self._changed.notify_all()
            return share

    def close(self, *, discard: bool = False) -> None:
        """No more items will come; with `discard`, those that wait are dropped."""
        with self._changed:
            self._closed = True
            if discard:
                self._held.clear()
                self._weighs = 0
            self._changed.notify_all()

    def _enough(self) -> bool:
        return len(self._held) >= self._wanted or self._weighs >= self._weight

    def _patience(self) -> float | None:
        """Seconds that the oldest item may still wait; None when there is none."""
        return max(0.0, self._held[0][2] + _COMPANY - time.monotonic()) if self._held else None

    def _full(self) -> bool:
        return len(self._held) >= 2 * self._most or self._weighs >= 2 * self._weight
