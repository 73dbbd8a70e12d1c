"""The stream that joins the rooms: read -> tokenize -> batch -> infer -> attribute, in walk order.

::

    feeder thread            worker threads (one a core)        caller's thread
    walk, read, tokenize --> take a batch, run the graph  -->   pool, calibrate, put in order, yield
             Batcher (bounded)               results queue (bounded by what is in flight)

The feeder holds no more than a few hundred windows ahead of the workers, and no more than a few thousand inputs
are between the walk and the caller; so memory does not grow with the corpus, whoever is the slowest.

What goes wrong with one document becomes its row: it may be unreadable, untokenizable, too much for the model, or
make it answer with something that is no number. What goes wrong with the run itself (an error in a thread) ends it
and is raised to the caller.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from authorid.attribution import Attribution, attribute, failed
from authorid.batching import Batcher
from authorid.bundle import Bundle, load_bundle
from authorid.documents import Document, Failure, Found, ReadOptions, read, tidy, walk
from authorid.engine import Engine, EngineOptions, first_line
from authorid.patience import Patience
from authorid.stats import RunStats
from authorid.windows import Windower

__all__ = ["Scorer"]

_CHUNK = 8
"""Documents that are read and tokenized together, unless they are big."""

_CHUNK_CHARACTERS = 1 << 20
"""A chunk ends with the document that brings it to this size."""

_IN_FLIGHT = 4096
"""Inputs between the walk and the caller."""


_FAREWELL = 2.0
"""Seconds to wait for the reading thread at the end of a run that was cut short."""

_NO_NUMBER = "the model failed on this document: its answer is not a number"

_STOP: Final = object()
"""The message that asks a stream to end early."""

Recall = Callable[[Found], Attribution | None]
"""Gives the row of an input that was scored before and has not changed since, or None."""


@dataclass(slots=True)
class _Pending:
    """A document whose windows are in the encoder."""

    document: Document
    logits: npt.NDArray[np.float32]
    missing: int
    tokens: int
    started: float
    error: str | None = None


class Scorer:
    """Scores documents with one model; make it once and use it for as many runs as you like.

    >>> scorer = Scorer.load()                                    # doctest: +SKIP
    >>> for attribution in scorer.score(["letters/"]):            # doctest: +SKIP
    ...     print(attribution.path, attribution.author, attribution.probability)
    """

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:
        self.bundle = bundle
        self.engine = Engine(bundle, options)
        self._windower = bundle.windower()
        self._streams: set[_Stream] = set()

    @classmethod
    def load(cls, model: str | os.PathLike[str] | None = None, options: EngineOptions = EngineOptions()) -> Scorer:
        """Load the bundle in directory `model`, or the embedded default when it is None.

        Raises `BundleError` when the bundle cannot be used, and `EngineError` when it cannot be run.
        """
        if model is None:
            from authorid.models import default_bundle

            model = default_bundle()
        return cls(load_bundle(Path(model)), options)

    def describe(self) -> dict[str, Any]:
        """What scores: provider, precision, threads and the identity of the model, for the statistics."""
        return {
            "provider": self.engine.provider,
            "precision": self.engine.precision,
            "workers": self.engine.workers,
            "threads": self.engine.threads,
            "batch_tokens": self.engine.budget,
            "model": self.bundle.name,
            "model_sha256": self.bundle.sha256(self.engine.precision),
        }

    def score(
        self,
        paths: Iterable[str | os.PathLike[str]],
        options: ReadOptions = ReadOptions(),
        *,
        evidence: bool = False,
        stats: RunStats | None = None,
        recall: Recall | None = None,
    ) -> Generator[Attribution, None, None]:
        """Attribute every file in `paths` (files, or directories walked recursively), in walk order.

        One `Attribution` for every input, whatever is wrong with it. Closing the iterator ends the run, and `stop`
        ends it early. `evidence` keeps the per-window probabilities; `stats` is filled while the run goes on.
        `recall` is asked for every input, in walk order and in another thread, and what it gives is not scored again.
        """
        with Patience(options.timeout) as patience:
            items = _items(paths, options, patience, recall or _remember_nothing)
            yield from self._stream(items, evidence, stats or RunStats())

    def score_texts(
        self, texts: Iterable[str], *, evidence: bool = False, stats: RunStats | None = None
    ) -> Generator[Attribution, None, None]:
        """Attribute texts that are already in memory; their paths are their positions ("0", "1", ...)."""
        documents = (
            Document(index, str(index), tidy(text), "unicode", "")
            if text.strip()
            else Failure(index, str(index), "no text (only white space)")
            for index, text in enumerate(texts)
        )
        return self._stream(documents, evidence, stats or RunStats())

    def stop(self) -> None:
        """End the runs that are going on, early but in order: batches in the encoder are finished, others dropped.

        Their iterators end after the last row that is then complete. May be called from a signal handler.
        """
        for stream in tuple(self._streams):
            stream.stop()

    def _stream(self, items: Iterator[_Item], evidence: bool, stats: RunStats) -> Generator[Attribution, None, None]:
        stream = _Stream(self.engine, self._windower, items, stats)
        decision, authors = self.bundle.decision, self.bundle.authors
        ready: dict[int, Attribution] = {}
        due = 0
        self._streams.add(stream)
        try:
            with stream:
                for item in stream.results():
                    if isinstance(item, Attribution):
                        ready[item.index] = item
                    elif isinstance(item, Failure):
                        ready[item.index] = failed(item)
                    elif item.error is not None:
                        document = item.document
                        ready[document.index] = failed(Failure(document.index, document.path, item.error))
                    else:
                        ready[item.document.index] = attribute(
                            item.document, item.logits, item.tokens, authors, decision, evidence=evidence
                        )
                        stats.latency(time.perf_counter() - item.started)
                    while due in ready:
                        attribution = ready.pop(due)
                        due += 1
                        stats.count(attribution)
                        stream.release()
                        yield attribution
        finally:
            self._streams.discard(stream)


_Item = Document | Failure | Attribution
"""What comes out of reading: a text to score, a failure, or a row that is known already."""


def _items(
    paths: Iterable[str | os.PathLike[str]], options: ReadOptions, patience: Patience, recall: Recall
) -> Iterator[_Item]:
    for index, found in enumerate(walk(paths, options, patience)):
        known = recall(found)
        yield read(found, index, options, patience) if known is None else replace(known, index=index)


def _remember_nothing(_: Found) -> None:
    return None


class _Stream:
    """Threads and queues of one run. A context manager: leaving it stops and joins the threads."""

    def __init__(self, engine: Engine, windower: Windower, items: Iterator[_Item], stats: RunStats) -> None:
        self._engine = engine
        self._windower = windower
        self._items = items
        self._stats = stats
        self._batcher = Batcher(engine.budget)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._stopped = threading.Event()
        self._feeder = threading.Thread(target=self._guard, args=(self._feed,), name="authorid-feeder", daemon=True)
        self._workers = [
            threading.Thread(target=self._guard, args=(self._infer,), name=f"authorid-worker-{i}", daemon=True)
            for i in range(engine.workers)
        ]

    def __enter__(self) -> _Stream:
        for thread in (self._feeder, *self._workers):
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._halt()
        for worker in self._workers:
            worker.join()
        # The feeder may hang in a read that nothing can interrupt; then it is left behind.
        self._feeder.join(timeout=_FAREWELL)

    def stop(self) -> None:
        """Ask the stream to end early. Only leaves a message, so that a signal handler may do it."""
        self._inbox.put(_STOP)

    def _halt(self) -> None:
        self._stopped.set()
        self._batcher.close(discard=True)
        self._room.release(_IN_FLIGHT)

    def release(self) -> None:
        """Say that one input has left the stream."""
        self._room.release()

    def results(self) -> Iterator[Failure | Attribution | _Pending]:
        """Finished documents, failures and known rows, in the order in which they are finished."""
        pending: dict[int, _Pending] = {}
        working = {self._feeder, *self._workers}
        while working:
            message = self._inbox.get()
            if isinstance(message, threading.Thread):
                working.discard(message)
            elif message is _STOP:
                self._halt()
                working.discard(self._feeder)
            elif isinstance(message, BaseException):
                raise message
            elif isinstance(message, Failure | Attribution):
                yield message
            elif isinstance(message, _Pending):
                pending[message.document.index] = message
            else:
                owners, logits, error = message
                for row, (index, position) in enumerate(owners):
                    entry = pending[index]
                    if error is None:
                        entry.logits[position] = logits[row]
                    else:
                        entry.error = error
                    entry.missing -= 1
                    if not entry.missing:
                        if entry.error is None and not np.isfinite(entry.logits).all():
                            entry.error = _NO_NUMBER
                        yield pending.pop(index)

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
            self._inbox.put(threading.current_thread())
        except BaseException as error:
            self._inbox.put(error)

    def _feed(self) -> None:
        clock = self._stats.stages
        while not self._stopped.is_set():
            started = time.perf_counter()
            chunk = self._chunk()
            if not chunk:
                break
            clock.add("read", time.perf_counter() - started)
            with clock.stage("tokenize"):
                token_ids = iter(self._tokenize([item.text for item in chunk if isinstance(item, Document)]))
            for item in chunk:
                if not self._send(item, token_ids, started):
                    return
        self._batcher.close()

    def _chunk(self) -> list[_Item]:
        chunk: list[_Item] = []
        characters = 0
        for item in self._items:
            chunk.append(item)
            characters += len(item.text) if isinstance(item, Document) else 0
            if len(chunk) == _CHUNK or characters >= _CHUNK_CHARACTERS:
                break
        return chunk

    def _tokenize(self, texts: list[str]) -> list[npt.NDArray[np.int32] | str]:
        """Token ids of each text; for one that the tokenizer fails on, why."""
        try:
            return list(self._windower.token_ids(texts))
        except BaseException as error:  # a panic in Rust is no Exception, and costs only its document
            if len(texts) == 1:
                return [f"the tokenizer failed on this document: {first_line(error)}"]
            return [ids for text in texts for ids in self._tokenize([text])]

    def _send(self, item: _Item, token_ids: Iterator[npt.NDArray[np.int32] | str], started: float) -> bool:
        """Pass one input on, waiting for room. False when the run was stopped meanwhile."""
        self._admit()
        if not isinstance(item, Document):
            self._inbox.put(item)
            return True
        ids = next(token_ids)
        if isinstance(ids, str):
            self._inbox.put(Failure(item.index, item.path, ids))
            return True
        windows = self._windower.windows(ids, item.index)
        if not windows:
            self._inbox.put(Failure(item.index, item.path, "no text (no tokens)"))
            return True
        logits = np.empty((len(windows), self._engine.authors), dtype=np.float32)
        tokens = sum(len(window.ids) for window in windows)
        # The text is done with; what waits for its logits should not hold it.
        document = replace(item, text="")
        self._inbox.put(_Pending(document, logits, len(windows), tokens, started))
        return all(self._batcher.put(window) for window in windows)

    def _admit(self) -> None:
        if not self._room.acquire(blocking=False):
            self._batcher.hurry(True)
            self._room.acquire()
            self._batcher.hurry(False)

    def _infer(self) -> None:
        while (batch := self._batcher.get()) is not None:
            started = time.perf_counter()
            self._run(batch.ids, batch.owners)
            seconds = time.perf_counter() - started
            self._stats.batch(batch.ids.size, seconds)

    def _run(self, ids: npt.NDArray[np.int32], owners: tuple[tuple[int, int], ...]) -> None:
        """Run a batch; when it fails, its halves; what fails alone becomes the failure of its document."""
        try:
            logits = self._engine.run(ids)
        except Exception as error:  # onnxruntime's errors have no common base; out-of-memory is one of them
            if len(owners) == 1:
                self._inbox.put((owners, None, f"the model failed on this document: {first_line(error)}"))
                return
            half = len(owners) // 2
            self._run(ids[:half], owners[:half])
            self._run(ids[half:], owners[half:])
        else:
            self._inbox.put((owners, logits, None))
