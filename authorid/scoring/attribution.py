"""The answer for one input: who wrote it, and how probable that is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from authorid.inputs.documents import DocumentRef, Failure
from authorid.outputs.records import Record

__all__ = ["Attribution", "Status", "failed"]

Status = Literal["scored", "unknown", "failed"]
"""Whether an input has an author, has none that is certain enough, or could not be scored."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer for one input.

    Attributes:
        ref: Names the document.
        status: ``scored``; ``unknown`` when a threshold of the decision rule was missed; ``failed`` when the input
            could not be read or scored.
        ranking: Pairs (author, probability) of all authors of the model, most probable first. Authors that are
            equally probable keep the model's order. Empty when `status` is ``failed``. For a model with other classes
            (`Bundle.classes`), the labels stand for the authors here and everywhere below; for regression, the values
            stand for the probabilities.
        windows: How many windows of the document the encoder has seen; 0 when the n-gram model decided alone.
        tokens: How many tokens those windows have, special tokens included.
        encoding: The codec that decoded the document.
        sha256: Hexadecimal digest of the document's bytes; empty for texts in memory.
        error: Why the input failed; None for any other status.
        evidence: The probability of the most probable author in each window alone, in the order of the document.
            Empty unless evidence was requested.
        known_author_score: How much the document looks as if one of the model's authors wrote it; None when the
            model has no n-grams. Low scores point to an unknown author.
        coverage: Share of the document's n-grams that the model has seen in training; None when the model has no
            n-grams, or the document is too short for one. Low values point to another language, or to no prose at all.
        reason: Why the status is ``unknown``; None for any other status.
        adapted: Whether the model was adapted to the documents of the run; the answer then depends on them.

    """

    ref: DocumentRef
    status: Status
    ranking: tuple[tuple[str, float], ...] = ()
    windows: int = 0
    tokens: int = 0
    encoding: str | None = None
    sha256: str | None = None
    error: str | None = None
    evidence: tuple[float, ...] = ()
    known_author_score: float | None = None
    coverage: float | None = None
    reason: str | None = None
    adapted: bool = False

    @property
    def path(self) -> str:
        """The document's name: the path of its file, followed by ``#`` and the member if it is a part of a file."""
        return str(self.ref)

    @property
    def author(self) -> str | None:
        """The most probable author: only a candidate when the status is ``unknown``, None when it is ``failed``."""
        return self.ranking[0][0] if self.ranking else None

    @property
    def probability(self) -> float | None:
        """Probability of the most probable author; None when the input failed."""
        return self.ranking[0][1] if self.ranking else None

    @property
    def runner_up(self) -> str | None:
        """The second most probable author; None when the input failed or the model has one class."""
        return self.ranking[1][0] if len(self.ranking) > 1 else None

    @property
    def runner_up_probability(self) -> float | None:
        """Probability of the second most probable author; None when there is none."""
        return self.ranking[1][1] if len(self.ranking) > 1 else None

    @property
    def margin(self) -> float | None:
        """Difference between the two highest probabilities; None when there is only one, or none."""
        return self.ranking[0][1] - self.ranking[1][1] if len(self.ranking) > 1 else None

    def to_record(self) -> Record:
        """The same answer as a `Record`, which outputs write."""
        return Record(
            self.ref,
            self.status,
            self.ranking,
            self.windows,
            self.tokens,
            self.encoding,
            self.sha256,
            self.error,
            self.evidence,
            self.known_author_score,
            self.coverage,
            self.reason,
            self.adapted,
        )

    @classmethod
    def from_record(cls, record: Record) -> Attribution:
        """The answer that was kept as `record`."""
        return cls(
            record.ref,
            record.status,
            record.ranking,
            record.windows,
            record.tokens,
            record.encoding,
            record.sha256,
            record.error,
            record.evidence,
            record.known_author_score,
            record.coverage,
            record.reason,
            record.adapted,
        )


def failed(failure: Failure) -> Attribution:
    """The row of an input that could not be read or scored."""
    return Attribution(failure.ref, "failed", error=failure.reason)
