"""The threads and queues of one run.

::

    reader thread       text workers (1 or 2)       inference workers       caller's thread
    discover, read      n-gram scores, tokens       run batches             attribute, put in order, yield
            WorkQueue (bounded)            Batcher (bounded)       inbox (bounded by the inputs in flight)

**Memory** does not grow with the number or the size of documents, whichever thread is the slowest:

- at most `_MAX_IN_FLIGHT` inputs are between the reader thread and the caller;
- the work queue holds at most two chunks of inputs;
- text workers wait while the batcher holds its capacity of windows, and they start no document on the encoder while
  the documents in progress have some ten thousand windows.

**Latency**: where inputs arrive slowly, consumers take what there is after a short delay. No row waits for the next
input.

**Deadlock freedom**: every wait ends, because

1. the caller's thread waits only for messages. Each thread sends one when it ends or fails, and windows of later
   rounds go to the batcher without waiting for space;
2. inference workers wait only for windows, and take batches that are not full while another thread waits for results;
3. by 1 and 2, every document that the encoder has started on is finished;
4. text workers wait only for inputs and for space in the batcher, which 3 provides;
5. the reader thread waits only for space in the work queue, which 4 provides, and for rows to leave the run. It admits
   inputs in order, so the input whose row is due is with a text worker, with the encoder, or next in the work queue,
   and is finished by 3 and 4.

**Errors**: a problem with one document becomes the row of that document. It may be unreadable, fail in the tokenizer,
need too much memory, or get logits that are not numbers. An error in a thread ends the run and is raised to the caller.
"""

from __future__ import annotations

import itertools
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, suppress
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from authorid.cancellation import CancelledError
from authorid.encoder.batching import Batcher
from authorid.encoder.engine import Engine
from authorid.errors import EngineError
from authorid.inputs.documents import Document, Failure
from authorid.scoring.attribution import Attribution
from authorid.scoring.cascade import Cascade, Encoder
from authorid.scoring.document_state import DocumentState
from authorid.scoring.document_steps import first_windows, run_batch, score_ngrams, shared_time, tokenize
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
from authorid.scoring.stats import RunStats
from authorid.scoring.work_queue import WorkQueue

__all__ = ["Inputs", "Scheduler"]

_FIRST_CHUNK, _MAX_CHUNK = 16, 64
"""Documents in the first chunk for a text worker, and in the largest. In larger chunks threads wait for Python's lock
less often."""

_CHUNK_CHARACTERS = 1 << 20
"""Characters in a chunk, unless a single document has more."""

_MAX_IN_FLIGHT = 4096
"""Inputs between the reader thread and the caller."""

_SHUTDOWN_TIMEOUT = 1.0
"""Seconds to wait for the reader thread and the text workers at the end of a run that was cut short."""

Inputs = Generator[Document | Failure | Attribution, None, None]
"""What the reader thread iterates over: texts to score, failures, and rows known from an earlier run."""


class Scheduler:
    """The threads and queues of one run. A context manager: leaving it stops and joins the threads."""

    def __init__(
        self, cascade: Cascade, inputs: Inputs, stats: RunStats, text_workers: int, *, explain: bool = False
    ) -> None:
        self._cascade = cascade
        self._inputs = inputs
        self._explain = explain
        self._stats = stats
        engine = cascade.encoder.engine if cascade.encoder is not None else None
        self._work_queue: WorkQueue[DocumentState | Finished] = WorkQueue(
            text_workers, first_items=_FIRST_CHUNK, max_items=_MAX_CHUNK, max_size=_CHUNK_CHARACTERS
        )
        self._batcher = Batcher(engine.batch_tokens if engine is not None else 0)
        self._inbox: queue.SimpleQueue[Message] = queue.SimpleQueue()
        self._slots = threading.Semaphore(_MAX_IN_FLIGHT)
        self._stopped = threading.Event()
        self._encoding: dict[int, DocumentState] = {}
        self._reader = self._thread("input", self._read_inputs)
        self._text_workers = [self._thread(f"text-{i}", self._process_texts) for i in range(text_workers)]
        self._inference_workers = [
            self._thread(f"inference-{i}", self._run_batches, engine)
            for i in range(engine.workers if engine is not None else 0)
        ]

    def _thread(self, name: str, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        return threading.Thread(target=self._guard, args=(work, *arguments), name=f"authorid-{name}", daemon=True)

    @property
    def _threads(self) -> list[threading.Thread]:
        return [self._reader, *self._text_workers, *self._inference_workers]

    def __enter__(self) -> Scheduler:
        try:
            for thread in self._threads:
                thread.start()
        except RuntimeError as error:
            self._halt()
            raise EngineError(
                f"the system allows no more threads ({error}): use fewer --workers, or raise the limit (ulimit -u, or "
                "the pids limit of the container)"
            ) from None
        except BaseException:  # such as an interrupt
            self._halt()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() in self._threads:
            # The garbage collector found an abandoned iterator while it ran in this thread. The thread cannot wait for
            # itself, and it may hold a lock that halting takes.
            threading.Thread(target=self._halt, name="authorid-shutdown", daemon=True).start()
            return
        self._halt()
        for worker in self._inference_workers:
            worker.join()
        # The reader thread may hang in a read that nothing interrupts. These daemon threads are abandoned after the
        # timeout.
        deadline = time.monotonic() + _SHUTDOWN_TIMEOUT
        for thread in (self._reader, *self._text_workers):
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Ask the run to end early. Only sends a message, so a signal handler may call it."""
        self._inbox.put(StopRequested())

    def _halt(self) -> None:
        self._stopped.set()
        self._batcher.close(discard=True)
        self._slots.release(_MAX_IN_FLIGHT)
        self._work_queue.close(discard=True)

    # The caller's thread ------------------------------------------------------------------------------------------

    def release_slot(self) -> None:
        """Let the reader thread read one more input, because the row of another has left the run."""
        self._slots.release()

    def results(self) -> Iterator[Finished]:
        """Yield finished inputs in the order in which they are finished; raises what a thread of the run raised."""
        producers = {self._reader, *self._text_workers}
        running = set(self._threads)
        while running:
            match self._inbox.get():
                case InputsFinished(results):
                    yield from results
                case DocumentStarted(state):
                    self._encoding[state.number] = state
                case BatchScored(owners, logits, seconds):
                    yield from self._record_batch(owners, logits, seconds)
                case WindowFailed(number, reason):
                    yield from self._record_failure(number, reason)
                case ThreadEnded(thread):
                    running.discard(thread)
                    producers.discard(thread)
                    if not producers:
                        # Only this thread adds windows now, and it does not wait for batches to fill.
                        self._batcher.allow_partial(True)
                case ThreadFailed(error):
                    raise error
                case StopRequested():
                    self._halt()
                    running.discard(self._reader)  # it may hang in a read
                case message:
                    assert_never(message)
            if not producers and not self._encoding:
                self._batcher.close()

    def _record_batch(
        self, owners: Sequence[tuple[int, int]], logits: npt.NDArray[np.float32], seconds: float
    ) -> Iterator[Finished]:
        for (number, position), row in zip(owners, logits, strict=True):
            state = self._encoding[number]
            state.record(position, row, seconds / len(owners))
            if not state.in_flight:
                yield from self._continue(state)

    def _record_failure(self, number: int, reason: str) -> Iterator[Finished]:
        state = self._encoding[number]
        state.fail(reason)
        if not state.in_flight:
            yield from self._continue(state)

    def _continue(self, state: DocumentState) -> Iterator[Finished]:
        """Start the next round of a document; yields the document when there is none."""
        windows = self._cascade.next_round(state)
        # Without waiting for space: while it waited, this thread would not learn that an inference worker failed.
        if windows and all(self._batcher.put(window, wait=False) for window in windows):
            return
        del self._encoding[state.number]
        self._batcher.finish(state.window_count)
        if not windows:  # otherwise the run was stopped, and the document has no row
            yield Finished.of(state)

    # The other threads --------------------------------------------------------------------------------------------

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            with suppress(CancelledError):
                work(*arguments)
            self._inbox.put(ThreadEnded(threading.current_thread()))
        except BaseException as error:
            self._inbox.put(ThreadFailed(error))

    def _check(self) -> None:
        """Raise `CancelledError` when the run was stopped: a text worker may be busy with a very long text."""
        if self._stopped.is_set():
            raise CancelledError

    def _read_inputs(self) -> None:
        """The reader thread: number the inputs and put them into the work queue."""
        with closing(self._inputs):
            for number in itertools.count():
                if self._stopped.is_set():
                    break
                started = time.perf_counter()
                item = next(self._inputs, None)
                seconds = time.perf_counter() - started
                self._stats.stages.add("read", seconds)
                if item is None:
                    break
                # Slots are taken here, in order and before any work on the input. Later inputs that have a slot can
                # then not block an earlier one that has none.
                self._acquire_slot()
                if isinstance(item, Document):
                    state = DocumentState(number, item, started, self._explain, service=seconds)
                    accepted = self._work_queue.put(state, len(item.text))
                else:
                    accepted = self._work_queue.put(Finished(number, item), 0)
                if not accepted:
                    break
        self._work_queue.close()

    def _acquire_slot(self) -> None:
        if not self._slots.acquire(blocking=False):
            self._batcher.allow_partial(True)
            self._slots.acquire()
            self._batcher.allow_partial(False)

    def _process_texts(self) -> None:
        """A text worker: score chunks of inputs with the n-gram model and tokenize what the encoder should see."""
        while chunk := self._work_queue.take():
            states = [entry for entry in chunk if isinstance(entry, DocumentState)]
            with self._stats.stages.stage("infer"), shared_time(states):
                score_ngrams(self._cascade, states, self._check)
            results = [entry for entry in chunk if isinstance(entry, Finished)]
            results += [Finished.of(state) for state in states if state.decided]
            undecided = [state for state in states if not state.decided]
            if results:
                # One message for the chunk: with one for each document, threads would contend for Python's lock.
                self._inbox.put(InputsFinished(results))
            if self._cascade.encoder is not None and undecided:
                self._start_encoding(self._cascade.encoder, undecided)

    def _start_encoding(self, encoder: Encoder, states: Sequence[DocumentState]) -> None:
        """Tokenize documents and put their first windows into the batcher, until the run is stopped."""
        with self._stats.stages.stage("tokenize"), shared_time(states):
            token_ids = tokenize(lambda texts: encoder.windower.token_ids(texts, self._check), states)
        for state in states:
            state.drop_text()
        for state, ids in zip(states, token_ids, strict=True):
            windows = first_windows(self._cascade, encoder.windower, state, ids)
            if state.decided:
                self._inbox.put(InputsFinished([Finished.of(state)]))
                continue
            if not self._batcher.begin(state.window_count):
                return
            self._inbox.put(DocumentStarted(state))
            if not all(self._batcher.put(window) for window in windows):
                return

    def _run_batches(self, engine: Engine) -> None:
        """An inference worker: run batches until the batcher is closed and empty."""
        while (batch := self._batcher.get()) is not None:
            started = time.perf_counter()
            for result in run_batch(engine, batch):
                self._inbox.put(result)
            self._stats.batch(batch.tokens, time.perf_counter() - started)
