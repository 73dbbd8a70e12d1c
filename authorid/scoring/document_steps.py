"""What the models do with documents, step by step, in whichever thread.

A document that fails in a step, because it needs too much memory or because a library cannot process it, fails alone:
the step is repeated with fewer documents until only the failing one is left.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import numpy.typing as npt

from authorid.cancellation import CancelCheck, CancelledError, never_cancelled
from authorid.encoder.batching import Batch
from authorid.encoder.engine import Engine
from authorid.encoder.windows import Window, Windower
from authorid.errors import first_line
from authorid.scoring.cascade import Cascade
from authorid.scoring.document_state import DocumentState
from authorid.scoring.messages import BatchScored, WindowFailed

__all__ = ["first_windows", "run_batch", "score_ngrams", "shared_time", "tokenize"]

TokenIds = npt.NDArray[np.int32]


def score_ngrams(cascade: Cascade, states: Sequence[DocumentState], check: CancelCheck = never_cancelled) -> None:
    """Score documents as `Cascade.score_ngrams` does; one that fails gets an error."""
    try:
        cascade.score_ngrams(states, check)
    except CancelledError:
        raise
    except Exception as error:  # such as running out of memory, which should cost only one document
        if len(states) == 1:
            states[0].error = f"the n-grams failed on this document: {first_line(error)}"
            return
        for state in states:
            score_ngrams(cascade, [state], check)


def tokenize(
    encode: Callable[[Sequence[str]], Sequence[TokenIds]], states: Sequence[DocumentState]
) -> list[TokenIds | None]:
    """Token ids int32 [tokens] of each document by `encode`; None for one that it fails on, which gets an error."""
    try:
        return list(encode([state.document.text for state in states]))
    except CancelledError:
        raise
    except BaseException as error:
        # A panic in Rust is not an Exception, and should cost only its document; an interrupt is not one either.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if len(states) == 1:
            states[0].error = f"the tokenizer failed on this document: {first_line(error)}"
            return [None]
        return [ids for state in states for ids in tokenize(encode, [state])]


def first_windows(
    cascade: Cascade, windower: Windower, state: DocumentState, token_ids: TokenIds | None
) -> list[Window]:
    """Cut a document into windows; returns those that the encoder sees first.

    There are none when the document is decided, or gets an error.
    """
    if token_ids is None:
        return []
    try:
        windows = windower.windows(token_ids, state.number)
        first = cascade.first_round(state, windows)
    except MemoryError:
        state.error = "out of memory while cutting it into windows"
        return []
    if not windows:
        cascade.answer_without_tokens(state)
    return first


@contextmanager
def shared_time(states: Sequence[DocumentState]) -> Iterator[None]:
    """Add the time of the block to the service times of the documents, by the lengths of their texts."""
    lengths = [len(state.document.text) for state in states]
    share = 1 / (sum(lengths) or 1)
    started = time.perf_counter()
    yield
    seconds = time.perf_counter() - started
    for state, length in zip(states, lengths, strict=True):
        state.service += seconds * length * share


def run_batch(engine: Engine, batch: Batch) -> Iterator[BatchScored | WindowFailed]:
    """Run a batch. If it fails, run its halves; a window that fails alone becomes the failure of its document."""
    started = time.perf_counter()
    try:
        logits = engine.run(batch.ids)
    except Exception as error:  # onnxruntime's errors have no common base class; memory may run out, too
        if len(batch.windows) == 1:
            yield WindowFailed(batch.windows[0].document, f"the model failed on this document: {first_line(error)}")
            return
    else:
        yield BatchScored(batch.owners, logits, time.perf_counter() - started)
        return
    for half in batch.halves():
        yield from run_batch(engine, half)
