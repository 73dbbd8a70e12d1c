"""Count the n-grams of very many documents in bounded memory, in two passes over the texts.

The first pass counts documents and authors for each bucket, which decides the vocabulary; the second counts only the
n-grams of the vocabulary, into arrays of just the right size. The result is that of `authorid.training.term_counts`,
which keeps the counts of all buckets of all documents.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.ngrams.features import FeatureExtractor
from authorid.ngrams.vectorizer import Vectorizer
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import SHARED, Labels, TermCounts, common_words, most_frequent, tfidf

__all__ = ["count_large", "tfidf_large"]

_ROWS = 2000
"""Documents whose tf-idf is computed at a time."""


def count_large(texts: Sequence[str], labels: Labels, options: NgramOptions) -> TermCounts:
    """Count the n-grams of `texts`, whose authors are `labels` [texts], as `authorid.training.term_counts.count`."""
    options = options.with_views(texts)
    extractor = FeatureExtractor(options.views, common_words(options.views, texts), options.bits)
    usage = _Usage.of(extractor, texts, labels)
    authors = len(np.unique(labels))
    columns = np.flatnonzero(usage.documents >= options.required_documents(len(texts), authors))
    shared = usage.authors[columns] >= SHARED * authors
    only_shared = np.array([view.shared for view in options.views])[columns >> options.bits]
    kept = shared | ~only_shared
    columns, shared = columns[kept], shared[kept]
    chosen = most_frequent(usage.documents[columns], options.most_ngrams(authors))
    columns, shared = columns[chosen], shared[chosen]
    bounds = np.searchsorted(columns, np.arange(len(options.views) + 1) << options.bits)
    buckets = (columns & (1 << options.bits) - 1).astype(np.uint32)
    vectorizer = Vectorizer(extractor, buckets, bounds.tolist())
    matrix = _matrix(vectorizer, texts, len(columns), int(usage.documents[columns].sum(dtype=np.int64)))
    return TermCounts(extractor, tuple(bounds.tolist()), buckets, shared, matrix)


@dataclass(frozen=True)
class _Usage:
    """How many `documents` and how many `authors` have an n-gram of each bucket of each view, int32 [buckets]."""

    documents: npt.NDArray[np.int32]
    authors: npt.NDArray[np.int32]

    @classmethod
    def of(cls, extractor: FeatureExtractor, texts: Sequence[str], labels: Labels) -> _Usage:
        size = len(extractor.views) << extractor.bits
        documents, authors, latest = np.zeros((3, size), dtype=np.int32)
        # Author by author, so that it is enough to know which author was the latest to use a bucket.
        order = np.argsort(labels, kind="stable").tolist()
        rows = _rows(Vectorizer.all_buckets(extractor), [texts[index] for index in order])
        for index, (indices, _) in zip(order, rows, strict=True):
            documents[indices] += 1
            number = labels[index] + 1
            authors[indices[latest[indices] != number]] += 1
            latest[indices] = number
        return cls(documents, authors)


def _rows(vectorizer: Vectorizer, texts: Sequence[str]) -> Iterator[tuple[npt.NDArray[Any], npt.NDArray[Any]]]:
    """The features of each text, and how often they occur."""
    for counted in vectorizer.count(texts):
        counts = counted.counts
        views = (len(counts.indptr) - 1) // len(counted.lengths)
        for start, stop in pairwise(counts.indptr[::views].tolist()):
            yield counts.indices[start:stop], counts.data[start:stop]


def _matrix(vectorizer: Vectorizer, texts: Sequence[str], features: int, entries: int) -> Any:
    """Counts of all features, sparse float32 [texts, features], with so many `entries`."""
    sparse = require("scipy.sparse", "fit")
    indices, data = np.empty(entries, dtype=np.int32), np.empty(entries, dtype=np.float32)
    edges = np.zeros(len(texts) + 1, dtype=np.int32 if entries <= np.iinfo(np.int32).max else np.int64)
    stop = 0
    for row, (own, counts) in enumerate(_rows(vectorizer, texts), start=1):
        start, stop = stop, stop + len(own)
        indices[start:stop], data[start:stop], edges[row] = own, counts, stop
    return sparse.csr_matrix((data[:stop], indices[:stop], edges), shape=(len(texts), features), copy=False)


def tfidf_large(counts: TermCounts, idf: npt.NDArray[np.float32]) -> Any:
    """tf-idf of all documents, sparse float32 [documents, features]; only the values take more memory than `counts`."""
    sparse = require("scipy.sparse", "fit")
    matrix = counts.matrix
    data = np.empty(matrix.nnz, dtype=np.float32)
    for row in range(0, matrix.shape[0], _ROWS):
        some = tfidf(replace(counts, matrix=matrix[row : row + _ROWS]), idf)
        data[matrix.indptr[row] : matrix.indptr[row] + some.nnz] = some.data
    return sparse.csr_matrix((data, matrix.indices, matrix.indptr), shape=matrix.shape, copy=False)
