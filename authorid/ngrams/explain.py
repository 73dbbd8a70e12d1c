"""Why the n-gram model gives a text its scores: what each n-gram, and each place in the text, contributes.

The score of an author is linear in the tf-idf of the text, so it is the author's intercept plus one contribution for
each n-gram. The contribution of an n-gram is divided evenly among its occurrences, and that of an occurrence among the
characters it covers. So the contributions of all n-grams, or of all characters, add up to the same score.

Only differences between authors decide an answer: an n-gram that raises the scores of all authors alike says nothing.
Contributions *for* an author are therefore relative to the mean of all authors, as the decision rule takes scores
(`authorid.bundle.decision`); contributions for one author *against* another are relative to the other.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams.model import NgramModel
from authorid.ngrams.occurrences import Occurrences
from authorid.ngrams.passages import sentence_edges
from authorid.outputs.escaping import unicode_text

__all__ = ["Contributions", "NgramContribution", "Passage"]

Floats = npt.NDArray[np.float64]

_ROW_NGRAMS, _ROW_PASSAGES, _ROW_CHARACTERS = 5, 2, 200
"""What a row of results has room for: n-grams and passages for and against, and characters of a passage."""

_KEPT_CHARACTERS = 1 << 17
"""Characters of a text whose occurrences are kept in memory; those of a longer one are found again when needed."""

_BLOCK = 1 << 14
"""Occurrences whose contributions to all authors are computed at a time."""


@dataclass(frozen=True, slots=True)
class NgramContribution:
    """What an n-gram contributes: the `ngram` as its `view` sees it, how often it occurs, and where it is first.

    `text` is what it covers at its first occurrence, from character `start` to `end`. Words that the view masks appear
    in `ngram` as ``xx``, ``Xx`` or ``00``, masked letters as ``a`` or ``A``. N-grams that share a bucket of the model
    are one; the most frequent of them is named.
    """

    view: str
    ngram: str
    text: str
    count: int
    contribution: float
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a text, from character `start` to `end`, and what it contributes."""

    start: int
    end: int
    text: str
    contribution: float


@dataclass(frozen=True, eq=False)
class Contributions:
    """What the n-grams of a `text` contribute to the scores of the `model`.

    `features` int32 [n] are those that occur, `values` float64 [n] their scaled tf-idf, and `counts` int64 [n] how
    often they occur.
    """

    model: NgramModel
    text: str
    features: npt.NDArray[np.int32]
    values: Floats
    counts: npt.NDArray[np.int64]

    @classmethod
    def of(cls, model: NgramModel, text: str) -> Contributions:
        """Count and weight the n-grams of `text`."""
        counts, vectors = model.count_and_vectorize(text)
        values = (vectors.data * model.scale.take(vectors.indices)).astype(np.float64)
        return cls(model, text, vectors.indices, values, counts.data)

    @property
    def scores(self) -> Floats:
        """The score of each author [authors]: that of `NgramModel.score_text`, summed here from the contributions."""
        total = np.asarray(self.model.bias, dtype=np.float64).copy()
        for start in range(0, len(self.features), _BLOCK):
            chosen = slice(start, start + _BLOCK)
            total += self.values[chosen] @ self.model.weights.take(self.features[chosen], axis=0).astype(np.float64)
        return total

    def intercept(self, author: int, against: int | None = None) -> float:
        """The score of `author` for a text without n-grams, relative to the mean of all authors or to `against`."""
        return float(self._relative(self.model.bias[None, :], author, against)[0])

    def of_ngrams(self, author: int, against: int | None = None) -> Floats:
        """The contribution of each of the `features` for `author` [n].

        With the `intercept`, they add up to the score of `author` minus the mean score of all authors, or minus the
        score of the author `against`.
        """
        weights = self.model.weights.take(self.features, axis=0)
        return self.values * self._relative(weights, author, against)

    def of_characters(self, author: int, against: int | None = None) -> Floats:
        """The contribution of each character of the text for `author`; the sum is that of `of_ngrams`."""
        own = np.zeros(int(self.model.bounds[-1]))
        own[self.features] = self.of_ngrams(author, against) / self.counts
        change = np.zeros(len(self.text) + 1)
        for found in self._occurrences():
            density = own.take(found.features) / (found.ends - found.starts)
            np.add.at(change, found.starts, density)
            np.add.at(change, found.ends, -density)
        return np.cumsum(change)[:-1]

    def top_ngrams(self, author: int, against: int | None = None, most: int = 10) -> list[NgramContribution]:
        """The n-grams that contribute most for `author`, and those that contribute most against; highest first."""
        contributions = self.of_ngrams(author, against)
        chosen = _extremes(contributions, most)
        wanted = {int(self.features[i]): i for i in chosen.tolist()}
        names: dict[int, Counter[str]] = {feature: Counter() for feature in wanted}
        first: dict[int, tuple[int, int, int]] = {}
        for found in self._occurrences():
            for number in np.flatnonzero(np.isin(found.features, list(wanted))).tolist():
                feature = int(found.features[number])
                names[feature][found.show(number)] += 1
                place = (found.view, int(found.starts[number]), int(found.ends[number]))
                first[feature] = min(first.get(feature, place), place)
        ranked = []
        for feature, i in wanted.items():
            view, start, end = first[feature]
            name = names[feature].most_common(1)[0][0]
            ranked.append(
                NgramContribution(
                    self.model.extractor.views[view].name,
                    name,
                    self.text[start:end],
                    int(self.counts[i]),
                    float(contributions[i]),
                    start,
                    end,
                )
            )
        return sorted(ranked, key=lambda ngram: (-ngram.contribution, ngram.start, ngram.view))

    def top_passages(self, author: int, against: int | None = None, most: int = 3) -> list[Passage]:
        """The sentences that contribute most for `author`, and those that contribute most against; highest first."""
        edges = sentence_edges(self.text)
        sums = np.append(0.0, np.cumsum(self.of_characters(author, against)))
        contributions = np.diff(sums.take(edges))
        return [
            Passage(start, end, self.text[start:end].strip(), float(contributions[i]))
            for i in _extremes(contributions, most).tolist()
            for start, end in [(int(edges[i]), int(edges[i + 1]))]
        ]

    def row(self, author: int, name: str) -> dict[str, object]:
        """What a row of results holds about `author`, called `name`: JSON-ready, in at most about 2 kB."""
        return {
            "author": unicode_text(name),
            "ngrams": [
                {
                    "ngram": unicode_text(one.ngram),
                    "view": one.view,
                    "count": one.count,
                    "contribution": round(one.contribution, 6),
                }
                for one in self.top_ngrams(author, most=_ROW_NGRAMS)
            ],
            "passages": [
                {
                    "start": one.start,
                    "end": one.end,
                    "text": unicode_text(one.text[:_ROW_CHARACTERS]),
                    "contribution": round(one.contribution, 6),
                }
                for one in self.top_passages(author, most=_ROW_PASSAGES)
            ],
        }

    def _relative(self, weights: npt.NDArray[Any], author: int, against: int | None) -> Floats:
        own = weights[:, author].astype(np.float64)
        other = weights.mean(axis=1, dtype=np.float64) if against is None else weights[:, against].astype(np.float64)
        return own - other

    def _occurrences(self) -> Iterable[Occurrences]:
        return self._kept if len(self.text) <= _KEPT_CHARACTERS else self.model.occurrences(self.text)

    @cached_property
    def _kept(self) -> list[Occurrences]:
        return list(self.model.occurrences(self.text))


def _extremes(contributions: Floats, most: int) -> npt.NDArray[np.int64]:
    """The indices of the `most` highest positive `contributions` and of the `most` lowest negative ones."""
    order = np.argsort(-contributions, kind="stable")
    high = order[:most][contributions[order[:most]] > 0]
    low = order[-most:]
    return np.concatenate([high, low[contributions[low] < 0]])
