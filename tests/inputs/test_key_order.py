"""From the order of keys in a store to the order of a walk."""

from __future__ import annotations

import string
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.errors import AuthoridError
from authorid.inputs.discovery import order_key
from authorid.inputs.stores import key_order
from authorid.inputs.stores.key_order import in_walk_order
from authorid.inputs.stores.store import ObjectInfo


class Listing:
    """Keys as a store lists them, and how many pages were asked for."""

    def __init__(self, keys: set[str], page: int = 3) -> None:
        self.keys = sorted(keys, key=lambda key: key.encode())
        self.page = page
        self.requests = 0

    def pages(self, prefix: str, after: str) -> Iterator[list[ObjectInfo]]:
        below = [key for key in self.keys if key.startswith(prefix) and key > after]
        for start in range(0, max(len(below), 1), self.page):
            self.requests += 1
            yield [ObjectInfo(key, 1, None) for key in below[start : start + self.page]]


def walked(listing: Listing) -> list[str]:
    return [info.below for info in in_walk_order(listing.pages)]


@given(st.sets(st.text("/.-a0", max_size=8).filter(bool), max_size=40), st.integers(1, 5))
def test_any_keys_come_in_walk_order(keys, most_waiting):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_order, "_MOST_WAITING", most_waiting)
        assert walked(Listing(keys)) == sorted(keys, key=lambda key: order_key(0, key))


def test_a_directory_comes_before_a_file_with_its_name_and_an_ending():
    assert walked(Listing({"a.txt", "a/x", "a-b/y", "a"})) == ["a", "a/x", "a-b/y", "a.txt"]


def test_many_names_that_begin_alike_are_listed_once_and_do_not_wait_for_the_last():
    listing = Listing({f"a-long-name-{number:06}.txt" for number in range(20_000)}, page=1000)
    walk = in_walk_order(listing.pages)
    next(walk)
    assert listing.requests <= 10
    assert sum(1 for _ in walk) == 20_000 - 1
    assert listing.requests <= 20 + 12


def test_a_directory_that_was_looked_for_is_not_listed_twice():
    names = {f"a-{number:05}" for number in range(9000)} | {f"a/{letter}" for letter in string.ascii_letters}
    listing = Listing(names, page=1000)
    assert walked(listing)[:3] == ["a/A", "a/B", "a/C"]
    assert walked(listing) == sorted(names, key=lambda key: order_key(0, key))


def test_a_store_that_does_not_sort_is_refused():
    listing = Listing({"a", "b", "c"})
    listing.keys.reverse()
    with pytest.raises(AuthoridError, match="does not sort its keys: it lists 'c' before 'b'"):
        walked(listing)
