"""What is known about a document while it is being scored."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Window
from authorid.inputs.documents import Document

__all__ = ["DocumentState"]


@dataclass(slots=True, eq=False)
class DocumentState:
    """A document in progress: its scores so far, and the windows that the encoder has not seen.

    Attributes:
        number: Position of the document among the inputs of the run.
        document: Its text is dropped (made empty) as soon as nothing needs it any more.
        started: When reading the document began, on `time.perf_counter`'s clock.
        explain: Whether the answer is to be explained, for which the text is kept until then.
        service: Seconds of work for the document so far, without waiting: reading it, and its part of what was done for
            several documents at once.
        explanation: The explanation of the answer (see `Attribution`), None while there is none.
        size: Length of the text in bytes of UTF-8.
        ngram_scores: float64 [authors], None without an n-gram model.
        known_author_score: See `Attribution`; so for `coverage`.
        unlike_training: Whether the coverage is below the threshold of the decision rule.
        probabilities: float64 [authors] where the n-gram model decides alone, otherwise None.
        previous: Probabilities after the previous round, at first those of the n-gram model alone; float64 [authors].
        unseen: Windows that are not in the batcher yet, in the order in which the encoder is to see them.
        logits: float32 [windows, authors], allocated when the encoder starts on the document.
        scored: bool [windows], which rows of `logits` are filled.
        in_flight: How many windows of the current round the encoder has not answered yet.
        tokens: How many tokens of the document went to the encoder.
        error: Why the document failed, None while it has not.

    """

    number: int
    document: Document
    started: float
    explain: bool = False
    service: float = 0.0
    size: int = 0
    ngram_scores: npt.NDArray[np.float64] | None = None
    known_author_score: float | None = None
    coverage: float | None = None
    unlike_training: bool = False
    probabilities: npt.NDArray[np.float64] | None = None
    previous: npt.NDArray[np.float64] | None = None
    unseen: list[Window] = field(default_factory=list)
    logits: npt.NDArray[np.float32] | None = None
    scored: npt.NDArray[np.bool_] | None = None
    in_flight: int = 0
    tokens: int = 0
    error: str | None = None
    explanation: str | None = None

    @property
    def decided(self) -> bool:
        """Whether the document needs no encoder: the n-gram model decided, or something failed."""
        return self.probabilities is not None or self.error is not None

    @property
    def window_count(self) -> int:
        """How many windows the document has, seen or not; 0 before the encoder starts on it."""
        return 0 if self.logits is None else len(self.logits)

    @property
    def scored_logits(self) -> npt.NDArray[np.float32] | None:
        """Logits [scored windows, authors] in the order of the document; None before the encoder starts on it."""
        return None if self.logits is None or self.scored is None else self.logits[self.scored]

    def drop_text(self) -> None:
        """Free the text, unless it must still be explained: a document that waits should not hold it."""
        if self.explain and self.explanation is None:
            return
        self.document = replace(self.document, text="")

    def expect(self, windows: int, authors: int) -> None:
        """Allocate the logits of `windows` windows."""
        self.logits = np.empty((windows, authors), dtype=np.float32)
        self.scored = np.zeros(windows, dtype=bool)

    def record(self, position: int, logits: npt.NDArray[np.float32], seconds: float = 0.0) -> None:
        """Store the `logits` [authors] of the window at `position`, which took `seconds`."""
        self.service += seconds
        if self.logits is not None and self.scored is not None:
            self.logits[position] = logits
            self.scored[position] = True
        self.in_flight -= 1

    def fail(self, reason: str) -> None:
        """Note that the encoder failed on a window of the document."""
        self.error = reason
        self.in_flight -= 1
