from __future__ import annotations

import threading
import time
from collections.abc import Callable

from hypothesis import given, settings
from hypothesis import strategies as st

from authorid.scoring.work_queue import WorkQueue


def take_all(queue: WorkQueue[int]) -> list[list[int]]:
    chunks = []
    while chunk := queue.take():
        chunks.append(chunk)
    return chunks


@given(sizes=st.lists(st.integers(0, 12), max_size=40), consumers=st.integers(1, 4), max_items=st.integers(2, 8))
def test_every_item_is_taken_once_in_order_and_chunks_are_bounded(sizes, consumers, max_items):
    queue: WorkQueue[int] = WorkQueue(consumers, first_items=2, max_items=max_items, max_size=10)
    chunks: list[list[int]] = []
    thread = threading.Thread(target=lambda: chunks.extend(take_all(queue)), daemon=True)
    thread.start()
    assert all(queue.put(number, size) for number, size in enumerate(sizes))
    queue.close()
    thread.join(timeout=20)
    assert not thread.is_alive()
    assert [number for chunk in chunks for number in chunk] == list(range(len(sizes)))
    for chunk in chunks:
        assert len(chunk) <= max_items
        assert len(chunk) == 1 or sum(sizes[number] for number in chunk) <= 10


def test_chunks_grow_and_the_last_items_are_divided_among_the_consumers():
    queue: WorkQueue[int] = WorkQueue(2, first_items=2, max_items=20, max_size=1000)
    for number in range(20):
        queue.put(number, 1)
    assert [len(queue.take()) for _ in range(2)] == [2, 4]
    queue.close()
    assert [len(chunk) for chunk in take_all(queue)] == [7, 4, 2, 1]


def test_one_item_does_not_wait_for_the_next():
    queue: WorkQueue[int] = WorkQueue(2, first_items=16, max_items=128, max_size=1000)
    queue.put(7, 1)
    assert queue.take() == [7]


def test_a_chunk_of_full_size_does_not_wait_for_more_items(monkeypatch):
    monkeypatch.setattr("authorid.scoring.work_queue._LINGER", 3600.0)
    queue: WorkQueue[int] = WorkQueue(2, first_items=16, max_items=128, max_size=1000)
    queue.put(7, 1001)
    assert queue.take() == [7]


def eventually(condition: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 20
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.005)
    return condition()


@settings(max_examples=5)
@given(size=st.sampled_from([1, 30]))
def test_a_fast_producer_waits_when_the_queue_is_full_by_items_or_by_size(size):
    queue: WorkQueue[int] = WorkQueue(1, first_items=4, max_items=4, max_size=40)
    put: list[int] = []

    def produce() -> None:
        while len(put) < 1000 and queue.put(len(put), size):
            put.append(size)

    thread = threading.Thread(target=produce, daemon=True)
    thread.start()
    held = 8 if size == 1 else 3
    assert eventually(lambda: len(put) == held)
    thread.join(timeout=0.1)
    assert thread.is_alive()
    assert len(put) == held
    taken = len(queue.take())
    assert eventually(lambda: len(put) == held + taken)
    queue.close(discard=True)
    thread.join(timeout=20)
    assert not thread.is_alive()


def test_discarded_items_are_not_taken_and_a_closed_queue_accepts_no_more():
    queue: WorkQueue[int] = WorkQueue(1, first_items=4, max_items=4, max_size=40)
    queue.put(1, 1)
    queue.close(discard=True)
    assert queue.take() == []
    assert not queue.put(2, 1)
