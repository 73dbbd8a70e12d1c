"""The stream that joins the rooms: read -> tokenize -> batch -> infer -> attribute, in walk order.

::

    feeder thread            worker threads (one a core)        caller's thread
    walk, read, tokenize --> take a batch, run the graph  -->   pool, calibrate, put in order, yield
             Batcher (bounded)               results queue (bounded by what is in flight)

The feeder holds no more than a few hundred windows ahead of the workers, and no more than a few thousand inputs
are between the walk and the caller; so memory does not grow with the corpus, whoever is the slowest.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.attribution import Attribution, attribute, failed
from authorid.batching import Batcher
from authorid.bundle import Bundle, load_bundle
from authorid.documents import Document, Failure, ReadOptions, read, walk
from authorid.engine import Engine, EngineOptions, first_line
from authorid.stats import RunStats

__all__ = ["Scorer"]

_CHUNK = 8
"""Documents that are read and tokenized together."""

_IN_FLIGHT = 4096
"""Inputs between the walk and the caller."""


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
    ) -> Iterator[Attribution]:
        """Attribute every file in `paths` (files, or directories walked recursively), in walk order.

        One `Attribution` for every input, whatever is wrong with it. Closing the iterator ends the run. `evidence`
        keeps the per-window probabilities; `stats` is filled while the run goes on.
        """
        documents = (read(found, index, options) for index, found in enumerate(walk(paths, options)))
        return self._stream(documents, evidence, stats or RunStats())

    def score_texts(
        self, texts: Iterable[str], *, evidence: bool = False, stats: RunStats | None = None
    ) -> Iterator[Attribution]:
        """Attribute texts that are already in memory; their paths are their positions ("0", "1", ...)."""
        documents = (
            Document(index, str(index), text, "unicode", "")
            if text.strip()
            else Failure(index, str(index), "no text (only white space)")
            for index, text in enumerate(texts)
        )
        return self._stream(documents, evidence, stats or RunStats())

    def _stream(
        self, documents: Iterator[Document | Failure], evidence: bool, stats: RunStats
    ) -> Iterator[Attribution]:
        stream = _Stream(self.engine, self._windower.token_ids, self._windower.windows, documents, stats)
        decision, authors = self.bundle.decision, self.bundle.authors
        ready: dict[int, Attribution] = {}
        due = 0
        with stream:
            for item in stream.results():
                if isinstance(item, Failure):
                    ready[item.index] = failed(item)
                elif item.error is not None:
                    failure = Failure(item.document.index, item.document.path, item.error)
                    ready[failure.index] = failed(failure)
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


class _Stream:
    """Threads and queues of one run. A context manager: leaving it stops and joins the threads."""

    def __init__(
        self,
        engine: Engine,
        token_ids: Any,
        windows: Any,
        documents: Iterator[Document | Failure],
        stats: RunStats,
    ) -> None:
        self._engine = engine
        self._token_ids = token_ids
        self._windows = windows
        self._documents = documents
        self._stats = stats
        self._batcher = Batcher(engine.budget)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._stopped = threading.Event()
        self._threads = [threading.Thread(target=self._guard, args=(self._feed,), name="authorid-feeder")]
        self._threads += [
            threading.Thread(target=self._guard, args=(self._infer,), name=f"authorid-worker-{i}")
            for i in range(engine.workers)
        ]

    def __enter__(self) -> _Stream:
        for thread in self._threads:
            thread.daemon = True
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._batcher.close(discard=True)
        self._room.release(_IN_FLIGHT)
        for thread in self._threads:
            thread.join()

    def release(self) -> None:
        """Say that one input has left the stream."""
        self._room.release()

    def results(self) -> Iterator[Failure | _Pending]:
        """Finished documents and failures, in the order in which they finish."""
        pending: dict[int, _Pending] = {}
        working = len(self._threads)
        while working:
            message = self._inbox.get()
            if message is None:
                working -= 1
            elif isinstance(message, BaseException):
                raise message
            elif isinstance(message, Failure):
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
                        yield pending.pop(index)

    def _guard(self, work: Any) -> None:
        try:
            work()
            self._inbox.put(None)
        except BaseException as error:
            self._inbox.put(error)

    def _feed(self) -> None:
        authors = self._engine.authors
        clock = self._stats.stages
        while not self._stopped.is_set():
            started = time.perf_counter()
            chunk = list(islice(self._documents, _CHUNK))
            if not chunk:
                break
            clock.add("read", time.perf_counter() - started)
            texts = [item.text for item in chunk if isinstance(item, Document)]
            with clock.stage("tokenize"):
                token_ids = iter(self._token_ids(texts))
            for item in chunk:
                self._admit()
                if isinstance(item, Failure):
                    self._inbox.put(item)
                    continue
                windows = self._windows(next(token_ids), item.index)
                if not windows:
                    self._inbox.put(Failure(item.index, item.path, "no text (no tokens)"))
                    continue
                logits = np.empty((len(windows), authors), dtype=np.float32)
                tokens = sum(len(window.ids) for window in windows)
                # The text is done with; what waits for its logits should not hold it.
                document = Document(item.index, item.path, "", item.encoding, item.sha256)
                self._inbox.put(_Pending(document, logits, len(windows), tokens, started))
                for window in windows:
                    if not self._batcher.put(window):
                        return
        self._batcher.close()

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
