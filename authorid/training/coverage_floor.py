"""Fit the threshold below which a document is unlike anything in training (`authorid.ngrams.coverage`).

It comes from the held-out documents of the shifted split, with the vocabulary of the documents that are not held out.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams.arrays import encode_texts
from authorid.ngrams.coverage import Coverage, plain_view
from authorid.ngrams.words import joined_lengths
from authorid.training.split_fit import SplitFit

__all__ = ["coverage_of", "fit_coverage_threshold"]

LOST = 0.005
"""At most this share of the held-out documents has a lower coverage than the threshold."""

DEVIATIONS, LEAST_DEVIATION, FEW = 3.5, 0.03, 2.5
"""When the held-out documents are too few to show so small a share, the threshold is `DEVIATIONS` standard deviations
below their mean coverage. A standard deviation is at least `LEAST_DEVIATION`, and that of n documents is enlarged by
the factor ``1 + FEW / (n - 1)``."""

LEAST_SHARE = 0.25
"""The threshold is at least this share of the mean coverage: few documents may say nothing about their deviation."""


def coverage_of(splits: Sequence[SplitFit], required: int) -> Coverage | None:
    """Coverage of the held-out texts of all `splits`; None if their views do not include a plain one.

    The vocabulary is the n-grams in at least `required` of the training texts.
    """
    parts = [_coverage(split, required) for split in splits]
    known = [part for part in parts if part is not None]
    if not known:
        return None
    counted, total = (np.concatenate([getattr(part, name) for part in known]) for name in ("known", "total"))
    return Coverage(counted, total, known[0].overlap)


def _coverage(split: SplitFit, required: int) -> Coverage | None:
    counts = split.counts
    views = counts.extractor.views
    plain = plain_view(views)
    if plain is None:
        return None
    own = counts.matrix[:, counts.bounds[plain] : counts.bounds[plain + 1]]
    documents = np.bincount(own[: len(split.training)].indices, minlength=own.shape[1])
    known: Any = own[split.held_indices][:, np.flatnonzero(documents >= required)].sum(axis=1, dtype=np.int64)
    lengths = joined_lengths(encode_texts(split.held.texts), counts.extractor.word_table.spaces)
    return Coverage.of(np.asarray(known).ravel(), lengths, views[plain])


def fit_coverage_threshold(coverage: Coverage) -> float:
    """Return the threshold for the `coverage` of held-out documents; 0 (every document is above it) without any."""
    shares: npt.NDArray[np.float64] = np.sort(coverage.shares[coverage.total > 0])
    count = len(shares)
    if not count:
        return 0.0
    lost = int(LOST * count)
    if lost:
        return float(shares[lost])
    mean = float(shares.mean())
    if count == 1:
        return LEAST_SHARE * mean
    distance = DEVIATIONS * max(float(shares.std(ddof=1)), LEAST_DEVIATION) * (1 + FEW / (count - 1))
    return max(min(float(shares[0]), mean - distance), LEAST_SHARE * mean)
