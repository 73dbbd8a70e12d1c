"""Fit the n-gram model: ridge regression of one-against-the-rest targets, in closed form.

There are far fewer documents than n-grams, so everything is computed among the documents: one matrix of their inner
products [documents, documents] gives the model of any subset of them. Splits and left-out authors then cost seconds.
Corpora of more than `DENSE_DOCUMENTS` documents are fitted by conjugate gradients instead.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Typography
from authorid.errors import require
from authorid.ngrams.features import FeatureExtractor, View, counts_characters
from authorid.ngrams.model import NgramModel
from authorid.ngrams.segmentation import segment
from authorid.ngrams.vectorizer import Vectorizer
from authorid.ngrams.words import word_hashes
from authorid.training.views import views_for

Labels = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

__all__ = ["DENSE_DOCUMENTS", "NgramOptions", "Similarities", "TermCounts", "count", "fit"]

DENSE_DOCUMENTS = 8000
"""The most documents whose inner products are kept as a dense matrix."""

COMMON_WORDS = 3000

SHARED = 0.25
"""An n-gram is shared when at least this share of the authors use it. Others mostly belong to a topic
(see the accuracy notebook in docs/research)."""

TOLERANCE = 1e-3
"""Conjugate gradients stop at this residual, relative to the targets."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramOptions:
    """How to fit: the `views`, ``2 ** bits`` buckets in each (8 to 24 bits), `ridge` (strength of the regularization).

    Without `views`, the scripts of the texts decide (`authorid.training.views`). `typography` says whether texts are
    read with folded typography (`authorid.inputs.typography`).

    N-grams in fewer than `min_documents` training documents are left out, and the rarest of the others when the model
    would be larger than `megabytes`. `weights` is the type in which the linear layer is stored: int8, float16 or
    float32.
    """

    views: tuple[View, ...] = ()
    typography: Typography = "folded"
    bits: int = 20
    ridge: float = 0.05
    min_documents: int = 3
    megabytes: float = 11.5
    weights: str = "int8"

    def __post_init__(self) -> None:
        """Check the number of buckets, which memory depends on; raises `ValueError`."""
        if not 8 <= self.bits <= 24:
            raise ValueError(f"between 8 and 24 bits of buckets, got {self.bits}")

    def with_views(self, texts: Sequence[str]) -> NgramOptions:
        """The options with views; those for `texts` where there are none."""
        return self if self.views else replace(self, views=views_for(texts))

    def required_documents(self, documents: int) -> int:
        """How many of `documents` must have an n-gram: `min_documents`, or fewer when there are very few documents."""
        return min(self.min_documents, max(1, documents // 4))


@dataclass(frozen=True)
class TermCounts:
    """How often each feature occurs in documents: `matrix`, sparse [documents, features].

    `buckets` uint32 [features] are their buckets, `bounds` [views + 1] where the features of each view begin; `shared`
    bool [features] says which of them many authors use.
    """

    extractor: FeatureExtractor
    bounds: tuple[int, ...]
    buckets: npt.NDArray[np.uint32]
    shared: npt.NDArray[np.bool_]
    matrix: Any


def count(texts: Sequence[str], labels: Labels, options: NgramOptions, training: Labels | None = None) -> TermCounts:
    """Count the n-grams of all `texts`, whose authors are `labels` [texts].

    Features are the n-grams that enough of the `training` texts (default: all) have, and enough authors where a view
    requires that.
    """
    options = options.with_views(texts)
    chosen = np.arange(len(texts)) if training is None else training
    extractor = FeatureExtractor(
        options.views, _common_words(options.views, [texts[index] for index in chosen]), options.bits
    )
    matrix = _count_buckets(extractor, texts)
    documents = np.bincount(matrix[chosen].indices, minlength=matrix.shape[1])
    columns = np.flatnonzero(documents >= options.required_documents(len(chosen)))
    matrix, documents = matrix[:, columns].tocsr(), documents[columns]
    known, own = np.unique(labels[chosen], return_inverse=True)
    shared = _shared(matrix[chosen], own, len(known))
    only_shared = np.array([view.shared for view in options.views])[columns >> options.bits]
    kept = np.flatnonzero(shared | ~only_shared)
    most = max(1000, int(options.megabytes * 1e6 / (len(known) * np.dtype(options.weights).itemsize + 13)))
    if len(kept) > most:  # those in the most documents
        kept = np.sort(kept[np.argsort(-documents[kept], kind="stable")[:most]])
    columns = columns[kept]
    bounds = np.searchsorted(columns, np.arange(len(options.views) + 1) << options.bits)
    buckets = (columns & (1 << options.bits) - 1).astype(np.uint32)
    return TermCounts(extractor, tuple(int(b) for b in bounds), buckets, shared[kept], matrix[:, kept].tocsr())


def count_more(counts: TermCounts, texts: Sequence[str]) -> TermCounts:
    """Count the features of `counts` in other texts."""
    columns = np.concatenate(
        [
            counts.buckets[start:stop].astype(np.int64) + (number << counts.extractor.bits)
            for number, (start, stop) in enumerate(pairwise(counts.bounds))
        ]
    )
    matrix = _count_buckets(counts.extractor, texts)
    return replace(counts, matrix=matrix[:, columns].tocsr())


def _count_buckets(extractor: FeatureExtractor, texts: Sequence[str]) -> Any:
    """Counts of all buckets of all views, sparse float32 [texts, views * buckets]."""
    sparse = require("scipy.sparse", "fit")
    found = [counted.counts for counted in Vectorizer.all_buckets(extractor).count(texts)]
    # A text begins where its first view does.
    views = len(extractor.views)
    begin = np.cumsum([0, *(len(counts.indices) for counts in found)])
    starts = [start + counts.indptr[:-1:views] for start, counts in zip(begin[:-1], found, strict=True)]
    return sparse.csr_matrix(
        (
            np.concatenate([counts.data for counts in found], dtype=np.float32, casting="unsafe"),
            np.concatenate([counts.indices for counts in found], dtype=np.int32),
            np.concatenate([*starts, begin[-1:]]),
        ),
        shape=(len(texts), views << extractor.bits),
    )


def _common_words(views: Sequence[View], texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hashes of the most common words as the `views` see them, most common first."""
    if counts_characters(views):
        texts = [segment(text) for text in texts]
    words, counts = np.unique(np.concatenate([word_hashes(text) for text in texts]), return_counts=True)
    return np.asarray(words[np.lexsort((words, -counts))[:COMMON_WORDS]])


def inverse_frequencies(counts: TermCounts, training: Labels) -> npt.NDArray[np.float32]:
    """Inverse document frequency [features] among the documents `training`; 0 for features that none of them has.

    It is the root of the usual one: rare n-grams mostly belong to one topic, and topics change.
    """
    documents = np.bincount(counts.matrix[training].indices, minlength=counts.matrix.shape[1])
    idf = np.sqrt(np.log((1 + len(training)) / (1 + documents)) + 1)
    return np.where(documents > 0, idf, 0.0).astype(np.float32)


def _shared(matrix: Any, labels: Labels, authors: int) -> npt.NDArray[np.bool_]:
    """Whether many authors use each feature [features], by the counts in their documents [documents, features]."""
    sparse = require("scipy.sparse", "fit")
    writes = sparse.csr_matrix((np.ones(len(labels), dtype=np.float32), (labels, np.arange(len(labels)))))
    users = np.bincount((writes @ matrix).indices, minlength=matrix.shape[1])
    return np.asarray(users >= SHARED * authors)


def tfidf(counts: TermCounts, idf: npt.NDArray[np.float32]) -> Any:
    """tf-idf of all documents, sparse float64 [documents, features], as `NgramModel.vectorize` computes it."""
    sparse = require("scipy.sparse", "fit")
    matrix = counts.matrix.astype(np.float64)
    matrix.data = 1 + np.log(matrix.data)
    blocks = []
    for view, (start, stop) in zip(counts.extractor.views, pairwise(counts.bounds), strict=True):
        block = (counts.matrix if view.linear else matrix)[:, start:stop].astype(np.float64)
        if view.once:
            block.data[:] = 1.0
        block.data *= idf[start:stop][block.indices]
        norms = np.sqrt(np.asarray(block.multiply(block).sum(axis=1)).ravel())
        blocks.append(sparse.diags_array(view.weight / np.maximum(norms, 1e-12)) @ block)
    return sparse.hstack(blocks, format="csr")


@dataclass(frozen=True)
class Similarities:
    """Inner products `matrix` [n, n] of documents, and their `labels` [n]: enough to fit and score any subset."""

    matrix: Floats
    labels: Labels

    def submatrix(self, documents: Labels) -> Floats:
        """The inner products of some documents with each other."""
        return self.matrix[np.ix_(documents, documents)]

    def solve(self, training: Labels, ridge: float) -> tuple[Floats, Labels]:
        """Fit on the documents `training`: dual coefficients [training, known authors], and the labels of those."""
        known, own = np.unique(self.labels[training], return_inverse=True)
        return _solve_dual(self.submatrix(training), own, len(known), ridge), known

    def scores(self, training: Labels, others: Labels, ridge: float) -> tuple[Floats, Labels]:
        """Fit on the documents `training`: scores [others, known authors], and the labels of those."""
        dual, known = self.solve(training, ridge)
        return (self.matrix[np.ix_(others, training)] + 1.0) @ dual, known


def similarities(matrix: Any, labels: Labels) -> Similarities:
    """Inner products of the rows of a sparse `matrix`; those of common columns by a dense product, which is faster."""
    documents = np.bincount(matrix.indices, minlength=matrix.shape[1])
    common = documents > max(20, len(labels) // 20)
    single = matrix.astype(np.float32)
    dense = single[:, np.flatnonzero(common)].toarray()
    rest = single[:, np.flatnonzero(~common)]
    products = (dense @ dense.T).astype(np.float64) + (rest @ rest.T).toarray()
    return Similarities(products, labels)


def _targets(labels: Labels, authors: int) -> Floats:
    targets = np.full((len(labels), authors), -1.0)
    targets[np.arange(len(labels)), labels] = 1.0
    return targets


def _author_shares(labels: Labels, authors: int) -> Floats:
    """Documents of each author [authors], relative to the mean. Their inverse gives every author the same weight."""
    return np.bincount(labels, minlength=authors) * authors / len(labels)


def _solve_dual(products: Floats, labels: Labels, authors: int, ridge: float) -> Floats:
    """Dual coefficients [documents, authors]; the intercept is one more feature, and has the value 1."""
    linalg = require("scipy.linalg", "fit")
    system = products + 1.0
    system[np.diag_indices_from(system)] += ridge * _author_shares(labels, authors)[labels]
    return np.asarray(linalg.solve(system, _targets(labels, authors), assume_a="pos"))


def fit(
    counts: TermCounts,
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
    matrix = tfidf(counts, idf)
    if len(labels) <= DENSE_DOCUMENTS:
        products = similarities(matrix, labels) if known is None else known[1]
        dual = _solve_dual(products.matrix, labels, authors, options.ridge)
        weights, bias = matrix.T @ dual, dual.sum(axis=0)
    else:
        weights, bias = solve_large(matrix, labels, authors, options.ridge)
    return _quantized(counts, idf, weights, bias, options)


def solve_large(matrix: Any, labels: Labels, authors: int, ridge: float) -> tuple[Floats, Floats]:
    """Weights [features, authors] and bias [authors] from the tf-idf `matrix` [documents, features] of many documents.

    Ridge regression by conjugate gradients, on whichever system is smaller: that of the documents or of the features.
    Columns are centred without making the sparse matrix dense. The intercept is not regularized.
    """
    linalg = require("scipy.sparse.linalg", "fit")
    documents, features = matrix.shape
    roots = 1 / np.sqrt(_author_shares(labels, authors)[labels])
    targets = _targets(labels, authors)
    scaled = require("scipy.sparse", "fit").diags_array(roots).dot(matrix).tocsr()
    mean = (scaled.T @ roots) / (roots @ roots)
    offset = (roots**2 @ targets) / (roots @ roots)
    centred = roots[:, None] * (targets - offset)

    def forward(weights: Floats) -> Floats:
        return np.asarray(scaled @ weights - roots * (mean @ weights))

    def backward(dual: Floats) -> Floats:
        return np.asarray(scaled.T @ dual - mean * (roots @ dual))

    def solve(multiply: Callable[[Floats], Floats], size: int, wanted: Floats) -> Floats:
        system = linalg.LinearOperator((size, size), matvec=lambda x: multiply(x) + ridge * x, dtype=np.float64)
        return np.asarray(linalg.cg(system, wanted, rtol=TOLERANCE)[0])

    weights = np.empty((features, authors))
    for author in range(authors):
        if features > documents:
            weights[:, author] = backward(solve(lambda x: forward(backward(x)), documents, centred[:, author]))
        else:
            weights[:, author] = solve(lambda x: backward(forward(x)), features, backward(centred[:, author]))
    return weights, offset - mean @ weights


def _quantized(
    counts: TermCounts, idf: npt.NDArray[np.float32], weights: Floats, bias: Floats, options: NgramOptions
) -> NgramModel:
    """The model with its weights in the type that `options` asks for; int8 has one scale for each feature."""
    kind = np.dtype(options.weights)
    scale = np.ones(len(weights), dtype=np.float32)
    if kind == np.int8:
        scale = (np.abs(weights).max(axis=1) / 127).astype(np.float32)
        weights = np.round(weights / np.where(scale > 0, scale, 1)[:, None])
    return NgramModel(
        counts.extractor,
        counts.bounds,
        counts.buckets,
        idf,
        counts.shared.astype(np.uint8),
        scale,
        weights.astype(kind),
        bias.astype(np.float32),
    )
