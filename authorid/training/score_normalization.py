"""Normalize the scores of authors who have different numbers of training documents.

One-against-the-rest regression shifts and stretches the scores of an author with the number of the author's documents:
whoever has more documents gets higher scores for everybody's texts. What *other* authors' documents score for an author
shows by how much, as in the z-norm of speaker verification (Auckenthaler, Carey and Lloyd-Thomas, "Score normalization
for text-independent speaker verification systems", 2000). Mean and standard deviation of these scores are regressed on
the logarithm of the number of documents, and the scores are corrected by what the regression says: what depends on the
number goes, and most of what is peculiar to an author stays. With equal numbers nothing changes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

__all__ = ["ScoreNormalization", "equal_numbers", "fit_normalization", "no_normalization"]

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]

STRETCH = 1.3
"""Exponent of the standard deviation in the scale. The best of the values tried on corpora with unequal authors
(docs/research/accuracy.md)."""

OWN, VARIANCE = 0.1, 0.02
"""Share of what is peculiar to an author that goes too, chosen likewise.

Half of it where the logarithms of the numbers have the variance `VARIANCE`; nothing where the numbers are equal.
"""

PRIOR = 0.1
"""Added to the sum of squares of the regressor: numbers that hardly differ say nothing about a slope."""

_LEAST_DEVIATION = 1e-9


@dataclass(frozen=True)
class ScoreNormalization:
    """Normalized scores are ``(scores - shift) / scale``; `shift` and `scale` are float64 [authors]."""

    shift: Floats
    scale: Floats


def no_normalization(authors: int) -> ScoreNormalization:
    """The normalization that leaves scores as they are."""
    return ScoreNormalization(np.zeros(authors), np.ones(authors))


def equal_numbers(labels: Labels, authors: int) -> bool:
    """Whether all `authors` have the same number of documents."""
    return bool(np.ptp(np.bincount(labels, minlength=authors)) == 0)


def fit_normalization(scores: Floats, labels: Labels) -> ScoreNormalization:
    """Return the normalization for the leave-one-out `scores` [documents, authors] of training documents by `labels`.

    Every other author counts alike for the mean and standard deviation of an author, however many documents there are.
    """
    authors = scores.shape[1]
    numbers = np.bincount(labels, minlength=authors)
    sums, squares = np.zeros((2, authors, authors))
    np.add.at(sums, labels, scores)
    np.add.at(squares, labels, scores**2)
    others = ~np.eye(authors, dtype=bool)
    mean = _mean_of_others(sums / numbers[:, None], others)
    deviation = np.sqrt(np.maximum(_mean_of_others(squares / numbers[:, None], others) - mean**2, _LEAST_DEVIATION**2))
    size = np.log(numbers)
    scale = np.exp(STRETCH * _dependence(np.log(deviation), size))
    # Scores are stretched about the common mean, which stays where it is.
    middle = mean.mean()
    return ScoreNormalization(middle * (1 - scale) + _dependence(mean, size), scale)


def _mean_of_others(values: Floats, others: npt.NDArray[np.bool_]) -> Floats:
    """Mean [authors] over all authors but each author itself of `values` [authors of documents, authors]."""
    return np.asarray(np.where(others, values, 0.0).sum(axis=0) / others.sum(axis=0))


def _dependence(values: Floats, size: Floats) -> Floats:
    """The part of `values` [authors] that depends linearly on `size` [authors], and `OWN` of the rest."""
    centred = size - size.mean()
    slope = (centred @ values) / (centred @ centred + PRIOR)
    variance = float((centred**2).mean())
    own = OWN * variance / (variance + VARIANCE)
    return np.asarray(slope * centred + own * (values - values.mean() - slope * centred))
