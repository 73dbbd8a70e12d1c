"""Fit the n-gram model: its vocabulary, inverse frequencies, and linear layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams.model import NgramModel
from authorid.reporter import SILENT, Reporter
from authorid.training.large_counts import count_large, tfidf_large
from authorid.training.large_ridge import solve_large
from authorid.training.ngram_options import NgramOptions
from authorid.training.ridge import DENSE_DOCUMENTS, Floats, Similarities, similarities, spread
from authorid.training.samples import LabelledTexts
from authorid.training.term_counts import Labels, TermCounts, count, documents_with, inverse_frequencies, tfidf

__all__ = ["Sample", "count_texts", "fit"]


@dataclass(frozen=True)
class Sample:
    """The documents that the closed form is computed for: all, or as many as `DENSE_DOCUMENTS` allows.

    `idf` float32 [features] are the inverse frequencies in all documents, `matrix` their tf-idf, sparse [documents,
    features]. `chosen` [sample] are the indices of the documents in the sample, `products` their inner products.
    """

    idf: npt.NDArray[np.float32]
    matrix: Any
    chosen: Labels
    products: Similarities

    @classmethod
    def of(cls, counts: TermCounts, labels: Labels) -> Sample:
        """Take the sample of the documents of `counts`, whose authors are `labels`."""
        idf = inverse_frequencies(counts, np.arange(len(labels)))
        matrix = (tfidf if len(labels) <= DENSE_DOCUMENTS else tfidf_large)(counts, idf)
        chosen = spread(labels, DENSE_DOCUMENTS)
        return cls(idf, matrix, chosen, similarities(matrix[chosen], labels[chosen]))


def count_texts(samples: LabelledTexts, options: NgramOptions) -> TermCounts:
    """Count the n-grams of `samples`; in two passes, which take less memory, where there are very many."""
    counted = (count if len(samples) <= DENSE_DOCUMENTS else count_large)(samples.texts, samples.labels, options)
    if not (documents_with(counted.matrix) > 1).any():  # no two documents have anything in common
        return counted.features(np.arange(0))
    return counted


def fit(
    counts: TermCounts,
    labels: Labels,
    authors: int,
    options: NgramOptions,
    sample: Sample | None = None,
    reporter: Reporter = SILENT,
) -> NgramModel:
    """Fit on all documents of `counts`, whose authors are `labels` int64 [documents], 0 to `authors` - 1."""
    sample = Sample.of(counts, labels) if sample is None else sample
    if len(sample.chosen) == len(labels):
        closed = sample.products.solve(np.arange(len(labels)), options.ridge)
        # In single precision: the weights are stored with at most that.
        transposed = sample.matrix.T.tocsr().astype(np.float32)
        weights, bias = transposed @ closed.dual.astype(np.float32), closed.bias
    else:
        weights, bias = solve_large(sample.matrix, labels, authors, options.ridge, reporter=reporter)
        normalization = sample.products.normalization(options.ridge)
        weights /= normalization.scale.astype(weights.dtype)
        bias = (bias - normalization.shift) / normalization.scale
    return _quantized(counts, sample.idf, weights, bias, options)


def _quantized(
    counts: TermCounts, idf: npt.NDArray[np.float32], weights: npt.NDArray[Any], bias: Floats, options: NgramOptions
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
