"""Which experts are asked about a document, and when they have said enough: the levels of effort."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.encoder.engine import Engine
from authorid.encoder.windows import Window, Windower
from authorid.inputs.documents import Document, Failure
from authorid.ngrams.model import NgramModel
from authorid.scoring.attribution import Attribution, attribute, failed, known_author_score, posterior

__all__ = ["NO_NUMBER", "Cascade", "Effort", "Pending"]

NO_NUMBER = "the model failed on this document: its answer is not a number"

_FIRST_ROUND = 2
"""Windows that the encoder sees of a document before its posterior is looked at; later rounds double the number."""

_SETTLED, _LEAD = 0.02, 0.1
"""A posterior that a round moves by less than the first, the author being the same, is settled where that author leads
by more than the second. Where two are nearly even, small steps can change the answer yet."""

Effort = Literal["fast", "full", "auto"]
"""Which experts to ask: the n-grams; all; or the n-grams first, and the encoder only where they are not sure."""


@dataclass(slots=True)
class Pending:
    """A document that experts are busy with: what they said, and the windows that the encoder has not seen.

    `logits` has a row for every window; `seen` says which of them are filled in, `missing` how many are on their way.
    `last` are the probabilities after the round before.
    """

    number: int
    document: Document
    started: float
    size: int = 0
    ngrams: npt.NDArray[np.float64] | None = None
    known_author_score: float | None = None
    probabilities: npt.NDArray[np.float64] | None = None
    waiting: list[Window] = field(default_factory=list)
    logits: npt.NDArray[np.float32] | None = None
    seen: npt.NDArray[np.bool_] | None = None
    last: npt.NDArray[np.float64] | None = None
    missing: int = 0
    tokens: int = 0
    error: str | None = None

    @property
    def windows(self) -> int:
        """How many the document has, seen or not; 0 before the encoder is asked."""
        return 0 if self.logits is None else len(self.logits)

    @property
    def evidence(self) -> npt.NDArray[np.float32] | None:
        """Logits of the windows that the encoder has seen, in their order in the document."""
        return None if self.logits is None or self.seen is None else self.logits[self.seen]


@dataclass(frozen=True, slots=True)
class Cascade:
    """Who is asked about a document, and when they have said enough."""

    expert: NgramModel | None
    engine: Engine | None
    windower: Windower | None
    decision: Decision
    effort: Effort

    def begin(self, documents: Sequence[tuple[int, Document, float]]) -> list[Pending]:
        """Ask the n-gram expert about documents, each with its number in the run and the time when it was begun.

        The probabilities are set where its answer is enough.
        """
        if self.expert is None:
            return [Pending(number, replace(document, text=""), started) for number, document, started in documents]
        reading = self.expert.score_texts([document.text for _, document, _ in documents])
        familiar = known_author_score(reading, self.decision).tolist()
        sizes = [len(document.text.encode("utf-8", "replace")) for _, document, _ in documents]
        # The text is done with; what waits for its logits should not hold it.
        begun = [
            Pending(number, replace(document, text=""), started, *its)
            for (number, document, started), *its in zip(documents, sizes, reading.scores, familiar, strict=True)
        ]
        if self.engine is None or self.effort == "auto":
            with np.errstate(over="ignore", invalid="ignore"):
                probabilities = posterior(None, self.decision, reading.scores, sizes)
            sure = probabilities.max(axis=-1) >= self.decision.exit_threshold
            for pending, own, enough in zip(begun, probabilities, sure.tolist(), strict=True):
                pending.last = own
                if self.engine is None or enough:
                    pending.probabilities = own
        return begun

    def posterior(self, pending: Pending) -> npt.NDArray[np.float64]:
        """Probabilities [authors] by what was said so far; a bundle may carry weights that make them no numbers."""
        with np.errstate(over="ignore", invalid="ignore"):
            return posterior(pending.evidence, self.decision, pending.ngrams, pending.size)

    def answer(self, pending: Pending, authors: tuple[str, ...], evidence: bool) -> Attribution:
        """The row of a document about which enough was said."""
        document = pending.document
        probabilities = self.posterior(pending) if pending.probabilities is None else pending.probabilities
        if not np.isfinite(probabilities).all():
            return failed(Failure(document.ref, NO_NUMBER))
        return attribute(
            document,
            probabilities,
            authors,
            self.decision,
            logits=pending.evidence,
            tokens=pending.tokens,
            known_author_score=pending.known_author_score,
            evidence=evidence,
        )

    def ask(self, pending: Pending, windows: list[Window]) -> list[Window]:
        """Prepare for the encoder's answer to `windows`; returns those that it should see first."""
        authors = self.engine.authors if self.engine is not None else 0
        pending.logits = np.empty((len(windows), authors), dtype=np.float32)
        pending.seen = np.zeros(len(windows), dtype=bool)
        count = len(windows)
        if pending.ngrams is not None and self.effort == "auto":
            # Far apart from one another, whatever their number: multiples of the golden ratio.
            windows = [windows[i] for i in np.argsort(np.arange(count) * 0.6180339887498949 % 1.0, kind="stable")]
            count = _FIRST_ROUND
        pending.waiting = windows
        return self._next(pending, count)

    def ask_more(self, pending: Pending) -> list[Window]:
        """The windows of the next round: none when the posterior has settled, or there are none left."""
        if not pending.waiting or pending.error is not None or pending.seen is None:
            return []
        before = pending.last
        now = pending.last = self.posterior(pending)
        second, best = np.argsort(now)[-2:]
        if now[best] >= self.decision.exit_threshold:
            return []
        calm = before is not None and np.argmax(before) == best and abs(now[best] - before[best]) < _SETTLED
        if calm and now[best] - now[second] > _LEAD:
            return []
        return self._next(pending, int(pending.seen.sum()))

    def _next(self, pending: Pending, count: int) -> list[Window]:
        windows, pending.waiting = pending.waiting[:count], pending.waiting[count:]
        pending.missing = len(windows)
        pending.tokens += sum(len(window.ids) for window in windows)
        return windows
