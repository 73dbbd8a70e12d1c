"""The canonical row of results: complete, exact, and independent of any format."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from authorid.inputs.documents import DocumentRef

__all__ = ["Attribution", "Expert", "Ranking", "Status"]

Status = Literal["scored", "unknown", "failed"]
"""Whether a document has an author, has none that is certain enough, or could not be scored."""

Expert = Literal["ngrams", "encoder", "both"]
"""The models that can answer."""


class Ranking(tuple[tuple[str, float], ...]):
    """Authors with their probabilities, the likeliest first, and the numbers from which this order was made.

    `authors` and `packed` are the authors in the order of the model and their probabilities, as the bytes of float64 in
    the byte order of the machine. The journal copies these bytes: to collect the numbers from a hundred Python objects
    again would take four times as long as everything else that it does for a row.
    """

    authors: tuple[str, ...]
    packed: bytes

    @classmethod
    def of(cls, authors: tuple[str, ...], packed: bytes) -> Ranking:
        """Rank the authors. Those that are equally likely stay in their order."""
        pairs = zip(authors, array("d", packed), strict=True)
        ranking = cls(sorted(pairs, key=itemgetter(1), reverse=True))
        ranking.authors, ranking.packed = authors, packed
        return ranking


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer for one document: all that a format, the report or a resumed run may need to know.

    Attributes:
        ref: Names the document.
        status: ``scored``; ``unknown`` when a threshold of the decision rule was missed; ``failed`` when the document
            could not be read or scored.
        ranking: Pairs (author, probability) of all authors of the model, most probable first. Authors that are
            equally probable keep the model's order. Empty when `status` is ``failed``. For a model with other classes
            (`Bundle.classes`), the labels stand for the authors here and everywhere below; for regression, the values
            stand for the probabilities.
        windows: How many windows of the document the encoder has seen; 0 when the n-gram model decided alone.
        tokens: How many tokens those windows have, special tokens included.
        encoding: The codec that decoded the document.
        sha256: Hexadecimal digest of the file's bytes, or of the text of a row; empty for texts in memory.
        error: Why the document failed; None for any other status.
        evidence: The probability of the most probable author in each window alone, in the order of the document.
            Empty unless evidence was requested.
        known_author_score: How much the document looks as if one of the model's authors wrote it; None when the
            model has no n-grams. Low scores point to an unknown author.
        coverage: Share of the document's n-grams that the model has seen in training; None when the model has no
            n-grams, or the document is too short for one. Low values point to another language, or to no prose at all.
        reason: Why the status is ``unknown``; None for any other status.
        adapted: Whether the model was adapted to the documents of the run; the answer then depends on them.
        reader: Name of the reader that read the document, and what it left out; None when it failed.
        explanation: The n-grams and passages that speak for and against the most probable author, as JSON
            (`authorid.ngrams.explain.Contributions.row`). None unless explanations were requested.
        expert: Which model answered: the n-gram model, the encoder, or both; None when the document failed.

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
    reader: str | None = None
    expert: Expert | None = None
    explanation: str | None = None

    @property
    def path(self) -> str:
        """The path of the document's file; for a text in memory, its index."""
        return self.ref.source

    @property
    def member(self) -> str | None:
        """The part of the file that is the document, such as the row of a table; None when it is the whole file."""
        return self.ref.member

    @property
    def author(self) -> str | None:
        """The most probable author; None unless the status is ``scored``."""
        return self.ranking[0][0] if self.status == "scored" and self.ranking else None

    @property
    def candidate(self) -> str | None:
        """The most probable author when the status is ``unknown``; None for any other status."""
        return self.ranking[0][0] if self.status == "unknown" and self.ranking else None

    @property
    def probability(self) -> float | None:
        """Probability of the author or candidate; None when the document failed."""
        return self.ranking[0][1] if self.ranking else None

    @property
    def runner_up(self) -> str | None:
        """The second most probable author; None when the document failed or the model has one class."""
        return self.ranking[1][0] if len(self.ranking) > 1 else None

    @property
    def runner_up_probability(self) -> float | None:
        """Probability of the second most probable author; None when there is none."""
        return self.ranking[1][1] if len(self.ranking) > 1 else None

    @property
    def margin(self) -> float | None:
        """Difference between the two highest probabilities; None when there are no two."""
        return self.ranking[0][1] - self.ranking[1][1] if len(self.ranking) > 1 else None
