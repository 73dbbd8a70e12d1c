"""What was read and waits for whoever starts on it: taken as much at a time as there is."""

from __future__ import annotations

import threading
from collections import deque
from typing import Generic, TypeVar

__all__ = ["Intake"]

_T = TypeVar("_T")


class Intake(Generic[_T]):
    """A bounded queue between a reader and several `takers`, each of which gets its share of what is there.

    Where reading is fast, shares are big, up to `most` items or `weight` in all, and threads seldom wait for one
    another; where it is slow, nothing waits for what comes next. A few such shares are held; a heavier item travels
    alone.
    """

    def __init__(self, takers: int, most: int, weight: int) -> None:
        self._takers = takers
        self._most = most
        self._weight = weight
        self._held: deque[tuple[_T, int]] = deque()
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
            self._held.append((item, weight))
            self._weighs += weight
            self._changed.notify()
            return True

    def take(self) -> list[_T]:
        """A share of what is there, in its order, waiting while there is nothing; empty when nothing more will come."""
        with self._changed:
            while not self._held and not self._closed:
                self._changed.wait()
            # Not all of it, or at the end one taker would have everything and the others nothing.
            count = min(self._most, -(-len(self._held) // self._takers))
            share: list[_T] = []
            left = self._weight
            while len(share) < count and (not share or self._held[0][1] <= left):
                item, weight = self._held.popleft()
                share.append(item)
                left -= weight
                self._weighs -= weight
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

    def _full(self) -> bool:
        shares = self._takers + 1  # those that are next, and one that is being read
        return len(self._held) >= shares * self._most or self._weighs >= shares * self._weight
