"""Fit the n-gram expert: regularised least squares on one-against-the-rest targets, in closed form.

With far fewer documents than n-grams, everything happens among the documents: one matrix of their similarities
[n, n] gives the model of any subset of them, so shifted splits and authors left out cost seconds. Corpora with more
than `DENSE_DOCUMENTS` documents are solved by conjugate gradients instead.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.model import NgramModel
from authorid.ngrams.vectorizer import Vectorizer

Labels = npt.NDArray[np.int64]

__all__ = ["DENSE_DOCUMENTS", "VIEWS", "Counts", "NgramOptions", "Similarities", "count", "fit"]

DENSE_DOCUMENTS = 8000
"""Up to so many documents, similarities are kept as a matrix."""

COMMON_WORDS = 3000

SHARED = 0.25
"""What at least so many authors use is shared; what fewer use is mostly of a subject (docs/research/accuracy.md)."""

VIEWS = (
    View("bytes", "byte", (4,), once=True),
    View("manner", "byte", (4,), keep=300, once=True),
    View("phrases", "word", (2,), keep=1000, mask="one"),
    View("skeleton", "word", (3,), keep=300, mask="one", weight=2**0.5),
    View("words", "word", (1, 2, 3), weight=0.6**0.5, once=True, shared=True),
    View("shapes", "word", (6,), keep=0, mask="one", weight=0.2**0.5, once=True, shared=True),
)
"""What the shifted splits of Reuters C50 support; nothing in it is about one language (docs/research/accuracy.md)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramOptions:
    """How to fit: `views`, buckets as `bits` (8 to 24), `ridge` (strength of the regularisation), size in `megabytes`.

    N-grams that fewer than `min_documents` training documents have are left out, more of them where the expert would be
    larger than `megabytes`. `weights` says how the linear layer is stored.
    """

    views: tuple[View, ...] = VIEWS
    bits: int = 20
    ridge: float = 0.05
    min_documents: int = 3
    megabytes: float = 11.5
    weights: str = "int8"

    def __post_init__(self) -> None:
        """Check the range of what memory depends on; raises `ValueError`."""
        if not 8 <= self.bits <= 24:
            raise ValueError(f"between 8 and 24 bits of buckets, got {self.bits}")

    def least(self, documents: int) -> int:
        """Of so many documents, how many must have an n-gram: fewer than `min_documents` where there are very few."""
        return min(self.min_documents, max(1, documents // 4))


@dataclass(frozen=True)
class Counts:
    """Documents as counts of rows: sparse [documents, rows].

    `buckets` [rows] are those of the rows, `bounds` [views + 1] where each view's begin; `shared` bool [rows] says
    which of them many authors use.
    """

    reader: FeatureExtractor
    bounds: tuple[int, ...]
    buckets: npt.NDArray[np.uint32]
    shared: npt.NDArray[np.bool_]
    matrix: Any


def count(texts: Sequence[str], labels: Labels, options: NgramOptions, training: Labels | None = None) -> Counts:
    """Count the n-grams of all `texts`, whose authors are `labels` [texts].

    Rows are those that enough of the `training` ones (default: all) have, and where a view asks for it, enough authors.
    """
    chosen = np.arange(len(texts)) if training is None else training
    reader = FeatureExtractor(options.views, _common_words([texts[index] for index in chosen]), options.bits)
    matrix = _matrix(reader, texts)
    documents = np.bincount(matrix[chosen].indices, minlength=matrix.shape[1])
    rows = np.flatnonzero(documents >= options.least(len(chosen)))
    matrix, documents = matrix[:, rows].tocsr(), documents[rows]
    known, own = np.unique(labels[chosen], return_inverse=True)
    shared = _shared(matrix[chosen], own, len(known))
    only = np.array([view.shared for view in options.views])[rows >> options.bits]
    kept = np.flatnonzero(shared | ~only)
    most = max(1000, int(options.megabytes * 1e6 / (len(known) * np.dtype(options.weights).itemsize + 13)))
    if len(kept) > most:  # the most widespread
        kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")[:most]])
    rows = rows[kept]
    bounds = np.searchsorted(rows, np.arange(len(options.views) + 1) << options.bits)
    buckets = (rows & (1 << options.bits) - 1).astype(np.uint32)
    return Counts(reader, tuple(int(b) for b in bounds), buckets, shared[kept], matrix[:, kept].tocsr())


def count_more(counts: Counts, texts: Sequence[str]) -> Counts:
    """Count the rows of `counts` in other texts."""
    rows = np.concatenate(
        [
            counts.buckets[start:stop].astype(np.int64) + (number << counts.reader.bits)
            for number, (start, stop) in enumerate(zip(counts.bounds[:-1], counts.bounds[1:], strict=True))
        ]
    )
    matrix = _matrix(counts.reader, texts)
    return replace(counts, matrix=matrix[:, rows].tocsr())


def _matrix(reader: FeatureExtractor, texts: Sequence[str]) -> Any:
    """Counts of all buckets of all views, sparse [texts, views * buckets]."""
    sparse = require("scipy.sparse", "train")
    found = list(Vectorizer.of_all(reader).counts(texts))
    # Where each text begins: the places where its first view does, and the end of the last text.
    views = len(reader.views)
    begin = np.cumsum([0, *(len(counts.rows) for counts in found)])
    starts = [start + counts.edges[:-1:views] for start, counts in zip(begin[:-1], found, strict=True)]
    return sparse.csr_matrix(
        (
            np.concatenate([counts.counts for counts in found], dtype=np.float32, casting="unsafe"),
            np.concatenate([counts.rows for counts in found], dtype=np.int32),
            np.concatenate([*starts, begin[-1:]]),
        ),
        shape=(len(texts), views << reader.bits),
    )


def _common_words(texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hashes of the commonest words, the commonest first."""
    words, counts = np.unique(
        np.concatenate([FeatureExtractor.word_hashes(text) for text in texts]), return_counts=True
    )
    return np.asarray(words[np.lexsort((words, -counts))[:COMMON_WORDS]])


def inverse_frequencies(counts: Counts, training: npt.NDArray[np.int64]) -> npt.NDArray[np.float32]:
    """Worth of each row, by how few of the documents `training` have it; 0 where none has.

    The root of the usual inverse frequency: what is rare is mostly of one subject, and subjects change.
    """
    documents = np.bincount(counts.matrix[training].indices, minlength=counts.matrix.shape[1])
    idf = np.sqrt(np.log((1 + len(training)) / (1 + documents)) + 1)
    return np.where(documents > 0, idf, 0.0).astype(np.float32)


def _shared(matrix: Any, labels: Labels, authors: int) -> npt.NDArray[np.bool_]:
    """Whether many authors share each row [rows], by the counts in their documents [documents, rows]."""
    sparse = require("scipy.sparse", "train")
    writes = sparse.csr_matrix((np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels)))))
    users = np.bincount((writes @ matrix).indices, minlength=matrix.shape[1])
    return np.asarray(users >= SHARED * authors)


def weigh(counts: Counts, idf: npt.NDArray[np.float32]) -> Any:
    """tf-idf of all documents, sparse [documents, rows], as `NgramModel.features` computes it."""
    sparse = require("scipy.sparse", "train")
    matrix = counts.matrix.astype(np.float64)
    matrix.data = 1 + np.log(matrix.data)
    blocks = []
    for view, start, stop in zip(counts.reader.views, counts.bounds[:-1], counts.bounds[1:], strict=True):
        block = matrix[:, start:stop]
        if view.once:
            block.data[:] = 1.0
        block.data *= idf[start:stop][block.indices]
        norms = np.sqrt(np.asarray(block.multiply(block).sum(axis=1)).ravel())
        blocks.append(sparse.diags_array(view.weight / np.maximum(norms, 1e-12)) @ block)
    return sparse.hstack(blocks, format="csr")


@dataclass(frozen=True)
class Similarities:
    """Inner products [n, n] of documents, and their labels [n]: enough to fit and score any subset."""

    matrix: npt.NDArray[np.float64]
    labels: npt.NDArray[np.int64]

    def near(self, documents: Labels) -> npt.NDArray[np.float64]:
        """The inner products of some documents."""
        return self.matrix[np.ix_(documents, documents)]

    def solve(self, training: npt.NDArray[np.int64], ridge: float) -> tuple[npt.NDArray[np.float64], Labels]:
        """Fit on the documents `training`: coefficients [training, known authors], and the labels of those."""
        known, own = np.unique(self.labels[training], return_inverse=True)
        return _dual(self.matrix[np.ix_(training, training)], own, len(known), ridge), known

    def scores(
        self, training: npt.NDArray[np.int64], others: npt.NDArray[np.int64], ridge: float
    ) -> tuple[npt.NDArray[np.float64], Labels]:
        """Fit on the documents `training`: scores [others, known authors], and the labels of those."""
        dual, known = self.solve(training, ridge)
        return (self.matrix[np.ix_(others, training)] + 1.0) @ dual, known


def similarities(matrix: Any, labels: Labels) -> Similarities:
    """All inner products of the rows of a sparse `matrix`; the common columns by a dense product, which is faster."""
    documents = np.bincount(matrix.indices, minlength=matrix.shape[1])
    common = documents > max(20, len(labels) // 20)
    single = matrix.astype(np.float32)
    dense = single[:, np.flatnonzero(common)].toarray()
    rest = single[:, np.flatnonzero(~common)]
    products = (dense @ dense.T).astype(np.float64) + (rest @ rest.T).toarray()
    return Similarities(products, labels)


def _targets(labels: Labels, authors: int) -> npt.NDArray[np.float64]:
    targets = np.full((len(labels), authors), -1.0)
    targets[np.arange(len(labels)), labels] = 1.0
    return targets


def _dual(
    products: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], authors: int, ridge: float
) -> npt.NDArray[np.float64]:
    """Coefficients [documents, authors]; the constant is one more feature, and every author counts alike."""
    linalg = require("scipy.linalg", "train")
    shares = np.bincount(labels, minlength=authors) * authors / len(labels)
    system = products + 1.0
    system[np.diag_indices_from(system)] += ridge * shares[labels]
    return np.asarray(linalg.solve(system, _targets(labels, authors), assume_a="pos"))


def fit(
    counts: Counts,
    labels: Labels,
    authors: int,
    options: NgramOptions,
    known: tuple[npt.NDArray[np.float32], Similarities] | None = None,
) -> NgramModel:
    """Fit on all documents of `counts`, whose authors are `labels` int64 [documents].

    `known` are their inverse frequencies and similarities, where these were computed before.
    """
    everything = np.arange(len(labels))
    idf = inverse_frequencies(counts, everything) if known is None else known[0]
    matrix = weigh(counts, idf)
    if len(labels) <= DENSE_DOCUMENTS:
        products = similarities(matrix, labels) if known is None else known[1]
        dual = _dual(products.matrix, labels, authors, options.ridge)
        weights, bias = matrix.T @ dual, dual.sum(axis=0)
    else:
        weights, bias = solve_large(matrix, labels, authors, options.ridge)
    return _expert(counts, idf, weights, bias, options)


def solve_large(
    matrix: Any, labels: Labels, authors: int, ridge: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Weights [rows, authors] and bias [authors] from the tf-idf `matrix` [documents, rows] of very many documents."""
    linear = require("sklearn.linear_model", "train")
    shares = np.bincount(labels, minlength=authors) * authors / len(labels)
    model = linear.Ridge(alpha=ridge, solver="sparse_cg", tol=1e-3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(matrix, _targets(labels, authors), sample_weight=1 / shares[labels])
    return model.coef_.T, model.intercept_


def _expert(
    counts: Counts,
    idf: npt.NDArray[np.float32],
    weights: npt.NDArray[np.float64],
    bias: npt.NDArray[np.float64],
    options: NgramOptions,
) -> NgramModel:
    kind = np.dtype(options.weights)
    scale = np.ones(len(weights), dtype=np.float32)
    if kind == np.int8:
        scale = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
        weights = np.round(weights / np.where(scale > 0, scale, 1)[:, None])
    return NgramModel(
        counts.reader,
        counts.bounds,
        counts.buckets,
        idf,
        counts.shared.astype(np.uint8),
        scale,
        weights.astype(kind),
        bias.astype(np.float32),
    )
