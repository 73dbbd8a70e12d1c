"""What the threads of a run send to the caller's thread: one small class for each kind of message."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.inputs.documents import Failure
from authorid.scoring.attribution import Attribution
from authorid.scoring.document_state import DocumentState

__all__ = [
    "BatchScored",
    "DocumentStarted",
    "Finished",
    "InputsFinished",
    "Message",
    "StopRequested",
    "ThreadEnded",
    "ThreadFailed",
    "WindowFailed",
]


class Finished(NamedTuple):
    """One input whose row can be written.

    `number` is its position among the inputs of the run. `outcome` is the state of a document that needs no more
    computation, a `Failure`, or the `Attribution` that an earlier run made of an unchanged input.
    """

    number: int
    outcome: DocumentState | Failure | Attribution

    @classmethod
    def of(cls, state: DocumentState) -> Finished:
        """The result of a document: `state` itself, or a `Failure` when it has an error."""
        if state.error is not None:
            return cls(state.number, Failure(state.document.ref, state.error))
        return cls(state.number, state)


class InputsFinished(NamedTuple):
    """Some inputs are finished; those of one chunk travel in one message."""

    results: Sequence[Finished]


class DocumentStarted(NamedTuple):
    """The encoder will see a document; its first windows follow in the batcher."""

    state: DocumentState


class BatchScored(NamedTuple):
    """The encoder's `logits` float32 [windows, authors] of one batch, which took `seconds`.

    `owners` has a pair for each window: the number of its document, and its position in the document.
    """

    owners: Sequence[tuple[int, int]]
    logits: npt.NDArray[np.float32]
    seconds: float


class WindowFailed(NamedTuple):
    """The encoder failed on a window of document `number`; `reason` describes the failure."""

    number: int
    reason: str


class ThreadEnded(NamedTuple):
    """A thread of the run has finished its work."""

    thread: threading.Thread


class ThreadFailed(NamedTuple):
    """A thread of the run raised `error`, which ends the run."""

    error: BaseException


class StopRequested:
    """The run is to end early."""


Message = InputsFinished | DocumentStarted | BatchScored | WindowFailed | ThreadEnded | ThreadFailed | StopRequested
