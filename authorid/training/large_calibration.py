"""Fit the decision rule of a corpus of very many authors, by one model of most of its documents.

A sample of such a corpus would have a few documents of each author, and a model of these would know far less than the
model of all. So a model is fitted like that of the whole corpus, without the last documents of each author, and without
any document of some authors. What it says about those documents shows how certain it may be, and how documents of known
and of unknown authors differ.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.ngrams.coverage import Coverage
from authorid.ngrams.model import NgramModel
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import LEAST_SPREAD
from authorid.training.confidence import ScoredDocuments
from authorid.training.ngram_fit import count_texts, fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.open_set import (
    ENOUGH_AUTHORS,
    OpenSetFit,
    RuleFeatures,
    by_author,
    fit_rule,
    plain_views,
    view_weights,
)
from authorid.training.ridge import spread
from authorid.training.samples import LabelledTexts

__all__ = ["HeldOutModel"]

SCORED = 8000
"""Documents that are scored, at most: so many held-out ones, and so many of the authors left out."""

_GROUP = 64
"""Texts that are scored at a time."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Scored:
    """What a model says about some texts.

    `scores` [texts, authors]; `shared` [texts, 2] the part of shared n-grams in the score of the best author and in
    that of the true one; `spread` [texts] the logarithm of the deviation of the part of the plain views.
    """

    scores: Scores
    shared: Scores
    spread: Scores
    coverage: Coverage | None


@dataclass(frozen=True)
class HeldOutModel:
    """A model of most documents, and others: `held` by its authors, `unknown` by authors that it does not know.

    Labels of `held` are the numbers of its authors; `authors` [its authors] are these in the corpus.
    """

    model: NgramModel
    authors: Labels
    held: LabelledTexts
    unknown: LabelledTexts

    @classmethod
    def of(
        cls,
        training: LabelledTexts,
        held: LabelledTexts,
        options: NgramOptions,
        reporter: Reporter = SILENT,
        *,
        open_set: bool = True,
    ) -> HeldOutModel:
        """Fit to the texts `training`; with `open_set`, without those of an eighth of the authors."""
        authors = np.unique(training.labels)
        left_out = np.zeros(0, dtype=np.int64)
        if open_set:
            number = min(ENOUGH_AUTHORS, len(authors) // 8)
            left_out = np.sort(np.random.default_rng(0).permutation(authors)[:number])
        known = np.setdiff1d(authors, left_out)
        fitted, scored = (_renumbered(texts, known) for texts in (training, held))
        everything = training + held
        unknown = everything[np.flatnonzero(np.isin(everything.labels, left_out))]
        model = fit(count_texts(fitted, options), fitted.labels, len(known), options, reporter=reporter)
        return cls(model, known, _some(scored), _some(_renumbered(unknown, left_out)))

    def held_out(self) -> _Scored:
        """Score the held-out texts."""
        return self._score(self.held.texts, self.held.labels)

    def scored(self, texts: list[str], labels: Labels) -> ScoredDocuments:
        """Scores of `texts` by the authors `labels` of this model, as the fit of the confidence needs them."""
        sizes = np.array([len(text.encode("utf-8", "replace")) for text in texts], dtype=np.int64)
        return self._score(texts, labels).scores, sizes, labels

    def fit_open_set(self, known: _Scored, authors: int) -> OpenSetFit | None:
        """Fit the rule for unknown authors of a model of all `authors`; `known` is what `held_out` returned."""
        if not len(self.unknown):
            return None
        views = self.model.extractor.views
        # Authors of whom nothing was measured get the values of the average author.
        labels = np.concatenate([self.authors[self.held.labels], np.arange(authors)])
        own = np.concatenate([known.shared[:, 1], np.full(authors, np.nan)])
        mean, deviation = by_author(own, np.ones(len(own)), labels)
        unknown = self._score(self.unknown.texts, np.zeros(len(self.unknown), dtype=np.int64))

        def features(scored: _Scored) -> RuleFeatures:
            best = self.authors[scored.scores.argmax(axis=1)]
            return RuleFeatures((scored.shared[:, 0] - mean[best]) / deviation[best], scored.spread)

        left_out = len(np.unique(self.unknown.labels))
        return fit_rule(features(known), [features(unknown)], lambda: (mean, deviation), views, left_out)

    def _score(self, texts: list[str], labels: Labels) -> _Scored:
        views = self.model.extractor.views
        weights, plain = np.array(view_weights(views)), list(plain_views(views))
        found: list[_Scored] = []
        for start in range(0, len(texts), _GROUP):
            scored = self.model.score_texts(texts[start : start + _GROUP])
            rows = np.arange(len(scored.scores))
            pairs = np.stack([scored.scores.argmax(axis=1), labels[start : start + _GROUP]], axis=1)
            shared = np.einsum("tvp,v->tp", scored.parts[rows[:, None], :, 1, pairs].transpose(0, 2, 1), weights)
            deviation = scored.parts[:, plain].sum(axis=(1, 2)).std(axis=-1)
            found.append(_Scored(scored.scores, shared, np.log(np.maximum(deviation, LEAST_SPREAD)), scored.coverage))
        return _joined(found, len(self.authors))


def _joined(parts: list[_Scored], authors: int) -> _Scored:
    if not parts:
        return _Scored(np.zeros((0, authors)), np.zeros((0, 2)), np.zeros(0), None)
    coverages = [part.coverage for part in parts if part.coverage is not None]
    coverage = None
    if coverages:
        known, total = (np.concatenate([getattr(some, name) for some in coverages]) for name in ("known", "total"))
        coverage = Coverage(known, total, coverages[0].overlap)
    scores, shared, deviation = (
        np.concatenate([getattr(part, name) for part in parts]) for name in ("scores", "shared", "spread")
    )
    return _Scored(scores, shared, deviation, coverage)


def _renumbered(texts: LabelledTexts, authors: Labels) -> LabelledTexts:
    """The texts by `authors`, ascending, whose labels become their numbers among these."""
    own = texts[np.flatnonzero(np.isin(texts.labels, authors))]
    return LabelledTexts(own.texts, np.searchsorted(authors, own.labels), own.paths)


def _some(texts: LabelledTexts) -> LabelledTexts:
    return texts[spread(texts.labels, SCORED)]
