"""Learn what a text by an unknown author looks like: authors are left out in turn, and play the strangers.

Three things are looked at (`authorid.bundle.Familiarity`). How the best score compares with what its author's own
documents get when they are left out: colleagues on one beat divide the scores among them, so what is high differs from
author to author. How far the authors are apart in the views of the plain text, which say whether the subject is known.
And how many of the text's phrases are widespread among the training documents.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.attribution import LEAST_SPREAD
from authorid.bundle import Familiarity
from authorid.ngrams import WIDESPREAD, View
from authorid.training.ngrams import Counts, Labels, NgramOptions, Similarities, similarities
from authorid.training.shift import blocks

__all__ = ["Strangers", "auroc", "look_for_strangers"]

SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75)
"""False-attribution rates whose thresholds are kept in the bundle."""

FOLD = 10
"""Authors left out at a time, at least; with very many authors, an eighth of them."""

BLOCKS = 5
"""Blocks of time, left out in turn to see what scores an author's own documents get."""

WEIGHTS = (2.0, 1.0, 1.0)
"""Of standing, spread and share, each divided by its standard deviation (docs/accuracy.md)."""

CAUTION = 15.0
"""What is usual for an author is believed as if so many documents by an average one were among the author's own."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Strangers:
    """The rule that was learnt, pairs (share, familiarity) for `Decision.strangers`, and how well it does."""

    familiarity: Familiarity
    thresholds: tuple[tuple[float, float], ...]
    report: dict[str, Any]


@dataclass(frozen=True)
class _Traits:
    """What familiarity is made of, for some documents: each float64 [documents]."""

    standing: Scores
    spread: Scores
    share: Scores

    def familiarity(self, rule: Familiarity) -> Scores:
        evidence = rule.top * self.standing + rule.spread * self.spread + rule.share * self.share - rule.offset
        return np.asarray(0.5 + 0.5 * np.tanh(evidence / 2))


@dataclass(frozen=True)
class _Corpus:
    """Documents, and all that fits to any subset of them need.

    Similarities by all views, and by the plain ones alone; counts of the phrases, sparse [documents, rows]; how many
    phrases there are, with a row or without, [documents].
    """

    paths: Sequence[str]
    products: Similarities
    plain: Similarities
    phrases: Any
    sizes: Scores
    options: NgramOptions

    def usual(self, training: Labels) -> tuple[Scores, Scores]:
        """Mean and standard deviation [authors] of the authors' scores for their own documents, when left out."""
        labels = self.products.labels
        known, places = np.unique(labels[training], return_inverse=True)
        names = [self.paths[index] for index in training]
        own = np.full(len(training), np.nan)
        for block in blocks(names, labels[training], lambda some: self.products.near(training[some]), BLOCKS):
            rest = np.delete(training, block)
            if not len(block) or len(np.unique(labels[rest])) < 2:
                continue
            scores, left = self.products.scores(rest, training[block], self.options.ridge)
            found = np.isin(labels[training[block]], left)
            column = np.searchsorted(left, labels[training[block]][found])
            own[block[found]] = scores[found, column]
        measured = [own[(places == author) & ~np.isnan(own)] for author in range(len(known))]
        trust = np.array([len(some) / (len(some) + CAUTION) for some in measured])
        means = np.array([some.mean() if len(some) else np.nan for some in measured])
        deviations = np.array([some.std() if len(some) else np.nan for some in measured])
        mean, deviation = (float(np.nanmean(some)) if trust.any() else 1.0 for some in (means, deviations))
        means = np.where(trust > 0, trust * np.nan_to_num(means) + (1 - trust) * mean, mean)
        deviations = np.where(trust > 0, trust * np.nan_to_num(deviations) + (1 - trust) * deviation, deviation)
        return means, np.maximum(deviations, 0.01)

    def traits(self, training: Labels, others: Labels) -> _Traits:
        """Those of the documents `others`, by a fit to the documents `training`."""
        dual, _ = self.products.solve(training, self.options.ridge)
        scores = (self.products.matrix[np.ix_(others, training)] + 1.0) @ dual
        part = self.plain.matrix[np.ix_(others, training)] @ dual
        usual, deviation = self.usual(training)
        best = scores.argmax(axis=1)
        documents = np.bincount(self.phrases[training].indices, minlength=self.phrases.shape[1])
        widespread = (1 + documents >= WIDESPREAD * (1 + len(training))) & (documents > 0)
        hits = self.phrases[others] @ widespread.astype(np.float64)
        return _Traits(
            (scores.max(axis=1) - usual[best]) / deviation[best],
            np.log(np.maximum(part.std(axis=1), LEAST_SPREAD)),
            hits / np.maximum(self.sizes[others], 1),
        )


def look_for_strangers(
    paths: Sequence[str],
    counts: Counts,
    matrix: Any,
    products: Similarities,
    training: Labels,
    held: Labels,
    options: NgramOptions,
) -> Strangers | None:
    """Leave authors out in turn, and compare how familiar their documents look with those of the others.

    `counts`, the tf-idf `matrix` and `products` are of the documents at `paths`, whose labels `products` has;
    `training` and `held` are a shifted split of them. None where there are too few authors.
    """
    labels = products.labels
    authors = np.random.default_rng(0).permutation(np.unique(labels))
    fold = max(min(FOLD, len(authors) // 3), len(authors) // 8)
    if fold < 1 or not len(held):
        return None
    plain, phrases = _plain(counts.reader.views), _phrases(counts.reader.views)
    columns = np.concatenate([np.arange(counts.bounds[view], counts.bounds[view + 1]) for view in plain])
    subjects = similarities(matrix[:, columns], labels)
    own = counts.matrix[:, counts.bounds[phrases] : counts.bounds[phrases + 1]]
    corpus = _Corpus(paths, products, subjects, own, counts.totals[:, phrases].astype(np.float64), options)
    left_out = [authors[start : start + fold] for start in range(0, len(authors), fold)]
    known, strange, whole = [], [], []
    for out in left_out:
        inside = training[~np.isin(labels[training], out)]
        strangers = np.isin(labels[held], out)
        known.append(corpus.traits(inside, held[~strangers]))
        strange.append(corpus.traits(inside, held[strangers]))
        # For the thresholds, the model is as it will be: nothing of a stranger needs to be held back in time.
        strangers = np.isin(labels, out)
        whole.append(corpus.traits(np.flatnonzero(~strangers), np.flatnonzero(strangers)))
    inner, outer = _together(known), _together(strange)
    usual, deviation = corpus.usual(np.arange(len(labels)))
    rule = replace(
        _weigh(inner, outer),
        usual=tuple(usual.tolist()),
        deviation=tuple(deviation.tolist()),
        plain=plain,
        phrases=phrases,
    )
    # The stricter of two: strangers' documents of the same time, or later ones.
    familiar = [_together(whole).familiarity(rule), outer.familiarity(rule)]
    thresholds = tuple((share, max(float(np.quantile(some, 1 - share)) for some in familiar)) for share in SHARES)
    area = auroc(inner.familiarity(rule), familiar[1])
    return Strangers(rule, thresholds, {"strangers_auroc": area, "authors_left_out": int(fold)})


def _weigh(known: _Traits, strange: _Traits) -> Familiarity:
    """`WEIGHTS`, in units of the standard deviations; the middle between the two kinds of documents is 0.5."""
    weights, middle = [], 0.0
    for weight, one, other in zip(WEIGHTS, _list(known), _list(strange), strict=True):
        weights.append(weight / max(float(np.concatenate([one, other]).std()), 1e-6))
        middle += weights[-1] * float(one.mean() + other.mean()) / 2
    top, spread, share = weights
    return Familiarity((), (), (0,), 0, top, spread, share, middle)


def _list(traits: _Traits) -> tuple[Scores, Scores, Scores]:
    return traits.standing, traits.spread, traits.share


def _together(traits: Sequence[_Traits]) -> _Traits:
    return _Traits(*(np.concatenate(some) for some in zip(*map(_list, traits), strict=True)))


def _plain(views: Sequence[View]) -> tuple[int, ...]:
    """The views that show subjects best: those that mask nothing, or least."""
    most = max(map(_kept, views))
    return tuple(number for number, view in enumerate(views) if _kept(view) == most)


def _phrases(views: Sequence[View]) -> int:
    """The view that shows turns of phrase: words in a row, masked where there is such a view, the most kept."""
    return min(
        range(len(views)),
        key=lambda view: (views[view].unit != "word", views[view].keep is None, -_kept(views[view])),
    )


def _kept(view: View) -> float:
    return np.inf if view.keep is None else view.keep


def auroc(known: npt.NDArray[np.floating], unknown: npt.NDArray[np.floating]) -> float:
    """Probability that a document of a known author gets a higher value than one of an unknown author."""
    values = np.concatenate([known, unknown])
    _, places, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[places]
    own = float(ranks[: len(known)].sum()) - len(known) * (len(known) + 1) / 2
    return own / (len(known) * len(unknown))
