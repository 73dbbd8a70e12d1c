"""Ridge regression of one-against-the-rest targets, in closed form.

There are far fewer documents than n-grams, so everything is computed among the documents: one matrix of their inner
products [documents, documents] gives the model of any subset of them. Splits and left-out authors then cost seconds.
Corpora of more than `DENSE_DOCUMENTS` documents are fitted by conjugate gradients (`authorid.training.large_ridge`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.training.score_normalization import (
    ScoreNormalization,
    equal_numbers,
    fit_normalization,
    no_normalization,
)
from authorid.training.term_counts import Labels

__all__ = [
    "DENSE_DOCUMENTS",
    "DualFit",
    "Floats",
    "Similarities",
    "author_shares",
    "inner_products",
    "one_against_rest",
    "similarities",
    "spread",
]

Floats = npt.NDArray[np.float64]

DENSE_DOCUMENTS = 8000
"""The most documents whose inner products are kept as a dense matrix."""


@dataclass(frozen=True)
class DualFit:
    """A fit in dual form: the scores of a document are its inner products with the training documents, times `dual`.

    `dual` [training documents, authors] and `bias` [authors] include the `normalization` of the scores. `authors`
    [authors] are their labels, ascending.
    """

    dual: Floats
    bias: Floats
    authors: Labels
    normalization: ScoreNormalization

    def scores(self, products: Floats) -> Floats:
        """Scores [others, authors] of documents with these inner `products` [others, training documents]."""
        return products @ self.dual + self.bias


@dataclass(frozen=True)
class Similarities:
    """Inner products `matrix` [n, n] of documents, and their `labels` [n]: enough to fit and score any subset."""

    matrix: Floats
    labels: Labels

    def submatrix(self, documents: Labels) -> Floats:
        """The inner products of some documents with each other."""
        return self.matrix[np.ix_(documents, documents)]

    def solve(self, training: Labels, ridge: float) -> DualFit:
        """Fit on the documents `training`."""
        known, own = np.unique(self.labels[training], return_inverse=True)
        dual, normalization = _solve(self.submatrix(training), own, len(known), ridge)
        bias = (dual.sum(axis=0) - normalization.shift) / normalization.scale
        return DualFit(dual / normalization.scale, bias, known, normalization)

    def normalization(self, ridge: float) -> ScoreNormalization:
        """The normalization of the scores of a fit on all documents."""
        known, own = np.unique(self.labels, return_inverse=True)
        if equal_numbers(own, len(known)):
            return no_normalization(len(known))
        return self.solve(np.arange(len(self.labels)), ridge).normalization

    def scores(self, training: Labels, others: Labels, ridge: float) -> tuple[Floats, Labels]:
        """Fit on the documents `training`: scores [others, known authors], and the labels of those."""
        fitted = self.solve(training, ridge)
        return fitted.scores(self.matrix[np.ix_(others, training)]), fitted.authors


def similarities(matrix: Any, labels: Labels) -> Similarities:
    """Inner products of the rows of a sparse `matrix`, whose authors are `labels`."""
    return Similarities(inner_products(matrix), labels)


def inner_products(matrix: Any) -> Floats:
    """Inner products [rows, rows] of a sparse `matrix`; those of common columns by a dense product, which is faster."""
    documents = np.bincount(matrix.indices, minlength=matrix.shape[1])
    common = documents > max(20, matrix.shape[0] // 20)
    single = matrix.astype(np.float32)
    dense = single[:, np.flatnonzero(common)].toarray()
    rest = single[:, np.flatnonzero(~common)]
    return np.asarray((dense @ dense.T).astype(np.float64) + (rest @ rest.T).toarray())


def _targets(labels: Labels, authors: int) -> Floats:
    targets = np.full((len(labels), authors), -1.0)
    targets[np.arange(len(labels)), labels] = 1.0
    return targets


def one_against_rest(labels: Labels, authors: int) -> tuple[Floats, Floats]:
    """Targets [documents, authors], and the number of each author's documents [authors] relative to the mean."""
    return _targets(labels, authors), author_shares(labels, authors)


def author_shares(labels: Labels, authors: int) -> Floats:
    """Documents of each author [authors], relative to the mean. Their inverse gives every author the same weight."""
    return np.bincount(labels, minlength=authors) * authors / len(labels)


def _solve(products: Floats, labels: Labels, authors: int, ridge: float) -> tuple[Floats, ScoreNormalization]:
    """Dual coefficients [documents, authors] before the normalization, and the normalization.

    The intercept is one more feature, and has the value 1. `products` are overwritten.
    """
    linalg = require("scipy.linalg", "fit")
    system = products
    system += 1.0
    system[np.diag_indices_from(system)] += ridge * author_shares(labels, authors)[labels]
    targets = _targets(labels, authors)
    if equal_numbers(labels, authors):
        return np.asarray(linalg.solve(system, targets, assume_a="pos")), no_normalization(authors)
    factor, lower = linalg.cho_factor(system, lower=True, overwrite_a=True)
    dual = np.asarray(linalg.cho_solve((factor, lower), targets))
    inverse, _ = linalg.lapack.dpotri(factor, lower=lower, overwrite_c=True)
    # The score of a training document by a fit without it (Cawley and Talbot, "Efficient leave-one-out
    # cross-validation of kernel Fisher discriminant classifiers", 2003).
    left_out = targets - dual / inverse.diagonal()[:, None]
    return dual, fit_normalization(left_out, labels)


def spread(labels: Labels, most: int) -> Labels:
    """Return the indices, ascending, of about `most` documents, spread evenly over those of each author.

    Each author keeps at least two documents, or the only one: an author without documents would have no scores.
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    documents = np.bincount(labels)
    least = np.minimum(documents, 2)
    more = documents - least
    wanted = least + more * max(most - least.sum(), 0) // max(more.sum(), 1)
    own = (np.flatnonzero(labels == author) for author in range(len(documents)))
    chosen = [
        some[np.linspace(0, len(some) - 1, n).round().astype(np.int64)] for some, n in zip(own, wanted, strict=True)
    ]
    return np.sort(np.concatenate(chosen))
