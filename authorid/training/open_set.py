"""Learn what a text by an unknown author looks like: authors are left out in turn, and play the strangers.

Two things are looked at (`authorid.bundle.decision.KnownAuthorRule`). How much the n-grams that many authors share speak for the one
whom all n-grams name, compared with what they say for that author's own documents when these are left out: what few use
is mostly of a subject, and strangers write about the same ones; and colleagues on one beat divide the scores among
them, so what is high differs from author to author. And how far the authors are apart in the views of the plain text,
which say whether the subject is known. Whatever is learnt of n-grams (which there are, which words are common, how much
they are worth) is learnt anew without the authors that are left out; else their own words would make strangers of
nobody.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import KnownAuthorRule
from authorid.machine import available_cores
from authorid.ngrams.features import View
from authorid.scoring.attribution import LEAST_SPREAD
from authorid.training.ngram_fit import (
    Counts,
    Labels,
    NgramOptions,
    Similarities,
    count,
    inverse_frequencies,
    similarities,
    weigh,
)
from authorid.training.shift import blocks

__all__ = ["Compared", "Strangers", "auroc", "look_for_strangers"]

SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75)
"""False-attribution rates whose thresholds are kept in the bundle."""

FOLD = 10
"""Authors left out at a time, at least; with very many authors, an eighth of them."""

BLOCKS = 5
"""Blocks of time, left out in turn to see what scores an author's own documents get."""

LATEST = 4.0
"""Every document of the last block counts as so many: those to come will be later too."""

WEIGHTS = (5.0, 1.0)
"""Of z and spread, each divided by its standard deviation (docs/research/accuracy.md)."""

PLAIN, MANNERS = 2.0, 3.0
"""How often shared n-grams count in the plain views, and in those that look at no others: the latter weigh less in
answers than what they say of manners is worth here."""

LEAST_DEVIATION = 1e-6
"""Documents that differ less in a trait are alike in it: nothing can be learnt from them."""

CAUTION = 8.0
"""So many times as much as chance alone would have it, what is usual for an author is drawn to what is usual for all:
what sets authors apart this month does so less the next."""

_TOGETHER = 2
"""Fits at a time, at most: each of them has all documents in memory once more."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Strangers:
    """The rule that was learnt, pairs (share, known-author score) for `Decision.false_attribution_thresholds`, and how well it does."""

    rule: KnownAuthorRule
    thresholds: tuple[tuple[float, float], ...]
    report: dict[str, Any]


@dataclass(frozen=True)
class _Traits:
    """What known-author score is made of, for some documents: each float64 [documents]."""

    z: Scores
    spread: Scores

    def score(self, rule: KnownAuthorRule) -> Scores:
        evidence = rule.z_weight * self.z + rule.spread_weight * self.spread - rule.offset
        return np.asarray(0.5 + 0.5 * np.tanh(evidence / 2))


@dataclass(frozen=True)
class Compared:
    """Documents, and all that fits to any subset of them need: their similarities, and parts of their tf-idf.

    `shared` has the n-grams that many authors share, which count as often as `_view_weights` says of their view; `plain` has
    all n-grams of the plain views.
    """

    paths: Sequence[str]
    products: Similarities
    shared: _Columns
    plain: _Columns
    ridge: float

    @classmethod
    def of(
        cls,
        paths: Sequence[str],
        products: Similarities,
        matrix: Any,
        counts: Counts,
        ridge: float,
    ) -> Compared:
        """From the `counts` and the tf-idf `matrix` of documents."""
        views = counts.reader.views
        sizes = np.diff(counts.bounds)
        plain = np.isin(np.arange(len(views)), _plain_views(views)).repeat(sizes)
        shared = matrix[:, np.flatnonzero(counts.shared)]
        # It is their inner products that count so often.
        shared.data *= np.sqrt(_view_weights(views)).repeat(sizes)[counts.shared][shared.indices]
        return cls(paths, products, _Columns.of(shared), _Columns.of(matrix[:, np.flatnonzero(plain)]), ridge)

    @classmethod
    def counted(
        cls, paths: Sequence[str], texts: Sequence[str], labels: Labels, training: Labels, options: NgramOptions
    ) -> Compared:
        """Count the n-grams of `texts` as far as the documents `training` know them."""
        counts = count(texts, labels, options, training)
        matrix = weigh(counts, inverse_frequencies(counts, training))
        return cls.of(paths, similarities(matrix, labels), matrix, counts, options.ridge)

    def traits(self, training: Labels, others: Labels) -> _Traits:
        """Those of the documents `others`, by a fit to the documents `training`."""
        dual, _ = self.products.solve(training, self.ridge)
        best = ((self.products.matrix[np.ix_(others, training)] + 1.0) @ dual).argmax(axis=1)
        own = self.shared.scores(training, others, dual)[np.arange(len(others)), best]
        mean, deviation = self.own_scores(training)
        plain = self.plain.scores(training, others, dual)
        return _Traits((own - mean[best]) / deviation[best], np.log(np.maximum(plain.std(axis=1), LEAST_SPREAD)))

    def own_scores(self, training: Labels) -> tuple[Scores, Scores]:
        """Mean and standard deviation [authors] of what is shared says for an author's own documents, when left out."""
        labels = self.products.labels[training]
        names = [self.paths[index] for index in training]
        own = np.full(len(training), np.nan)
        worth = np.ones(len(training))
        in_time = blocks(names, labels, lambda some: self.products.near(training[some]), BLOCKS)
        worth[in_time[-1]] = LATEST
        for block in in_time:
            rest = np.delete(training, block)
            if not len(block) or len(np.unique(self.products.labels[rest])) < 2:
                continue
            dual, left = self.products.solve(rest, self.ridge)
            found = block[np.isin(labels[block], left)]
            authors = np.searchsorted(left, labels[found])
            own[found] = self.shared.scores(rest, training[found], dual)[np.arange(len(found)), authors]
        return _by_author(own, worth, labels)


@dataclass(frozen=True)
class _Columns:
    """Some columns of tf-idf: sparse [documents, rows], and the same with a row of memory for each column."""

    matrix: Any
    transposed: Any

    @classmethod
    def of(cls, matrix: Any) -> _Columns:
        return cls(matrix, matrix.T.tocsr())

    def scores(self, training: Labels, others: Labels, dual: Scores) -> Scores:
        """What these columns add to the scores [others, authors] by a fit to the documents `training`."""
        weights = np.zeros((self.matrix.shape[0], dual.shape[1]))
        weights[training] = dual
        return np.asarray(self.matrix[others] @ (self.transposed @ weights))


def _by_author(own: Scores, worth: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Mean and standard deviation [authors] of what documents have, `own` [documents], by their `worth`.

    NaN is what was not measured. Those of an author are drawn to those of all, by `CAUTION` times what is best where
    authors differ as much as these and their documents do (empirical Bayes: Efron and Morris, "Data analysis using
    Stein's estimator and its generalizations", 1975).
    """
    known, places = np.unique(labels, return_inverse=True)
    means, variances = np.zeros((2, len(known)))
    number = np.zeros(len(known))
    for author in range(len(known)):
        some = (places == author) & ~np.isnan(own)
        if weights := worth[some].tolist():
            # As many documents of equal worth would say as much.
            number[author] = sum(weights) ** 2 / sum(weight**2 for weight in weights)
            means[author] = np.average(own[some], weights=weights)
            variances[author] = np.average((own[some] - means[author]) ** 2, weights=weights)
    measured = number > 0
    if not measured.any():
        return means, np.ones(len(known))
    mean, deviation = float(means[measured].mean()), float(np.sqrt(variances[measured]).mean())
    trust = np.zeros(len(known))
    several = number > 1
    if several.sum() > 1:
        within = float((variances * number)[several].sum() / (number - 1)[several].sum())
        between = max(float(means[several].var(ddof=1) - (within / number[several]).mean()), 0.0)
        trust = number * between / np.maximum(number * between + CAUTION * within, 1e-12)
    means = trust * means + (1 - trust) * mean
    deviations = trust * np.sqrt(variances) + (1 - trust) * deviation
    return means, np.maximum(deviations, 0.01)


def look_for_strangers(
    everybody: Compared, texts: Sequence[str], training: Labels, held: Labels, options: NgramOptions
) -> Strangers | None:
    """Leave authors out in turn, and compare how familiar their documents look with those of the others.

    `everybody` are the documents with these `texts`, by a count of them all; `training` and `held` are a shifted split
    of them. Shares that are less than one document are left out. None where there are too few authors, or too few
    documents, or where these are all alike.
    """
    paths, labels = everybody.paths, everybody.products.labels
    authors = np.random.default_rng(0).permutation(np.unique(labels))
    fold = max(min(FOLD, len(authors) // 3), len(authors) // 8)
    if fold < 1 or not len(held):
        return None

    def traits(inside: Labels, *others: Labels) -> list[_Traits]:
        """Those of `others` by a fit to the documents `inside`, and by nothing else that is known of any document."""
        chosen = np.concatenate([inside, *others])
        own = np.arange(len(inside))
        corpus = Compared.counted(
            [paths[index] for index in chosen], [texts[index] for index in chosen], labels[chosen], own, options
        )
        edges = np.cumsum([len(inside), *map(len, others)])
        return [corpus.traits(own, np.arange(start, stop)) for start, stop in pairwise(edges)]

    folds = [authors[start : start + fold] for start in range(0, len(authors), fold)]
    tasks: list[tuple[Labels, ...]] = []
    for out in folds:
        strangers = np.isin(labels[held], out)
        tasks.append((training[~np.isin(labels[training], out)], held[~strangers], held[strangers]))
    for out in folds:
        # For the thresholds, the model is as it will be: nothing of a stranger needs to be held back in time.
        strangers = np.isin(labels, out)
        tasks.append((np.flatnonzero(~strangers), np.flatnonzero(strangers)))
    # Products of sparse matrices take one core each, and most of the time.
    with ThreadPoolExecutor(min(_TOGETHER, available_cores())) as pool:
        found = list(pool.map(lambda task: traits(*task), tasks))
    known, strange = zip(*found[: len(folds)], strict=True)
    whole = [some for (some,) in found[len(folds) :]]
    inner, outer = _together(known), _together(strange)
    rule = _weigh(inner, outer)
    if rule is None:
        return None
    mean, deviation = everybody.own_scores(np.arange(len(labels)))
    rule = replace(
        rule,
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        view_weights=_view_weights(options.views),
        plain_views=_plain_views(options.views),
    )
    # The stricter of two: strangers' documents of the same time, or later ones.
    familiar = [_together(whole).score(rule), outer.score(rule)]
    thresholds = tuple(
        (share, max(_least(some, share) for some in familiar))
        for share in SHARES
        if share * min(map(len, familiar)) >= 1
    )
    if not thresholds:
        return None
    area = auroc(inner.score(rule), familiar[1])
    return Strangers(rule, thresholds, {"open_set_auroc": area, "authors_left_out": int(fold)})


def _least(familiar: Scores, share: float) -> float:
    """The least known-author score that at most `share` of these documents have."""
    return float(np.nextafter(np.quantile(familiar, 1 - share, method="higher"), np.inf))


def _weigh(known: _Traits, strange: _Traits) -> KnownAuthorRule | None:
    """`WEIGHTS`, in units of the standard deviations; the middle between the two kinds of documents is 0.5.

    None where all documents have the same z, or the same spread.
    """
    weights, middle = [], 0.0
    for weight, one, other in zip(WEIGHTS, _list(known), _list(strange), strict=True):
        deviation = float(np.concatenate([one, other]).std())
        if deviation < LEAST_DEVIATION:
            return None
        weights.append(weight / deviation)
        middle += weights[-1] * float(one.mean() + other.mean()) / 2
    z, spread = weights
    return KnownAuthorRule((), (), (), (0,), z, spread, middle)


def _list(traits: _Traits) -> tuple[Scores, Scores]:
    return traits.z, traits.spread


def _together(traits: Sequence[_Traits]) -> _Traits:
    return _Traits(*(np.concatenate(some) for some in zip(*map(_list, traits), strict=True)))


def _plain_views(views: Sequence[View]) -> tuple[int, ...]:
    """The views that show subjects best: of those that look at all n-grams, what masks nothing, or least."""
    kept = [-1.0 if view.shared else np.inf if view.keep is None else float(view.keep) for view in views]
    return tuple(number for number, own in enumerate(kept) if own == max(kept))


def _view_weights(views: Sequence[View]) -> tuple[float, ...]:
    """How often the shared n-grams of each view count."""
    plain = _plain_views(views)
    return tuple(MANNERS if view.shared else PLAIN if number in plain else 1.0 for number, view in enumerate(views))


def auroc(known: npt.NDArray[np.floating], unknown: npt.NDArray[np.floating]) -> float:
    """Probability that a document of a known author gets a higher value than one of an unknown author."""
    values = np.concatenate([known, unknown])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    own = float(ranks[: len(known)].sum()) - len(known) * (len(known) + 1) / 2
    return own / (len(known) * len(unknown))
