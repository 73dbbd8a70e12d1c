"""Ridge regression of one-against-the-rest targets for very many documents, by conjugate gradients.

No matrix of documents by documents is made, and none of features by features. Memory is that of the sparse tf-idf
matrix, of some vectors of features for `AUTHORS` authors at a time, and of the weights.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.machine import available_cores
from authorid.reporter import SILENT, Reporter
from authorid.training.ridge import author_shares
from authorid.training.term_counts import Labels, documents_with

__all__ = ["solve_large"]

Numbers = npt.NDArray[Any]

TOLERANCE = 1e-3
"""The residual of each author's normal equations at which the iteration stops, relative to their right side. The
answers are then those of the closed form, but for a few in a thousand."""

MOST_STEPS = 100
"""Steps at most: where documents are more than features and some nearly repeat others, the rest is rounding."""

AUTHORS = 512
"""Authors for which the equations are solved at a time."""

_COLUMNS = 64
"""Authors in one product with a sparse matrix: so many weights of a feature are read from memory at once."""

_BLOCK = 2048
"""Documents in a block."""

_COMMON = 0.04
"""Features that more than this share of the documents have are multiplied as a dense matrix, which takes less time."""


@dataclass(frozen=True)
class _Block:
    """Some documents: the intercept and `common` features, and the `rare` ones, both sparse.

    `weights` [documents, 1] are those of the documents in the sum of squares.
    """

    common: Any
    rare: Any
    weights: Numbers


class _Documents:
    """All documents in blocks. The first feature is 1 everywhere; the others are as in `order` [features]."""

    def __init__(self, matrix: Any, weights: Numbers, pool: ThreadPoolExecutor) -> None:
        sparse = require("scipy.sparse", "fit")
        number = documents_with(matrix)
        common = int((number > _COMMON * matrix.shape[0]).sum())
        self.order = np.argsort(-number, kind="stable")
        self._common = common + 1
        self._features = matrix.shape[1] + 1
        self._pool = pool
        self._dense = np.empty((min(_BLOCK, matrix.shape[0]), self._common), dtype=matrix.dtype)
        self.blocks = []
        for row in range(0, matrix.shape[0], _BLOCK):
            rows = matrix[row : row + _BLOCK]
            ones = sparse.csr_matrix(np.ones((rows.shape[0], 1), dtype=matrix.dtype))
            first = sparse.hstack([ones, rows[:, self.order[:common]]], format="csr")
            rare = rows[:, self.order[common:]].tocsr()
            self.blocks.append(_Block(first, rare, weights[row : row + _BLOCK, None]))

    def project(self, targets: list[Numbers]) -> Numbers:
        """Products [features, authors] of the features and the `targets` [documents, authors] of each block."""
        total = np.zeros((self._features, targets[0].shape[1]), dtype=targets[0].dtype)
        for block, own in zip(self.blocks, targets, strict=True):
            self._add_projection(block, block.common, own, total)
        return total

    def normal(self, vectors: Numbers) -> Numbers:
        """The product [features, authors] of the weighted inner products of the features and `vectors`."""
        total = np.zeros_like(vectors)
        first, rare = vectors[: self._common], _slices(vectors[self._common :])
        for block in self.blocks:
            common = block.common
            if vectors.shape[1] > 1:
                common = self._dense[: common.shape[0]]
                common[:] = 0
                block.common.toarray(out=common)
            scores = common @ first
            _add(scores, self._pool.map(block.rare.__matmul__, rare))
            scores *= block.weights
            self._add_projection(block, common, scores, total)
        return total

    def _add_projection(self, block: _Block, common: Any, targets: Numbers, total: Numbers) -> None:
        total[: self._common] += common.T @ targets
        _add(total[self._common :], self._pool.map(block.rare.T.__matmul__, _slices(targets)))


def _slices(vectors: Numbers) -> list[Numbers]:
    """Contiguous copies of `_COLUMNS` columns each."""
    return [np.ascontiguousarray(vectors[:, at : at + _COLUMNS]) for at in range(0, vectors.shape[1], _COLUMNS)]


def _add(total: Numbers, parts: Any) -> None:
    """Add `parts` of the columns to `total`, in place."""
    at = 0
    for part in parts:
        total[:, at : at + part.shape[1]] += part
        at += part.shape[1]


def solve_large(
    matrix: Any,
    labels: Labels,
    authors: int,
    ridge: float,
    *,
    tolerance: float = TOLERANCE,
    reporter: Reporter = SILENT,
) -> tuple[Numbers, Numbers]:
    """Weights [features, authors] and bias [authors] from the tf-idf `matrix` [documents, features] of many documents.

    The intercept is one more feature, and has the value 1, as in the closed form. Numbers have the type of `matrix`.
    """
    kind = matrix.dtype
    document_weights = (1 / author_shares(labels, authors)[labels]).astype(kind)
    # Targets are their means and the differences from these, which are far smaller: either has a solution of its own.
    means = 2 * np.bincount(labels, document_weights, authors) / document_weights.sum(dtype=np.float64) - 1
    weights = np.empty((matrix.shape[1], authors), dtype=kind)
    bias = np.empty(authors)
    with ThreadPoolExecutor(available_cores()) as pool:
        documents = _Documents(matrix.tocsr(), document_weights, pool)
        ones = documents.project([block.weights for block in documents.blocks])
        common = _conjugate_gradients(documents.normal, ones, ridge, tolerance / 100)  # takes little: one column
        edges = np.cumsum([0, *(len(block.weights) for block in documents.blocks)])
        for start in range(0, authors, AUTHORS):
            some = np.arange(start, min(start + AUTHORS, authors))
            targets = []
            for (first, last), block in zip(pairwise(edges), documents.blocks, strict=True):
                own = np.where(labels[first:last, None] == some, 1.0, -1.0) - means[some]
                targets.append(block.weights * own.astype(kind))
            found = _conjugate_gradients(documents.normal, documents.project(targets), ridge, tolerance)
            found += common * means[some].astype(kind)
            bias[some], weights[documents.order, start : start + len(some)] = found[0], found[1:]
            reporter.progress(int(some[-1]) + 1, authors, "authors")
    return weights, bias


def _conjugate_gradients(
    multiply: Callable[[Numbers], Numbers], wanted: Numbers, ridge: float, tolerance: float
) -> Numbers:
    """Solve ``multiply(x) + ridge * x = wanted`` for all columns of `wanted` [features, authors] together.

    Block conjugate gradients: every author's solution is sought in the directions of all of them, which takes a
    fraction of the steps. Orthonormal residuals keep it stable where columns depend on each other (algorithm BCGrQ:
    Dubrulle, "Retooling the method of block conjugate gradients", 2001).
    """
    kind = wanted.dtype
    found = np.zeros_like(wanted)
    residual, size = _orthonormal(wanted)
    goal = tolerance * np.linalg.norm(size, axis=0)
    direction = residual
    for _ in range(MOST_STEPS):
        if (np.linalg.norm(size, axis=0) <= goal).all():
            break
        product = multiply(direction)
        product += np.asarray(ridge, dtype=kind) * direction
        curvature = (direction.T @ product).astype(np.float64)
        step = np.linalg.inv((curvature + curvature.T) / 2).astype(kind)
        found += direction @ (step @ size)
        product = product @ step
        residual, change = _orthonormal(np.subtract(residual, product, out=product))
        direction = residual + direction @ change.T
        size = change @ size
    return found


def _orthonormal(vectors: Numbers) -> tuple[Numbers, Numbers]:
    """Orthonormal columns [features, rank], and the coefficients [rank, authors] that make `vectors` of them.

    Directions that are lost in rounding are left out.
    """
    squares, axes = np.linalg.eigh((vectors.T @ vectors).astype(np.float64))
    kept = squares > max(squares[-1], 0) * 1e3 * np.finfo(vectors.dtype).eps
    lengths, axes = np.sqrt(squares[kept]), axes[:, kept]
    return vectors @ (axes / lengths).astype(vectors.dtype), (lengths[:, None] * axes.T).astype(vectors.dtype)
