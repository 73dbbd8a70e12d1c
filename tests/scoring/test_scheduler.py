"""The threads and queues of a run: bounds, deadlock freedom, errors in threads, and the messages between them."""

from __future__ import annotations

import itertools
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fusion_bundle import DOCUMENTS, make_fusion_bundle
from tiny import AUTHORS, prose

from authorid.encoder.batching import Batcher
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.windows import Window
from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.ngrams.model import NgramModel
from authorid.scoring.attribution import Attribution
from authorid.scoring.cascade import Cascade
from authorid.scoring.document_state import DocumentState
from authorid.scoring.messages import (
    BatchScored,
    DocumentStarted,
    Finished,
    InputsFinished,
    Message,
    StopRequested,
    ThreadEnded,
    ThreadFailed,
    WindowFailed,
)
from authorid.scoring.scheduler import Scheduler
from authorid.scoring.scorer import Scorer
from authorid.scoring.stats import RunStats

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle with an n-gram model and an encoder for the three authors."""
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


def answers(rows):
    return [(row.path, row.status, row.ranking, row.known_author_score) for row in rows]


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_out_of_memory_in_the_ngrams_costs_one_document(both, effort, monkeypatch):
    scorer = Scorer(both, effort=effort)
    expected = list(scorer.score_texts(DOCUMENTS))
    score_texts = NgramModel.score_texts

    def greedy(self, texts, *more):
        if DOCUMENTS[4] in texts:
            raise MemoryError("no room")
        return score_texts(self, texts, *more)

    monkeypatch.setattr(NgramModel, "score_texts", greedy)
    rows = list(scorer.score_texts(DOCUMENTS))
    assert rows[4].error == "the n-grams failed on this document: no room"
    assert answers(rows[:4] + rows[5:]) == answers(expected[:4] + expected[5:])


def test_many_documents_in_rounds_do_not_deadlock(both):
    uncertain = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    texts = [prose(AUTHORS[i % 3], 300, seed=i) for i in range(400)]
    assert len(list(Scorer(uncertain, effort="auto").score_texts(texts))) == 400


@pytest.mark.promise("broken-thread")
def test_the_failure_of_an_inference_worker_ends_the_run_while_rounds_wait(both, monkeypatch):
    """The only worker fails while the batcher has space for one window: later rounds must not wait for space."""
    monkeypatch.setattr("authorid.scoring.scheduler.Batcher", partial(Batcher, capacity=1))
    get, calls = Batcher.get, itertools.count()

    def broken(batcher):
        if next(calls) == 60:
            time.sleep(0.1)  # earlier logits have arrived, and their documents need more rounds
            raise MemoryError("no room")
        return get(batcher)

    monkeypatch.setattr(Batcher, "get", broken)
    uncertain = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    outcome = []

    def score():
        try:
            list(
                Scorer(uncertain, EngineOptions(workers=1)).score_texts(
                    prose(AUTHORS[i % 3], 900, i) for i in range(50)
                )
            )
        except MemoryError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=score, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert outcome == ["no room"]


@pytest.mark.promise("backpressure")
def test_few_documents_are_started_while_nobody_takes_rows(both, monkeypatch):
    monkeypatch.setattr("authorid.scoring.scheduler.Batcher", partial(Batcher, max_begun_windows=200))
    monkeypatch.setattr("authorid.scoring.scheduler._FIRST_CHUNK", 2)
    monkeypatch.setattr("authorid.scoring.scheduler._MAX_CHUNK", 2)
    uncertain = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    scorer = Scorer(uncertain)
    texts = [prose(AUTHORS[i % 3], 700, i) for i in range(400)]  # 50 windows each
    taken = itertools.count()
    rows = scorer.score_texts(text for text in texts if next(taken) >= 0)
    first = next(rows)
    time.sleep(1)
    # Four or five are with the encoder, two text workers have two each, four are queued, the reader thread has one.
    assert next(taken) < 30
    assert answers([first, *rows]) == answers(Scorer(uncertain).score_texts(texts))


def test_a_document_with_more_windows_than_the_limit_is_scored(both, monkeypatch):
    texts = [prose(AUTHORS[i % 3], 700, i) for i in range(6)]
    expected = answers(Scorer(both, effort="full").score_texts(texts))
    monkeypatch.setattr("authorid.scoring.scheduler.Batcher", partial(Batcher, max_begun_windows=1))
    assert answers(Scorer(both, effort="full").score_texts(texts)) == expected


@pytest.mark.promise("prompt-rows")
@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_a_row_does_not_wait_for_the_next_input(both, effort):
    requested = threading.Event()

    def slowly():
        for number in range(3):
            yield prose(AUTHORS[number], 60, seed=number)
            assert requested.wait(timeout=20)
            requested.clear()

    rows = Scorer(both, effort=effort).score_texts(slowly())
    for number in range(3):
        assert next(rows).path == str(number)  # only now comes the next text
        requested.set()
    assert list(rows) == []


def test_an_error_in_a_text_worker_is_raised_to_the_caller(both, monkeypatch):
    def broken(*_):
        raise RuntimeError("out of order")

    monkeypatch.setattr("authorid.scoring.scheduler.score_ngrams", broken)
    with pytest.raises(RuntimeError, match="out of order"):
        list(Scorer(both, effort="fast").score_texts(DOCUMENTS * 9))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("authorid-")]


def test_stopping_ends_a_run_that_has_no_end(both):
    scorer = Scorer(both)
    rows = scorer.score_texts(prose("Ada", 50, seed) for seed in itertools.count())
    assert next(rows).path == "0"
    scorer.stop()
    numbers = [int(row.path) for row in rows]
    assert numbers == list(range(1, len(numbers) + 1))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("authorid-")]


# Messages: a scheduler whose threads are not started gets them from the test. --------------------------------------


def make_state(number: int, windows: int) -> DocumentState:
    """A document whose windows are all with the encoder."""
    state = DocumentState(number, Document(DocumentRef(f"{number}"), "", "utf-8", ""), 0.0)
    state.expect(windows, len(AUTHORS))
    state.in_flight = windows
    return state


def scores(*owners: tuple[int, int]) -> BatchScored:
    return BatchScored(owners, np.ones((len(owners), len(AUTHORS)), np.float32), 0.01)


@pytest.fixture
def scheduler(both):
    cascade = Cascade(None, None, both.decision, AUTHORS, "full")
    return Scheduler(cascade, (item for item in ()), RunStats(), text_workers=1)


def results(scheduler: Scheduler, *received: Message) -> list[Finished]:
    """What comes of the messages `received` before the threads end."""
    ends = [ThreadEnded(thread) for thread in scheduler._threads]
    for message in (*received, *ends):
        scheduler._inbox.put(message)
    return list(scheduler.results())


def test_finished_inputs_are_results_as_they_are(scheduler):
    known = Finished(0, Attribution(DocumentRef("known"), "scored", (("Ada", 0.7), ("Ben", 0.3))))
    failure = Finished(1, Failure(DocumentRef("broken"), "empty file"))
    assert results(scheduler, InputsFinished([known]), InputsFinished([failure])) == [known, failure]


def test_a_document_is_finished_when_all_its_windows_have_logits(scheduler):
    first, second = make_state(0, windows=2), make_state(1, windows=1)
    finished = results(
        scheduler, DocumentStarted(first), DocumentStarted(second), scores((0, 1), (1, 0)), scores((0, 0))
    )
    assert [result.number for result in finished] == [1, 0]
    assert finished[1].outcome is first and first.scored.all()


def test_a_document_with_a_failed_window_is_finished_when_its_other_windows_are(scheduler):
    state = make_state(0, windows=2)
    early = results(scheduler, DocumentStarted(state), WindowFailed(0, "out of memory"))
    assert early == []
    late = results(scheduler, scores((0, 1)))
    assert late == [Finished(0, Failure(state.document.ref, "out of memory"))]


def test_the_batcher_closes_when_the_producers_have_ended_and_no_document_is_in_progress(scheduler):
    window = Window(0, 0, np.zeros(3, np.int32))
    scheduler._inbox.put(DocumentStarted(make_state(0, windows=1)))
    assert results(scheduler) == []
    assert scheduler._batcher.put(window, wait=False)
    assert [result.number for result in results(scheduler, scores((0, 0)))] == [0]
    assert not scheduler._batcher.put(window, wait=False)


def test_an_error_of_a_thread_is_raised_with_its_type(scheduler):
    with pytest.raises(MemoryError, match="no room"):
        results(scheduler, ThreadFailed(MemoryError("no room")))


def test_after_a_stop_request_the_reader_thread_is_not_waited_for(scheduler):
    for message in (StopRequested(), *(ThreadEnded(worker) for worker in scheduler._text_workers)):
        scheduler._inbox.put(message)
    assert list(scheduler.results()) == []
    assert scheduler._stopped.is_set()
