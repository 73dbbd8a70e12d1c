"""Count the n-grams of training documents, and weigh them by tf-idf."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.ngrams.features import FeatureExtractor, View, counts_characters
from authorid.ngrams.segmentation import segment
from authorid.ngrams.vectorizer import Vectorizer
from authorid.ngrams.words import word_hashes
from authorid.training.ngram_options import NgramOptions

__all__ = [
    "SHARED",
    "Labels",
    "TermCounts",
    "common_words",
    "count",
    "count_all",
    "count_more",
    "documents_with",
    "inverse_frequencies",
    "limited",
    "most_frequent",
    "tfidf",
]

Labels = npt.NDArray[np.int64]

COMMON_WORDS = 3000

_TEXTS = 4000
"""Texts whose words are counted together."""

_ENTRIES = 1 << 24
"""Entries of a sparse matrix that are counted together."""

SHARED = 0.25
"""An n-gram is shared when at least this share of the authors use it. Others mostly belong to a topic
(see the accuracy notebook in docs/research)."""


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

    def features(self, kept: Labels) -> TermCounts:
        """The features with the indices `kept`, ascending."""
        bounds = tuple(int(bound) for bound in np.searchsorted(kept, self.bounds))
        return TermCounts(self.extractor, bounds, self.buckets[kept], self.shared[kept], self.matrix[:, kept].tocsr())

    def with_views(self, views: Sequence[View]) -> TermCounts:
        """The features of some of the views only: of those with the names of `views`, which replace them."""
        names = [view.name for view in self.extractor.views]
        numbers = [names.index(view.name) for view in views]
        ranges = [np.arange(self.bounds[number], self.bounds[number + 1]) for number in numbers]
        extractor = FeatureExtractor(views, self.extractor.common, self.extractor.bits)
        bounds = np.cumsum([0, *map(len, ranges)]).tolist()
        kept = np.concatenate(ranges)
        return TermCounts(extractor, tuple(bounds), self.buckets[kept], self.shared[kept], self.matrix[:, kept].tocsr())


def count(texts: Sequence[str], labels: Labels, options: NgramOptions, training: Labels | None = None) -> TermCounts:
    """Count the n-grams of all `texts`, whose authors are `labels` [texts].

    Features are the n-grams that enough of the `training` texts (default: all) have, and enough authors where a view
    requires that; of these, as many as `options` have room for.
    """
    return limited(count_all(texts, labels, options, training), labels, options, training)


def count_all(
    texts: Sequence[str], labels: Labels, options: NgramOptions, training: Labels | None = None
) -> TermCounts:
    """Count as `count` does, without the limit to the size of the model."""
    options = options.with_views(texts)
    chosen = np.arange(len(texts)) if training is None else training
    extractor = FeatureExtractor(
        options.views, common_words(options.views, [texts[index] for index in chosen]), options.bits
    )
    matrix = _count_buckets(extractor, texts)
    documents = np.bincount(matrix[chosen].indices, minlength=matrix.shape[1])
    known, own = np.unique(labels[chosen], return_inverse=True)
    columns = np.flatnonzero(documents >= options.required_documents(len(chosen), len(known)))
    matrix = matrix[:, columns].tocsr()
    shared = _shared(matrix[chosen], own, len(known))
    only_shared = np.array([view.shared for view in options.views])[columns >> options.bits]
    kept = np.flatnonzero(shared | ~only_shared)
    bounds = np.searchsorted(columns, np.arange(len(options.views) + 1) << options.bits)
    buckets = (columns & (1 << options.bits) - 1).astype(np.uint32)
    return TermCounts(extractor, tuple(int(b) for b in bounds), buckets, shared, matrix).features(kept)


def limited(counts: TermCounts, labels: Labels, options: NgramOptions, training: Labels | None = None) -> TermCounts:
    """Keep the n-grams that the most of the `training` documents (default: all) have, as many as `options` allow."""
    chosen = np.arange(len(labels)) if training is None else training
    most = options.most_ngrams(len(np.unique(labels[chosen])))
    if len(counts.buckets) <= most:
        return counts
    return counts.features(
        most_frequent(np.bincount(counts.matrix[chosen].indices, minlength=len(counts.buckets)), most)
    )


def most_frequent(documents: npt.NDArray[Any], most: int) -> Labels:
    """Return the indices, ascending, of the `most` features that the most `documents` [features] have."""
    return np.sort(np.argsort(-documents, kind="stable")[:most])


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


def common_words(views: Sequence[View], texts: Sequence[str]) -> npt.NDArray[np.uint64]:
    """Hashes of the most common words as the `views` see them, most common first."""
    if counts_characters(views):
        texts = [segment(text) for text in texts]
    words, counts = np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    for start in range(0, len(texts), _TEXTS):  # all words of very many texts would take much memory
        own = np.concatenate([word_hashes(text) for text in texts[start : start + _TEXTS]])
        new, numbers = np.unique(own, return_counts=True)
        words, position = np.unique(np.concatenate([words, new]), return_inverse=True)
        counts = np.bincount(position, np.concatenate([counts, numbers])).astype(np.int64)
    return np.asarray(words[np.lexsort((words, -counts))[:COMMON_WORDS]])


def inverse_frequencies(counts: TermCounts, training: Labels) -> npt.NDArray[np.float32]:
    """What each feature is scaled by [features], by the documents `training`; 0 for features that none of them has.

    It depends on `View.scaling`. The root of the inverse document frequency is usual here: rare n-grams mostly belong
    to one topic, and topics change.
    """
    known = counts.matrix if len(training) == counts.matrix.shape[0] else counts.matrix[training]
    documents = documents_with(known)
    idf = np.log((1 + len(training)) / (1 + documents)) + 1
    for view, (start, stop) in zip(counts.extractor.views, pairwise(counts.bounds), strict=True):
        if view.scaling == "root":
            idf[start:stop] = np.sqrt(idf[start:stop])
        elif view.scaling == "deviation":
            idf[start:stop] = _inverse_deviations(known[:, start:stop])
    return np.where(documents > 0, idf, 0.0).astype(np.float32)


def documents_with(matrix: Any) -> Labels:
    """How many rows of a sparse `matrix` have an entry in each column [columns]."""
    found = np.zeros(matrix.shape[1], dtype=np.int64)
    for start in range(0, matrix.nnz, _ENTRIES):  # numpy makes a copy of what it counts
        found += np.bincount(matrix.indices[start : start + _ENTRIES], minlength=len(found))
    return found


def _inverse_deviations(matrix: Any) -> npt.NDArray[np.float64]:
    """The inverse of the standard deviation [features] of relative frequencies; 0 where all documents have the same."""
    total = np.maximum(np.asarray(matrix.sum(axis=1), dtype=np.float64).ravel(), 1.0)
    shares = matrix.astype(np.float64)
    shares.data /= np.repeat(total, np.diff(shares.indptr))
    mean = np.asarray(shares.mean(axis=0)).ravel()
    variance = np.asarray(shares.multiply(shares).mean(axis=0)).ravel() - mean**2
    deviation = np.sqrt(np.maximum(variance, 0.0))
    least = 1e-3 * mean  # rounding errors, where frequencies are the same
    return np.where(deviation > least, 1 / np.maximum(deviation, 1e-12), 0.0)


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
        block.data *= np.repeat(view.weight / np.maximum(norms, 1e-12), np.diff(block.indptr))
        blocks.append(block)
    return sparse.hstack(blocks, format="csr")
