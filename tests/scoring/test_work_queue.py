from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from authorid.scoring.work_queue import WorkQueue


def take_all(intake: WorkQueue[int]) -> list[list[int]]:
    shares = []
    while share := intake.take():
        shares.append(share)
    return shares


@given(weights=st.lists(st.integers(0, 12), max_size=40), takers=st.integers(1, 4), most=st.integers(2, 8))
def test_every_item_is_taken_once_in_order_and_shares_have_bounds(weights, takers, most):
    intake: WorkQueue[int] = WorkQueue(takers, 2, most, weight=10)
    shares: list[list[int]] = []
    thread = threading.Thread(target=lambda: shares.extend(take_all(intake)), daemon=True)
    thread.start()
    assert all(intake.put(number, weight) for number, weight in enumerate(weights))
    intake.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [number for share in shares for number in share] == list(range(len(weights)))
    for share in shares:
        assert len(share) <= most
        assert len(share) == 1 or sum(weights[number] for number in share) <= 10


def test_shares_grow_and_the_last_items_are_shared_out_among_the_takers():
    intake: WorkQueue[int] = WorkQueue(2, 2, 20, weight=1000)
    for number in range(20):
        intake.put(number, 1)
    assert [len(intake.take()) for _ in range(2)] == [2, 4]
    intake.close()
    assert [len(share) for share in take_all(intake)] == [7, 4, 2, 1]


def test_one_item_does_not_wait_for_the_next():
    intake: WorkQueue[int] = WorkQueue(2, 16, 128, weight=1000)
    intake.put(7, 1)
    assert intake.take() == [7]


def test_what_is_heavy_enough_does_not_wait_at_all(monkeypatch):
    monkeypatch.setattr("authorid.scoring.work_queue._COMPANY", 3600.0)
    intake: WorkQueue[int] = WorkQueue(2, 16, 128, weight=1000)
    intake.put(7, 1001)
    assert intake.take() == [7]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@settings(max_examples=5)
@given(weight=st.sampled_from([1, 30]))
def test_a_reader_that_is_too_fast_is_held_up_by_number_and_by_weight(weight):
    intake: WorkQueue[int] = WorkQueue(1, 4, 4, weight=40)
    put: list[int] = []

    def read() -> None:
        while len(put) < 1000 and intake.put(len(put), weight):
            put.append(weight)

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    held = 8 if weight == 1 else 3
    assert eventually(lambda: len(put) == held)
    thread.join(timeout=0.1)
    assert thread.is_alive()
    assert len(put) == held
    taken = len(intake.take())
    assert eventually(lambda: len(put) == held + taken)
    intake.close(discard=True)
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_what_is_discarded_is_not_taken_and_nothing_more_is_let_in():
    intake: WorkQueue[int] = WorkQueue(1, 4, 4, weight=40)
    intake.put(1, 1)
    intake.close(discard=True)
    assert intake.take() == []
    assert not intake.put(2, 1)
