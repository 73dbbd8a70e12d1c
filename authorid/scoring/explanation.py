"""Why a document got its answer: n-grams and passages that speak for and against authors, and the encoder's share."""

from __future__ import annotations

import math
import sys
from collections.abc import Generator
from contextlib import closing
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.inputs.documents import Document, Failure
from authorid.ngrams.explain import Contributions, NgramContribution, Passage
from authorid.outputs.escaping import unicode_text
from authorid.scoring.attribution import Attribution
from authorid.scoring.cascade import Cascade
from authorid.scoring.posterior import ngram_evidence
from authorid.scoring.prediction import attribute_inputs
from authorid.scoring.rolling import RollingAttribution, RollingOptions, attribute_segments
from authorid.scoring.scheduler import Inputs

__all__ = ["AuthorExplanation", "Explanation", "LogOdds", "explain_inputs"]


_LEAST = sys.float_info.min


@dataclass(frozen=True, slots=True)
class AuthorExplanation:
    """What speaks for and against one author, relative to the mean of all authors.

    `score` is the author's n-gram score minus the mean score of all authors, which the decision rule takes. It is the
    sum of the `intercept` and the contributions of all n-grams. `ngrams` and `passages` are those with the highest and
    the lowest contributions, the highest first.
    """

    author: str
    probability: float
    score: float
    intercept: float
    ngrams: tuple[NgramContribution, ...]
    passages: tuple[Passage, ...]


@dataclass(frozen=True, slots=True)
class LogOdds:
    """The natural logarithm of the ratio of two authors' probabilities, and what each model adds to it."""

    total: float
    ngrams: float
    encoder: float


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a document got its answer.

    Attributes:
        attribution: The answer; its `evidence` is the probability of the answer in each window of the encoder.
        text: The document as the model reads it; places in explanations are characters of it.
        authors: The names of all authors, in the order of the model.
        decision: The decision rule.
        contributions: What each n-gram contributes to the scores of all authors.

    """

    attribution: Attribution
    text: str
    authors: tuple[str, ...]
    decision: Decision
    contributions: Contributions

    @cached_property
    def scores(self) -> npt.NDArray[np.float64]:
        """The n-gram scores of all authors [authors]."""
        return self.contributions.scores

    def of(self, author: str, *, ngrams: int = 10, passages: int = 3) -> AuthorExplanation:
        """What speaks for and against `author`: at most so many `ngrams` and `passages` each.

        Raises `ValueError` when the model has no such author.
        """
        number = self.authors.index(author)
        return AuthorExplanation(
            author,
            dict(self.attribution.ranking)[author],
            float(self.scores[number] - self.scores.mean()),
            self.contributions.intercept(number),
            tuple(self.contributions.top_ngrams(number, most=ngrams)),
            tuple(self.contributions.top_passages(number, most=passages)),
        )

    def characters(self, author: str, against: str | None = None) -> npt.NDArray[np.float64]:
        """What each character of the text contributes for `author` [characters].

        It is relative to the mean of all authors, or to the author `against`.
        """
        other = None if against is None else self.authors.index(against)
        return self.contributions.of_characters(self.authors.index(author), other)

    def log_odds(self, author: str, against: str) -> LogOdds:
        """How much more probable `author` is than another one, and what the n-grams and the encoder add to that."""
        shares = dict(self.attribution.ranking)
        # A probability may be too small for a float64; JSON has no infinity.
        total = math.log(max(shares[author], _LEAST)) - math.log(max(shares[against], _LEAST))
        if self.attribution.expert == "ngrams":
            return LogOdds(total, total, 0.0)
        size = len(self.text.encode("utf-8", "replace"))
        evidence = ngram_evidence(self.scores, size, self.decision) / self.decision.temperature
        own = float(evidence[self.authors.index(author)] - evidence[self.authors.index(against)])
        return LogOdds(total, own, total - own)

    def segments(self, options: RollingOptions = RollingOptions()) -> RollingAttribution:
        """Who wrote which part of the document, by the n-gram model alone."""
        return attribute_segments(self.contributions.model, self.decision, self.authors, self.text, options)

    def compared(self, author: str | None = None) -> tuple[str, str]:
        """The answer and the runner-up; or `author` and the answer, if `author` is another one.

        Raises `ValueError` when the model has no such author.
        """
        first, second = (name for name, _ in self.attribution.ranking[:2])
        if author is None or author == first:
            return first, second
        if author not in self.authors:
            raise ValueError(f"the model knows no author {author!r}")
        return author, first

    def to_json(self, author: str | None = None) -> dict[str, Any]:
        """What `compared`, `of` and `log_odds` give, as JSON-ready values."""
        row, pair = self.attribution, self.compared(author)
        return {
            "path": unicode_text(row.path),
            "member": None if row.member is None else unicode_text(row.member),
            "status": row.status,
            "answer": row.ranking[0][0],
            "expert": row.expert,
            "characters": len(self.text),
            "log_odds": {"author": pair[0], "against": pair[1], **asdict(self.log_odds(*pair))},
            "encoder": {"weight": self.decision.encoder_weight, "windows": list(row.evidence)},
            "authors": [asdict(self.of(name)) for name in pair],
        }


def explain_inputs(cascade: Cascade, inputs: Inputs) -> Generator[Explanation | Attribution, None, None]:
    """An explanation for each document of `inputs`; a row whose status is ``failed`` for each that cannot be scored.

    The `cascade` has an n-gram model.
    """
    assert cascade.ngram_model is not None
    with closing(inputs):
        for item in inputs:
            (row,) = attribute_inputs(cascade, _single(item), evidence=True)
            if row.status == "failed" or not isinstance(item, Document):
                yield row
                continue
            contributions = Contributions.of(cascade.ngram_model, item.text)
            yield Explanation(row, item.text, cascade.authors, cascade.decision, contributions)


def _single(item: Document | Failure | Attribution) -> Inputs:
    yield item
