"""Fit the rule that recognizes documents by unknown authors (the open set): authors are left out in turn.

The rule uses two features (`authorid.bundle.decision.KnownAuthorRule`):

- z: the contribution of *shared* n-grams, which many authors use, to the score of the highest-ranked author, relative
  to that author's own documents when they are left out. N-grams that few authors use mostly reveal the subject, and
  unknown authors write about the same subjects. The comparison is per author because authors with similar subjects
  divide the scores among them, so that what counts as a high score differs from author to author;
- spread: that of the scores over the authors in the views of the plain text. It shows whether the subject is known.

Everything that is fitted on n-grams (vocabulary, common words, frequencies) is fitted again without the authors that
are left out; otherwise their own words would make them known.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import KnownAuthorRule
from authorid.evaluation.metrics import auroc
from authorid.machine import available_cores
from authorid.ngrams.features import View
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import LEAST_SPREAD
from authorid.training.ngram_options import NgramOptions
from authorid.training.ridge import Similarities, inner_products
from authorid.training.samples import LabelledTexts
from authorid.training.split_fit import SplitFit
from authorid.training.splits import author_blocks
from authorid.training.term_counts import Labels, TermCounts

__all__ = [
    "ENOUGH_AUTHORS",
    "OpenSetCorpus",
    "OpenSetFit",
    "RuleFeatures",
    "by_author",
    "fit_open_set",
    "fit_rule",
    "plain_views",
    "view_weights",
]

SHARES = (0.01, 0.02, 0.03, 0.05, 0.075, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.75)
"""False-attribution rates whose thresholds are kept in the bundle."""

FOLD = 10
"""Authors that are left out at a time, at least; with more than 80 authors, an eighth of them."""

BLOCKS = 5
"""Blocks of each author's documents that are left out in turn to find the scores of the author's own documents."""

LATEST = 4.0
"""Weight of each document in the last block: future documents will be later too."""

WEIGHTS = (5.0, 1.0)
"""Weights of z and spread, each divided by its standard deviation."""

PLAIN, SHARED_ONLY = 2.0, 3.0
"""Weights of shared n-grams in the plain views, and in views that consist of shared n-grams only. The latter have less
weight in the scores than is best here."""

LEAST_DEVIATION = 1e-6
"""With a smaller standard deviation, a feature is the same for all documents, and nothing can be learned from it."""

CAUTION = 8.0
"""Factor on the shrinkage of an author's mean and deviation towards those of all authors: differences between authors
become smaller with time."""

_TOGETHER = 2
"""Number of fits at a time, at most: each has a copy of all documents in memory."""

ENOUGH_AUTHORS = 100
"""Folds are left out until this many authors were: more would take long and change little."""

LARGE_CORPUS = 3000
"""With more documents, inner products of all documents take less time than products with one vector for each author."""

Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class OpenSetFit:
    """The rule, pairs (share, score) for `Decision.false_attribution_thresholds`, and how well the rule does."""

    rule: KnownAuthorRule
    thresholds: tuple[tuple[float, float], ...]
    report: dict[str, Any]


@dataclass(frozen=True)
class RuleFeatures:
    """The two features of the rule for some documents, each float64 [documents]."""

    z: Scores
    spread: Scores

    @classmethod
    def joined(cls, parts: Sequence[RuleFeatures]) -> RuleFeatures:
        """The features of the documents of all `parts`."""
        return cls(np.concatenate([part.z for part in parts]), np.concatenate([part.spread for part in parts]))

    def score(self, rule: KnownAuthorRule) -> Scores:
        """Return the known-author scores [documents]."""
        evidence = rule.z_weight * self.z + rule.spread_weight * self.spread - rule.offset
        return np.asarray(0.5 + 0.5 * np.tanh(evidence / 2))


@dataclass(frozen=True)
class OpenSetCorpus:
    """Documents prepared for fits to any subset of them: their similarities, and some columns of their tf-idf.

    `shared` has the n-grams that many authors share, weighted by `view_weights`; `plain` has all n-grams of the plain
    views.
    """

    paths: Sequence[str]
    products: Similarities
    shared: _TfidfColumns | _ColumnProducts
    plain: _TfidfColumns | _ColumnProducts
    ridge: float

    @classmethod
    def of(
        cls, paths: Sequence[str], products: Similarities, matrix: Any, counts: TermCounts, ridge: float
    ) -> OpenSetCorpus:
        """Prepare documents from their `counts` and their tf-idf `matrix`."""
        views = counts.extractor.views
        sizes = np.diff(counts.bounds)
        plain = np.isin(np.arange(len(views)), plain_views(views)).repeat(sizes)
        shared = matrix[:, np.flatnonzero(counts.shared)]
        # The weights are those of inner products, hence the root.
        shared.data *= np.sqrt(view_weights(views)).repeat(sizes)[counts.shared][shared.indices]
        return cls(paths, products, _columns(shared), _columns(matrix[:, np.flatnonzero(plain)]), ridge)

    @classmethod
    def counted(cls, training: LabelledTexts, others: LabelledTexts, options: NgramOptions) -> OpenSetCorpus:
        """Prepare the texts `training`, followed by `others`; only the former are known to the fit."""
        split = SplitFit.on(training, others, options)
        paths = training.paths + others.paths
        return cls.of(paths, split.products, split.matrix, split.counts, options.ridge)

    def features(self, training: Labels, *others: Labels) -> list[RuleFeatures]:
        """Return the features of each of some sets of documents, by a fit to the documents `training`."""
        fitted = self.products.solve(training, self.ridge)
        mean, deviation = self.own_scores(training)
        found = []
        for chosen in others:
            best = fitted.scores(self.products.matrix[np.ix_(chosen, training)]).argmax(axis=1)
            own = self.shared.scores(training, chosen, fitted.dual)[np.arange(len(chosen)), best]
            plain = self.plain.scores(training, chosen, fitted.dual)
            spread = np.log(np.maximum(plain.std(axis=1), LEAST_SPREAD))
            found.append(RuleFeatures((own - mean[best]) / deviation[best], spread))
        return found

    def own_scores(self, training: Labels) -> tuple[Scores, Scores]:
        """Return mean and standard deviation [authors] of the shared part of the scores of authors' own documents.

        The documents are left out block by block when they are scored.
        """
        labels = self.products.labels[training]
        names = [self.paths[index] for index in training]
        own = np.full(len(training), np.nan)
        weights = np.ones(len(training))
        blocks = author_blocks(names, labels, lambda some: self.products.submatrix(training[some]), BLOCKS)
        weights[blocks[-1]] = LATEST
        for block in blocks:
            rest = np.delete(training, block)
            if not len(block) or len(np.unique(self.products.labels[rest])) < 2:
                continue
            fitted = self.products.solve(rest, self.ridge)
            found = block[np.isin(labels[block], fitted.authors)]
            authors = np.searchsorted(fitted.authors, labels[found])
            own[found] = self.shared.scores(rest, training[found], fitted.dual)[np.arange(len(found)), authors]
        return by_author(own, weights, labels)


@dataclass(frozen=True)
class _TfidfColumns:
    """Some columns of the tf-idf matrix, sparse [documents, columns], and their transpose in CSR format."""

    matrix: Any
    transposed: Any

    @classmethod
    def of(cls, matrix: Any) -> _TfidfColumns:
        return cls(matrix, matrix.T.tocsr())

    def scores(self, training: Labels, others: Labels, dual: Scores) -> Scores:
        """Return what these columns contribute to the scores [others, authors] by a fit to `training`."""
        weights = np.zeros((self.matrix.shape[0], dual.shape[1]))
        weights[training] = dual
        return np.asarray(self.matrix[others] @ (self.transposed @ weights))


@dataclass(frozen=True)
class _ColumnProducts:
    """The inner products [documents, documents] of some columns of the tf-idf matrix."""

    products: Scores

    def scores(self, training: Labels, others: Labels, dual: Scores) -> Scores:
        """Return what these columns contribute to the scores [others, authors] by a fit to `training`."""
        return np.asarray(self.products[np.ix_(others, training)] @ dual)


def _columns(matrix: Any) -> _TfidfColumns | _ColumnProducts:
    """Return the form in which the scores of many documents take less time."""
    if matrix.shape[0] <= LARGE_CORPUS:
        return _TfidfColumns.of(matrix)
    return _ColumnProducts(inner_products(matrix))


@dataclass(frozen=True)
class _LeftOut:
    """Features of documents when some authors are left out, all folds of authors together.

    `known` and `unknown` are held-out documents of the authors in the fit and of those left out. `unknown_all` are all
    documents of the authors left out, by fits to all documents of the others.
    """

    known: RuleFeatures
    unknown: RuleFeatures
    unknown_all: RuleFeatures
    authors: int


def fit_open_set(
    known: OpenSetCorpus,
    samples: LabelledTexts,
    split: tuple[LabelledTexts, LabelledTexts],
    options: NgramOptions,
    *,
    reporter: Reporter = SILENT,
) -> OpenSetFit | None:
    """Fit the rule for unknown authors, by leaving authors out in turn.

    `known` holds the samples that the model is fitted on, `samples` are their texts, or some of them; `split` is a
    shifted split, ``(training, held out)``. Returns None if there are too few authors or documents, or if the documents
    are too much alike. Thresholds for shares of less than one document are omitted.
    """
    found = _leave_out(samples, split, options, reporter)
    if found is None:
        return None

    def own_scores() -> tuple[Scores, Scores]:
        return known.own_scores(np.arange(len(known.products.labels)))

    # The stricter threshold of two: unknown authors' documents of the same time, and later ones.
    return fit_rule(found.known, [found.unknown_all, found.unknown], own_scores, options.views, found.authors)


def fit_rule(
    known: RuleFeatures,
    unknown: Sequence[RuleFeatures],
    own_scores: Callable[[], tuple[Scores, Scores]],
    views: Sequence[View],
    left_out: int,
) -> OpenSetFit | None:
    """Fit the rule to the features of documents by `known` authors, and of some sets by `unknown` ones.

    `own_scores` returns mean and deviation [authors] of the scores of the authors' own documents, `left_out` is the
    number of authors that were left out at a time. A threshold is the strictest of those of all sets; the last set is
    that of documents like the known ones. Returns None as `fit_open_set` does.
    """
    rule = _fit_weights(known, unknown[-1])
    if rule is None:
        return None
    mean, deviation = own_scores()
    rule = replace(
        rule,
        mean=tuple(mean.tolist()),
        deviation=tuple(deviation.tolist()),
        view_weights=view_weights(views),
        plain_views=plain_views(views),
    )
    scores = [some.score(rule) for some in unknown]
    thresholds = tuple(
        (share, max(_threshold(some, share) for some in scores))
        for share in SHARES
        if share * min(map(len, scores)) >= 1
    )
    if not thresholds:
        return None
    area = auroc(known.score(rule), scores[-1])
    return OpenSetFit(rule, thresholds, {"open_set_auroc": area, "authors_left_out": left_out})


def _leave_out(
    samples: LabelledTexts,
    split: tuple[LabelledTexts, LabelledTexts],
    options: NgramOptions,
    reporter: Reporter,
) -> _LeftOut | None:
    """Leave authors out, fold by fold; returns None if there are fewer than three authors or no held-out documents."""
    training, held = split
    authors = np.random.default_rng(0).permutation(np.unique(samples.labels))
    size = max(min(FOLD, len(authors) // 3), len(authors) // 8)
    if size < 1 or not len(held):
        return None
    folds = [authors[start : start + size] for start in range(0, len(authors), size)]
    folds = folds[: -(-ENOUGH_AUTHORS // size)]
    tasks: list[tuple[LabelledTexts, ...]] = []
    for fold in folds:
        known, unknown = _by_fold(held, fold)
        tasks.append((_by_fold(training, fold)[0], known, unknown))
    # For the thresholds, the fit is like the final one: it uses all documents of the known authors.
    tasks += [_by_fold(samples, fold) for fold in folds]

    def features(task: tuple[LabelledTexts, ...]) -> list[RuleFeatures]:
        """Return the features of each set of texts after the first, by a fit to the first alone."""
        fitted, *others = task
        together = others[0] if len(others) == 1 else others[0] + others[1]
        subset = OpenSetCorpus.counted(fitted, together, options)
        bounds = np.cumsum([len(texts) for texts in task])
        return subset.features(np.arange(len(fitted)), *(np.arange(*edges) for edges in pairwise(bounds)))

    # Products of sparse matrices take one core each, and most of the time.
    with ThreadPoolExecutor(min(_TOGETHER, available_cores())) as pool:
        found = []
        for done, some in enumerate(pool.map(features, tasks), start=1):
            found.append(some)
            reporter.progress(done, len(tasks), "unknown authors")
    known_held, unknown_held = zip(*found[: len(folds)], strict=True)
    unknown_all = [some for (some,) in found[len(folds) :]]
    joined = RuleFeatures.joined
    return _LeftOut(joined(known_held), joined(unknown_held), joined(unknown_all), int(size))


def _threshold(scores: Scores, share: float) -> float:
    """Return the lowest known-author score that at most `share` of these documents reach."""
    return float(np.nextafter(np.quantile(scores, 1 - share, method="higher"), np.inf))


def _by_fold(texts: LabelledTexts, fold: Labels) -> tuple[LabelledTexts, LabelledTexts]:
    """Return the texts by other authors, and those by the authors in `fold`."""
    unknown = np.isin(texts.labels, fold)
    return texts[np.flatnonzero(~unknown)], texts[np.flatnonzero(unknown)]


def _fit_weights(known: RuleFeatures, unknown: RuleFeatures) -> KnownAuthorRule | None:
    """Return `WEIGHTS` in units of the standard deviations; the middle of the two kinds of documents scores 0.5.

    Returns None if z or spread is the same for all documents.
    """
    weights, middle = [], 0.0
    for weight, inside, outside in zip(WEIGHTS, (known.z, known.spread), (unknown.z, unknown.spread), strict=True):
        deviation = float(np.concatenate([inside, outside]).std())
        if deviation < LEAST_DEVIATION:
            return None
        weights.append(weight / deviation)
        middle += weights[-1] * float(inside.mean() + outside.mean()) / 2
    z, spread = weights
    return KnownAuthorRule((), (), (), (0,), z, spread, middle)


def by_author(own: Scores, document_weights: Scores, labels: Labels) -> tuple[Scores, Scores]:
    """Return weighted mean and standard deviation [authors] of the values `own` [documents]; NaN was not measured.

    Each author's values are shrunk towards those of all authors, `CAUTION` times as much as is best for differences
    as large as these between authors and documents (empirical Bayes: Efron and Morris, "Data analysis using Stein's
    estimator and its generalizations", 1975).
    """
    known, positions = np.unique(labels, return_inverse=True)
    means, variances = np.zeros((2, len(known)))
    number = np.zeros(len(known))
    for author in range(len(known)):
        some = (positions == author) & ~np.isnan(own)
        if weights := document_weights[some].tolist():
            # The effective sample size: so many documents of equal weight are worth as much.
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


def plain_views(views: Sequence[View]) -> tuple[int, ...]:
    """Return the views that show subjects best: of those that use all n-grams, the ones that mask the fewest words."""
    kept = [-1.0 if view.shared else np.inf if view.keep is None else float(view.keep) for view in views]
    return tuple(number for number, own in enumerate(kept) if own == max(kept))


def view_weights(views: Sequence[View]) -> tuple[float, ...]:
    """Return the weight of the shared n-grams in each view."""
    plain = plain_views(views)
    return tuple(SHARED_ONLY if view.shared else PLAIN if number in plain else 1.0 for number, view in enumerate(views))
