from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authorid.encoder.batching import Batch, Batcher
from authorid.encoder.windows import Window


def window(document: int, length: int) -> Window:
    return Window(document, 0, np.full(length, document, dtype=np.int32))


def drain(batcher: Batcher) -> list[Batch]:
    batches = []
    while (batch := batcher.get()) is not None:
        batches.append(batch)
    return batches


@given(lengths=st.lists(st.integers(1, 30), max_size=80), batch_tokens=st.integers(1, 100))
def test_every_window_is_in_one_batch_of_at_most_batch_tokens_without_padding(lengths, batch_tokens):
    batcher = Batcher(batch_tokens, capacity=1000)
    for document, length in enumerate(lengths):
        assert batcher.put(window(document, length))
    batcher.close()
    batches = drain(batcher)
    assert sorted(owner for batch in batches for owner, _ in batch.owners) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch.owners) == 1 or batch.ids.size <= batch_tokens
        for row, (owner, _) in zip(batch.ids, batch.owners, strict=True):
            assert len(row) == lengths[owner]
            assert (row == owner).all()


def test_a_window_of_a_rare_length_is_overtaken_a_limited_number_of_times():
    batcher = Batcher(40, capacity=100, max_overtakes=6)
    batcher.put(window(0, 7))
    for document in range(1, 17):
        batcher.put(window(document, 10))
    order = [owner for _ in range(4) for owner, _ in batcher.get().owners]
    assert order[0] == 0


@pytest.mark.promise("prompt-rows")
def test_a_partial_batch_is_due_after_the_linger_time():
    batcher = Batcher(1000)
    found: list[Batch | None] = []
    thread = threading.Thread(target=lambda: found.append(batcher.get()), daemon=True)
    thread.start()
    batcher.put(window(3, 5))
    thread.join(timeout=20)
    assert [batch.owners for batch in found] == [((3, 0),)]


def test_a_full_pool_blocks_the_producer_until_a_batch_is_taken():
    batcher = Batcher(40, capacity=3)
    done = threading.Event()

    def produce() -> None:
        for document in range(9):
            batcher.put(window(document, 10 + document))  # no two share a batch
        batcher.close()
        done.set()

    thread = threading.Thread(target=produce)
    thread.start()
    assert not done.wait(0.05)
    assert len(drain(batcher)) == 9
    thread.join(5)
    assert done.is_set()


def test_closing_unblocks_a_waiting_producer():
    batcher = Batcher(40, capacity=1)
    batcher.put(window(0, 5))
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(batcher.put(window(1, 6))))
    thread.start()
    batcher.close(discard=True)
    thread.join(5)
    assert outcome == [False]
    assert batcher.get() is None


def test_put_without_waiting_exceeds_the_capacity():
    batcher = Batcher(40, capacity=1)
    assert batcher.put(window(0, 5))
    assert batcher.put(window(1, 5), wait=False)
    batcher.close()
    assert not batcher.put(window(2, 5), wait=False)
    assert len(drain(batcher)[0].owners) == 2


def test_begin_waits_until_enough_documents_are_finished():
    batcher = Batcher(40, max_begun_windows=10)
    assert batcher.begin(9)
    assert batcher.begin(1000)  # any size is accepted while the limit is not reached
    outcome: list[bool] = []
    threads = [threading.Thread(target=lambda: outcome.append(batcher.begin(1)), daemon=True) for _ in range(2)]
    for thread in threads:
        thread.start()
    batcher.finish(9)
    threads[0].join(timeout=0.1)
    assert outcome == []
    batcher.finish(1000)
    for thread in threads:
        thread.join(timeout=20)
    assert outcome == [True, True]


def test_closing_unblocks_begin():
    batcher = Batcher(40, max_begun_windows=1)
    assert batcher.begin(1)
    outcome: list[bool] = []
    thread = threading.Thread(target=lambda: outcome.append(batcher.begin(1)), daemon=True)
    thread.start()
    batcher.close()
    thread.join(timeout=20)
    assert outcome == [False]


def test_waiting_producers_do_not_wake_one_another(monkeypatch):
    waits = []
    wait = threading.Condition.wait

    def counted(condition, timeout=None):
        waits.append(timeout)
        return wait(condition, timeout)

    monkeypatch.setattr(threading.Condition, "wait", counted)
    batcher = Batcher(40, capacity=1)
    batcher.put(window(0, 5))
    threads = [threading.Thread(target=batcher.put, args=(window(number, 5),), daemon=True) for number in (1, 2)]
    for thread in threads:
        thread.start()
    threads[0].join(timeout=0.2)
    assert len(waits) < 20
    batcher.close()
    for thread in threads:
        thread.join(timeout=20)


@settings(max_examples=40)
@given(
    producers=st.integers(1, 4),
    consumers=st.integers(1, 3),
    capacity=st.integers(1, 6),
    lengths=st.lists(st.integers(1, 5), min_size=1, max_size=30),
)
def test_producers_and_consumers_do_not_deadlock(producers, consumers, capacity, lengths):
    """No batch is ever due by size or age here, only because a producer waits for room."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("authorid.encoder.batching._LINGER", 3600.0)
        move(Batcher(10_000, capacity=capacity, max_overtakes=10_000), producers, consumers, lengths)


def move(batcher: Batcher, producers: int, consumers: int, lengths: list[int]) -> None:
    """Each producer puts a window of each of the `lengths`; check that the consumers get all of them."""
    found: list[list[Batch]] = [[] for _ in range(consumers)]

    def produce(number: int) -> None:
        for position, length in enumerate(lengths):
            assert batcher.put(Window(number, position, np.zeros(length, dtype=np.int32)))

    def consume(own: list[Batch]) -> None:
        own.extend(drain(batcher))

    makers = [threading.Thread(target=produce, args=(number,), daemon=True) for number in range(producers)]
    takers = [threading.Thread(target=consume, args=(own,), daemon=True) for own in found]
    for thread in (*takers, *makers):
        thread.start()
    for thread in makers:
        thread.join(timeout=20)
        assert not thread.is_alive()
    batcher.close()
    for thread in takers:
        thread.join(timeout=20)
        assert not thread.is_alive()
    owners = sorted(owner for own in found for batch in own for owner in batch.owners)
    assert owners == sorted((number, position) for number in range(producers) for position in range(len(lengths)))
