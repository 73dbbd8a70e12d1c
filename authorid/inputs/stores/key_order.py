"""From the order in which an object store lists its keys to the order of a walk, in bounded memory.

A store lists keys in the order of their bytes: ``a.txt`` before ``a/x``. A walk sorts by the parts between slashes:
the directory ``a`` before ``a.txt``. So a key must wait while another may come that belongs before it: one that is
equal up to a place where this has a character below the slash, and has a slash there. Such a prefix is a threat here.
Mostly the next key shows that there is nothing below it. If too many keys wait, the store is asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator

from authorid.errors import AuthoridError
from authorid.inputs.stores.store import ObjectInfo

__all__ = ["Pages", "in_walk_order"]

Pages = Callable[[str, str], Iterator[list[ObjectInfo]]]
"""``pages(prefix, after)`` lists what is below `prefix` and after the key `after`, both below the root, in pages."""

_MOST_WAITING = 4096
_LAST = "\U0010ffff"


def in_walk_order(pages: Pages, prefix: str = "") -> Iterator[ObjectInfo]:
    """Yield everything below `prefix` in walk order. Raises `AuthoridError` if the pages are not sorted."""
    waiting: list[tuple[tuple[bytes, ...], ObjectInfo]] = []
    absent: set[str] = set()
    done: set[str] = set()
    after, last = "", ""
    while True:
        jump = None
        for item in (item for page in pages(prefix, after) for item in page):
            key = item.below
            if last and key <= last:  # the order of code points is that of bytes in UTF-8
                raise AuthoridError(f"the store does not sort its keys: it lists {last!r} before {key!r}")
            jump = next((threat for threat in done if key.startswith(threat)), None)
            if jump is not None:
                break
            last = key
            heapq.heappush(waiting, (_parts(key), item))
            while waiting:
                threats = [
                    t for t in _threats(waiting[0][1].below, len(prefix)) if t not in absent and not _past(t, key)
                ]
                if not threats:
                    yield heapq.heappop(waiting)[1]
                    continue
                if len(waiting) < _MOST_WAITING or key.startswith(threats[0]):
                    break
                yield from in_walk_order(pages, threats[0])
                done.add(threats[0])
                absent.add(threats[0])
            if len(absent) > _MOST_WAITING:
                absent = {threat for threat in absent if not _past(threat, key)}
                done &= absent
        if jump is None:
            break
        after = jump + _LAST
    while waiting:
        yield heapq.heappop(waiting)[1]


def _parts(key: str) -> tuple[bytes, ...]:
    return tuple(key.encode("utf-8", "surrogatepass").split(b"/"))


def _threats(key: str, start: int) -> list[str]:
    """The prefixes of keys that may come later and belong before `key`, those first that belong first."""
    return [f"{key[:place]}/" for place in range(start, len(key)) if key[place] < "/"]


def _past(threat: str, key: str) -> bool:
    """Whether a listing that has come to `key` is past everything that begins with `threat`."""
    return key > threat and not key.startswith(threat)
