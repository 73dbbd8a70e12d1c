"""Choose the views that suit a corpus, and their weights, on its shifted split.

`authorid.training.views.BYTE_VIEWS` were found on newspaper articles by many authors. Other corpora are better off with
the plain n-grams of most text classifiers: informal texts are full of spellings that masking hides, and short ones have
few n-grams of any one size. Inner products of documents add up over views, so a choice costs one count, and one fit for
every candidate. Where the best candidate is better by no more than chance, nothing changes. Where too little was held
out to choose, plain n-grams are added, which small corpora are hardly ever worse with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams.features import View
from authorid.training.confidence import held_out_losses
from authorid.training.ngram_options import NgramOptions
from authorid.training.ridge import Similarities, inner_products, spread
from authorid.training.samples import LabelledTexts
from authorid.training.term_counts import TermCounts, count_all, inverse_frequencies, limited, tfidf
from authorid.training.views import BYTE_VIEWS, FREQUENT_WORDS, PLAIN_BYTES, PLAIN_WORDS

__all__ = ["ViewChoice", "choose_views"]

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]

GROUPS = (BYTE_VIEWS, (PLAIN_BYTES,), (PLAIN_WORDS,), (FREQUENT_WORDS,))

PLAIN_WEIGHTS = (1.0, 2.0, 4.0)
"""Weights of plain bytes and of plain words that are tried beside `BYTE_VIEWS`."""

RIDGES = (8.0, 64.0)
"""Factors on the ridge that are tried without the usual views."""

LEAST_HELD_OUT = 50
"""With fewer held-out documents, the choice is `FEW`, or `FEW_AND_SHORT` for texts of fewer than `SHORT` characters."""

SHORT = 1000

MOST_AUTHORS, MOST_TEXTS = 250, 4000
"""With more authors, or more of their texts, some are left out, evenly."""

GAIN, STEP = 0.02, 0.01
"""Any other candidate must be better than the usual views by a share `GAIN` of their loss, each further step by `STEP`.

The fit that chooses has fewer documents than the final one; the fewer there are, the better do plain n-grams look.
"""

ERRORS = 1.0
"""A candidate must be better than the usual views by this many standard errors of the difference."""


@dataclass(frozen=True)
class ViewChoice:
    """The `options` with the chosen views and ridge.

    `counts` are those of the training texts and the held-out ones with these views; None if these were not counted.
    """

    options: NgramOptions
    counts: TermCounts | None = None


@dataclass(frozen=True)
class _Candidate:
    """Weights of the inner products of each of `GROUPS`, and a factor on the ridge."""

    weights: tuple[float, ...]
    ridge: float = 1.0

    def views(self) -> tuple[View, ...]:
        """The views with their weights; vectors have the root of the weight of inner products."""
        return tuple(
            replace(view, weight=view.weight * weight**0.5)
            for weight, group in zip(self.weights, GROUPS, strict=True)
            if weight
            for view in group
        )


USUAL = _Candidate((1.0, 0.0, 0.0, 0.0))
FEW, FEW_AND_SHORT = _Candidate((1.0, 2.0, 2.0, 0.0)), _Candidate((0.0, 1.0, 1.0, 0.0))


def choose_views(training: LabelledTexts, held: LabelledTexts, options: NgramOptions) -> ViewChoice:
    """Choose among `GROUPS` by fits to the texts `training`, which score the texts `held`."""
    if options.views != BYTE_VIEWS:
        return ViewChoice(options)
    if len(held) < LEAST_HELD_OUT or len(np.unique(held.labels)) < 2:
        short = np.median([len(text) for text in training.texts]) < SHORT
        return ViewChoice(replace(options, views=(FEW_AND_SHORT if short else FEW).views()))
    authors = np.unique(held.labels)
    authors = authors[np.linspace(0, len(authors) - 1, min(MOST_AUTHORS, len(authors))).round().astype(np.int64)]
    known, others = _some(training, authors, MOST_TEXTS * 6 // 10), _some(held, authors, MOST_TEXTS * 4 // 10)
    complete = len(known) == len(training) and len(others) == len(held)
    together = known + others
    everything = tuple(view for group in GROUPS for view in group)
    fitted = np.arange(len(known))
    counts = count_all(together.texts, together.labels, replace(options, views=everything), fitted)
    best = _Search(_group_products(counts, fitted), together.labels, fitted, options.ridge).best()
    chosen = replace(options, views=best.views(), ridge=options.ridge * best.ridge)
    if not complete:
        return ViewChoice(chosen)
    return ViewChoice(chosen, limited(counts.with_views(chosen.views), together.labels, chosen, fitted))


def _some(texts: LabelledTexts, authors: Labels, most: int) -> LabelledTexts:
    """The texts by `authors`, or about `most` of them."""
    own = texts[np.flatnonzero(np.isin(texts.labels, authors))]
    return own[spread(np.searchsorted(authors, own.labels), most)]


def _group_products(counts: TermCounts, training: Labels) -> list[npt.NDArray[np.float32]]:
    """Inner products [texts, texts] in the views of each of `GROUPS`."""
    products = []
    for group in GROUPS:
        own = counts.with_views(group)
        products.append(inner_products(tfidf(own, inverse_frequencies(own, training))).astype(np.float32))
    return products


class _Search:
    """Looks for the candidate with the least loss, one kind of change after the other."""

    def __init__(self, products: list[npt.NDArray[np.float32]], labels: Labels, training: Labels, ridge: float) -> None:
        self._products = products
        self._labels = labels
        self._training = training
        self._held = np.arange(len(training), len(labels))
        self._ridge = ridge
        self._losses: dict[_Candidate, Scores] = {}

    def best(self) -> _Candidate:
        """Return the best candidate, or `USUAL` if no other is clearly better."""
        best = self._first_good(
            USUAL,
            *(_Candidate((1.0, weight, weight, 0.0)) for weight in PLAIN_WEIGHTS),
            _Candidate((0.0, 1.0, 1.0, 0.0)),
        )
        usual, plain_bytes, plain_words, _ = best.weights
        if plain_bytes:
            best = self._first_good(
                best,
                _Candidate((usual, plain_bytes, 0.0, 0.0)),
                *([_Candidate((usual, 0.0, plain_words, 0.0))] if usual else []),
            )
        best = self._first_good(best, replace(best, weights=(*best.weights[:3], 1.0)))
        if not best.weights[0]:  # beside the usual views, a stronger ridge lowers the loss, and the accuracy too
            best = self._first_good(best, *(replace(best, ridge=factor) for factor in RIDGES))
        difference = self._loss(USUAL) - self._loss(best)
        error = float(difference.std()) / len(difference) ** 0.5
        return best if float(difference.mean()) > ERRORS * error else USUAL

    def _first_good(self, *candidates: _Candidate) -> _Candidate:
        """Return the first of `candidates` that is nearly as good as the best of them."""
        least = min(float(self._loss(candidate).mean()) for candidate in candidates)
        usual = float(self._loss(USUAL).mean())

        def good(candidate: _Candidate) -> bool:
            share = GAIN if candidate == USUAL else STEP
            return float(self._loss(candidate).mean()) <= least + share * usual

        return next(candidate for candidate in candidates if good(candidate))

    def _loss(self, candidate: _Candidate) -> Scores:
        """The loss of each held-out document by a fit with the views of `candidate`."""
        if candidate not in self._losses:
            matrix: Any = sum(
                weight * own.astype(np.float64)
                for weight, own in zip(candidate.weights, self._products, strict=True)
                if weight
            )
            products = Similarities(matrix, self._labels)
            scores, authors = products.scores(self._training, self._held, self._ridge * candidate.ridge)
            self._losses[candidate] = held_out_losses(scores, np.searchsorted(authors, self._labels[self._held]))
        return self._losses[candidate]
