"""The stream that joins the rooms: read -> n-grams, tokenize -> batch -> infer -> attribute, in walk order.

::

    feeder       starter threads (two)     worker threads (one a core)        caller's thread
    walk, read   n-grams, tokenize   -->   take a batch, run the graph  -->   pool, calibrate, put in order, yield
           WorkQueue (bounded)     Batcher (bounded)                results queue (bounded by what is in flight)

The feeder reads a few hundred documents ahead of the starters, they put no more than a few hundred windows ahead of
the workers, and begin no document while those that the encoder is busy with have some ten thousand windows; and no
more than a few thousand inputs are between the walk and the caller. So memory does not grow with the corpus or with
its documents, whoever is the slowest. Where inputs come slowly, whoever is free takes what there is after a moment: no
row waits for the next input.

Nobody waits in a circle. The caller's thread waits only for messages, also for the one that a thread broke: windows of
later rounds, in memory anyway, it puts whether there is room or not. Workers wait only for windows, and not for full
batches while anybody waits for them. So documents that were begun always finish, which is what starters wait for; the
feeder waits for starters and for rows to leave, the oldest of which is begun or next to be.

What goes wrong with one document becomes its row: it may be unreadable, untokenizable, too much for the model, or
make it answer with something that is no number. What goes wrong with the run itself (an error in a thread) ends it
and is raised to the caller.
"""

from __future__ import annotations

import itertools
import os
import queue
import threading
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, load_bundle
from authorid.encoder.batching import Batch, Batcher
from authorid.encoder.engine import Engine, EngineOptions
from authorid.encoder.providers import require_provider
from authorid.errors import BundleLacksError, first_line
from authorid.inputs.decoding import tidy
from authorid.inputs.discovery import DiscoveredFile, walk
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.reading import read_file
from authorid.inputs.timeouts import Timeout
from authorid.machine import available_cores
from authorid.ngrams import kernels as native
from authorid.outputs.records import Record
from authorid.scoring.attribution import Attribution, failed
from authorid.scoring.cascade import NO_NUMBER, Cascade, Effort, Pending
from authorid.scoring.stats import RunStats
from authorid.scoring.work_queue import WorkQueue

__all__ = ["Effort", "Scorer"]

_CHUNKS = (16, 64)
"""Documents that the n-grams look at and that are tokenized together: in the first chunk, and at most. The more there
are, the more seldom threads wait for one another, for Python's lock."""

_CHUNK_CHARACTERS = 1 << 20
"""And so many characters, unless one document has more."""

_STARTERS = 2
"""Threads that look at n-grams and tokenize, at most: more of them would wait for one another, for Python's lock."""

_IN_FLIGHT = 4096
"""Inputs between the walk and the caller."""

_FAREWELL = 2.0
"""Seconds to wait for the reading and starting threads at the end of a run that was cut short."""

_STOP: Final = object()
"""The message that asks a stream to end early."""

Recall = Callable[[DiscoveredFile], Record | None]
"""Gives the record of a file that was scored before and has not changed since, or None."""


class Scorer:
    """Scores documents with one model; make it once and use it for as many runs as you like.

    >>> scorer = Scorer.load()                                    # doctest: +SKIP
    >>> for attribution in scorer.score(["letters/"]):            # doctest: +SKIP
    ...     print(attribution.path, attribution.author, attribution.probability)
    """

    def __init__(
        self,
        bundle: Bundle,
        options: EngineOptions = EngineOptions(),
        *,
        effort: Effort = "auto",
        max_false_attribution: float | None = None,
    ) -> None:
        if effort not in get_args(Effort):
            raise ValueError(f"unknown effort {effort!r}; there are: {', '.join(get_args(Effort))}")
        self.bundle = bundle
        self.effort: Effort = effort
        self.decision = bundle.decision
        if max_false_attribution is not None:
            try:
                self.decision = bundle.decision.with_false_attribution(max_false_attribution)
            except ValueError as error:
                raise BundleLacksError(f"{bundle.path}: {error}; there is no threshold to choose") from None
        self._expert = bundle.expert()
        if effort == "fast" and self._expert is None:
            raise BundleLacksError(f"{bundle.path}: no n-gram expert in this bundle; use --effort full")
        if self._expert is not None and effort == "auto" and not bundle.decision.encoder_weight:
            effort = "fast"  # the encoder has no say
        encoder = bool(bundle.graphs) and effort != "fast"
        # Whoever names a provider that is not there should hear of it, even where the n-grams need none.
        require_provider(options.provider)
        self.engine = Engine(bundle, options) if encoder else None
        self._starters = min(_STARTERS, self.engine.workers if self.engine else options.workers or available_cores())
        self._windower = bundle.windower() if encoder else None
        self._streams: set[_Stream] = set()

    @classmethod
    def load(
        cls,
        model: str | os.PathLike[str] | None = None,
        options: EngineOptions = EngineOptions(),
        *,
        effort: Effort = "auto",
        max_false_attribution: float | None = None,
    ) -> Scorer:
        """Load the bundle in directory `model`, or the embedded default when it is None.

        `effort` ``fast`` asks only the n-gram expert, ``full`` everybody about everything, ``auto`` the n-grams first
        and the encoder where they are not sure; a bundle with one expert asks that one. `max_false_attribution` is the
        share of documents by unknown authors that may be attributed all the same; None leaves it to the bundle.

        Raises `BundleError` when the bundle cannot be used, and `EngineError` when it cannot be run.
        """
        if model is None:
            from authorid.models import default_bundle

            model = default_bundle()
        return cls(load_bundle(Path(model)), options, effort=effort, max_false_attribution=max_false_attribution)

    def describe(self) -> dict[str, Any]:
        """What scores: provider, precision, threads and the identity of the model, for the statistics."""
        about: dict[str, Any] = {
            "effort": self.effort,
            "unknown_below": [self.decision.unknown_threshold, self.decision.known_author_threshold],
            "ngrams": None if self._expert is None else "numpy" if native.module is None else "compiled",
            "model": self.bundle.name,
        }
        engine = self.engine
        if engine is None:
            ngrams = self.bundle.files.get(self.bundle.ngrams or "", "")
            return {
                "provider": "cpu",
                "precision": "ngrams",
                "workers": self._starters,
                "threads": 1,
                "batch_tokens": 0,
                **about,
                "model_sha256": ngrams,
            }
        return {
            "provider": engine.provider,
            "precision": engine.precision,
            "workers": engine.workers,
            "threads": engine.threads,
            "batch_tokens": engine.budget,
            **about,
            "model_sha256": self.bundle.sha256(engine.precision, engine.provider),
        }

    @property
    def notices(self) -> list[str]:
        """What a user should know about the choices made."""
        return self.engine.notices if self.engine is not None else []

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

        Raises `TypeError` when `paths` is a single path.
        """
        if isinstance(paths, str | bytes | os.PathLike):
            raise TypeError(f"paths is a single path: write score([{paths!r}])")
        items = _items(paths, options, recall or _remember_nothing)
        return self._stream(items, evidence, stats or RunStats())

    def score_texts(
        self, texts: Iterable[str], *, evidence: bool = False, stats: RunStats | None = None
    ) -> Generator[Attribution, None, None]:
        """Attribute texts that are already in memory; their paths are their positions ("0", "1", ...).

        What is no `str` among them is a failed row. Raises `TypeError` when `texts` is a single text.
        """
        if isinstance(texts, str | bytes | os.PathLike):
            raise TypeError("texts is a single text: write score_texts([text]), or score([path]) for a file")
        documents = (_document(index, text) for index, text in enumerate(texts))
        return self._stream(documents, evidence, stats or RunStats())

    def stop(self) -> None:
        """End the runs that are going on, early but in order: batches in the encoder are finished, others dropped.

        Their iterators end after the last row that is then complete. May be called from a signal handler.
        """
        for stream in tuple(self._streams):
            stream.stop()

    def _stream(self, items: _Items, evidence: bool, stats: RunStats) -> Generator[Attribution, None, None]:
        experts = Cascade(self._expert, self.engine, self._windower, self.decision, self.effort)
        stream = _Stream(experts, items, stats, self._starters)
        authors = self.bundle.authors
        ready: dict[int, Attribution] = {}
        due = 0
        self._streams.add(stream)
        try:
            with stream:
                for item in stream.results():
                    if isinstance(item, Pending):
                        number = item.number
                        if item.error is not None:
                            ready[number] = failed(Failure(item.document.ref, item.error))
                        else:
                            ready[number] = experts.answer(item, authors, evidence)
                            stats.latency(time.perf_counter() - item.started)
                    else:
                        number, known = item
                        if isinstance(known, Attribution):
                            stats.recall(known)
                        ready[number] = failed(known) if isinstance(known, Failure) else known
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

_Items = Generator[_Item, None, None]

_Finished = tuple[int, Failure | Attribution] | Pending
"""What leaves a stream: a document about which enough was said, or the number of an input and its row as it is."""

_Read = tuple[int, _Item, float]
"""The number of an input, what was read, and when the reading of it began."""


def _items(paths: Iterable[str | os.PathLike[str]], options: ReadOptions, recall: Recall) -> _Items:
    with Timeout(options.timeout) as timeout:
        for file in walk(paths, options, timeout):
            known = recall(file)
            if known is None:
                yield from read_file(file, options, timeout)
            else:
                yield Attribution.from_record(known)


def _document(index: int, text: object) -> Document | Failure:
    ref = DocumentRef(str(index))
    if not isinstance(text, str):
        return Failure(ref, f"not a text: {type(text).__name__} instead of str")
    if not text.strip():
        return Failure(ref, "no text (only white space)")
    return Document(ref, tidy(text), "unicode", "")


def _remember_nothing(_: DiscoveredFile) -> None:
    return None


class _Stream:
    """Threads and queues of one run. A context manager: leaving it stops and joins the threads."""

    def __init__(self, experts: Cascade, items: _Items, stats: RunStats, starters: int) -> None:
        self._experts = experts
        self._items = items
        self._stats = stats
        self._batcher = Batcher(experts.engine.budget if experts.engine is not None else 0)
        self._inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._room = threading.Semaphore(_IN_FLIGHT)
        self._stopped = threading.Event()
        self._intake: WorkQueue[_Read] = WorkQueue(starters, *_CHUNKS, _CHUNK_CHARACTERS)
        self._feeder = self._thread("feeder", self._feed)
        self._starters = [self._thread(f"starter-{i}", self._start) for i in range(starters)]
        self._workers = [
            self._thread(f"worker-{i}", self._infer, experts.engine)
            for i in range(experts.engine.workers if experts.engine is not None else 0)
        ]

    def _thread(self, name: str, work: Callable[..., None], *arguments: Any) -> threading.Thread:
        return threading.Thread(target=self._guard, args=(work, *arguments), name=f"authorid-{name}", daemon=True)

    def __enter__(self) -> _Stream:
        try:
            for thread in (self._feeder, *self._starters, *self._workers):
                thread.start()
        except BaseException:  # no more threads, or an interrupt
            self._halt()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        if threading.current_thread() in (self._feeder, *self._starters, *self._workers):
            # An iterator in a cycle of references was forgotten, and the garbage collector came upon it in here. This
            # thread cannot wait for itself, and may hold any of the locks that halting takes.
            threading.Thread(target=self._halt, name="authorid-farewell", daemon=True).start()
            return
        self._halt()
        for worker in self._workers:
            worker.join()
        # The feeder may hang in a read that nothing can interrupt, and a starter be busy with a very long text; then
        # they are left behind.
        deadline = time.monotonic() + _FAREWELL
        for thread in (self._feeder, *self._starters):
            thread.join(timeout=max(0.0, deadline - time.monotonic()))

    def stop(self) -> None:
        """Ask the stream to end early. Only leaves a message, so that a signal handler may do it."""
        self._inbox.put(_STOP)

    def _halt(self) -> None:
        self._stopped.set()
        self._batcher.close(discard=True)
        self._room.release(_IN_FLIGHT)
        self._intake.close(discard=True)

    def release(self) -> None:
        """Say that one input has left the stream."""
        self._room.release()

    def results(self) -> Iterator[_Finished]:
        """Finished documents, failures and known rows, in the order in which they are finished."""
        pending: dict[int, Pending] = {}
        feeding = {self._feeder, *self._starters}
        working = {*feeding, *self._workers}
        while working:
            message = self._inbox.get()
            if isinstance(message, threading.Thread):
                working.discard(message)
                feeding.discard(message)
                if not feeding:
                    # Windows of later rounds come from here; the batcher is closed when nobody waits for one.
                    self._batcher.hurry(True)
            elif message is _STOP:
                self._halt()
                working.discard(self._feeder)
            elif isinstance(message, BaseException):
                raise message
            elif isinstance(message, list):
                yield from message
            elif isinstance(message, Pending):
                pending[message.number] = message
            else:
                owners, logits, error = message
                for row, (index, position) in enumerate(owners):
                    entry = pending[index]
                    if error is None and entry.logits is not None and entry.seen is not None:
                        entry.logits[position] = logits[row]
                        entry.seen[position] = True
                    else:
                        entry.error = error
                    entry.missing -= 1
                    if entry.missing:
                        continue
                    evidence = entry.evidence
                    if entry.error is None and evidence is not None and not np.isfinite(evidence).all():
                        entry.error = NO_NUMBER
                    more = self._experts.ask_more(entry)
                    # Without waiting for room: nobody else would hear that a worker broke and makes none.
                    if more and all(self._batcher.put(window, wait=False) for window in more):
                        continue
                    del pending[index]
                    self._batcher.finish(entry.windows)
                    if not more:
                        yield entry
            if not feeding and not pending:
                self._batcher.close()

    def _guard(self, work: Callable[..., None], *arguments: Any) -> None:
        try:
            work(*arguments)
            self._inbox.put(threading.current_thread())
        except BaseException as error:
            self._inbox.put(error)

    def _feed(self) -> None:
        with closing(self._items):
            for number in itertools.count():
                if self._stopped.is_set():
                    break
                started = time.perf_counter()
                item = next(self._items, None)
                self._stats.stages.add("read", time.perf_counter() - started)
                if item is None:
                    break
                # In walk order, and before anybody works on it: whatever waits for room later cannot be overtaken by
                # inputs that have it and wait for their turn.
                self._admit()
                if not self._intake.put((number, item, started), len(item.text) if isinstance(item, Document) else 0):
                    break
        self._intake.close()

    def _start(self) -> None:
        while chunk := self._intake.take():
            self._start_chunk(chunk)

    def _start_chunk(self, chunk: Sequence[_Read]) -> None:
        finished, asking = self._begin(chunk)
        # All at once: if they were taken one by one, threads would hand Python's lock to and fro for each.
        self._inbox.put(finished)
        with self._stats.stages.stage("tokenize"):
            token_ids = self._tokenize([text for _, text in asking])
        for (item, _), ids in zip(asking, token_ids, strict=True):
            if not self._send(item, ids):
                return

    def _begin(self, chunk: Sequence[_Read]) -> tuple[list[_Finished], list[tuple[Pending, str]]]:
        """Ask the n-gram expert about the documents: what is finished then, and what the encoder is to look at."""
        with self._stats.stages.stage("infer"):
            begun = iter(
                self._ask_ngrams([(number, item, at) for number, item, at in chunk if isinstance(item, Document)])
            )
        finished: list[_Finished] = []
        asking = []
        for number, item, _ in chunk:
            if not isinstance(item, Document):
                finished.append((number, item))
                continue
            pending = next(begun)
            if isinstance(pending, Pending) and pending.probabilities is None:
                asking.append((pending, item.text))
            else:
                finished.append(pending)
        return finished, asking

    def _ask_ngrams(self, documents: Sequence[tuple[int, Document, float]]) -> Sequence[_Finished]:
        try:
            return self._experts.begin(documents)
        except Exception as error:  # running out of memory costs only one document
            if len(documents) > 1:
                return [result for document in documents for result in self._ask_ngrams([document])]
            failed = f"the n-grams failed on this document: {first_line(error)}"
            return [(number, Failure(document.ref, failed)) for number, document, _ in documents]

    def _tokenize(self, texts: list[str]) -> list[npt.NDArray[np.int32] | str]:
        """Token ids of each text; for one that the tokenizer fails on, why."""
        if self._experts.windower is None or not texts:
            return []
        try:
            return list(self._experts.windower.token_ids(texts))
        except BaseException as error:  # a panic in Rust is no Exception, and costs only its document
            if len(texts) == 1:
                return [f"the tokenizer failed on this document: {first_line(error)}"]
            return [ids for text in texts for ids in self._tokenize([text])]

    def _send(self, item: Pending, ids: npt.NDArray[np.int32] | str) -> bool:
        """Pass one document on to the encoder, waiting for room. False when the run was stopped meanwhile."""
        document = item.document
        if isinstance(ids, str) or self._experts.windower is None:
            self._inbox.put([(item.number, Failure(document.ref, str(ids)))])
            return True
        try:
            windows = self._experts.windower.windows(ids, item.number)
            first = self._experts.ask(item, windows)
        except MemoryError:
            self._inbox.put([(item.number, Failure(document.ref, "out of memory while cutting it into windows"))])
            return True
        if not windows:
            self._inbox.put([(item.number, Failure(document.ref, "no text (no tokens)"))])
            return True
        if not self._batcher.begin(item.windows):
            return False
        self._inbox.put(item)
        return all(self._batcher.put(window) for window in first)

    def _admit(self) -> None:
        """Wait for room for one more input."""
        if not self._room.acquire(blocking=False):
            self._batcher.hurry(True)
            self._room.acquire()
            self._batcher.hurry(False)

    def _infer(self, engine: Engine) -> None:
        while (batch := self._batcher.get()) is not None:
            started = time.perf_counter()
            self._run(engine, batch)
            seconds = time.perf_counter() - started
            self._stats.batch(batch.tokens, seconds)

    def _run(self, engine: Engine, batch: Batch) -> None:
        """Run a batch; when it fails, its halves; what fails alone becomes the failure of its document."""
        try:
            logits = engine.run(batch.ids)
        except Exception as error:  # onnxruntime's errors have no common base; out-of-memory is one of them
            if len(batch.windows) == 1:
                self._inbox.put((batch.owners, None, f"the model failed on this document: {first_line(error)}"))
                return
            for half in batch.halves():
                self._run(engine, half)
        else:
            self._inbox.put((batch.owners, logits, None))
