"""The n-gram model: spelling, punctuation and function words, at thousands of documents a second.

Each `View` of a text counts n-grams (`authorid.ngrams.features`); their tf-idf (sublinear, scaled to a fixed length in
each view) and one linear layer give a score for each author.

::

    texts -> counts of features -> tf-idf -> scores [authors]

Texts are processed in groups (`authorid.ngrams.vectorizer`). No sum has terms of two texts, so the scores of a text do
not depend on the other texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import MANIFEST, Bundle
from authorid.bundle.safetensors import read_tensors, write_tensors
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.errors import BundleCorruptError
from authorid.ngrams import kernels
from authorid.ngrams.arrays import FREQUENCY_KINDS, CsrMatrix
from authorid.ngrams.coverage import Coverage, plain_view
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.occurrences import Occurrences
from authorid.ngrams.vectorizer import Vectorizer

__all__ = ["NgramModel", "NgramScores", "load_ngram_model"]

FORMAT = 2

_MOST_PARTS = 1 << 18
"""The most parts of a score: views times authors. Each takes 16 bytes for every text that is scored together."""

_BLOCK = 1 << 16
"""The most features of a text in one sum of float32. A long text needs no more memory than a short one."""

_LEVELS = np.arange(4096, dtype=np.float64)
_FREQUENCIES = np.stack([np.append(0.0, 1.0 + np.log(_LEVELS[1:])), np.ones(len(_LEVELS)), _LEVELS])
"""The term frequency of a feature that occurs so often: one table for each kind."""

_LOG, _ONCE, _LINEAR = range(FREQUENCY_KINDS)
"""Kinds of term frequencies: sublinear, 1 for every feature that occurs, and the count itself."""


class NgramScores(NamedTuple):
    """Scores of some texts.

    `scores` float64 [texts, authors]. `parts` float64 [texts, views, 2, authors] are what each view adds to them: first
    from n-grams that few authors use, then from those that many use. `coverage` is None when no view of the model has
    all n-grams of a text.
    """

    scores: npt.NDArray[np.float64]
    parts: npt.NDArray[np.float64]
    coverage: Coverage | None = None


@dataclass(frozen=True)
class NgramModel:
    """A trained n-gram model. Make one with `authorid.training.ngram_fit.fit`, `NgramModel.load` or `load_ngram_model`.

    A feature is the n-grams of one bucket in one view. Features are in the order of the views, and of buckets within a
    view: `bounds` [views + 1] says where those of each view begin, `buckets` uint32 [features] which bucket a feature
    has. `idf` float32 [features] are inverse document frequencies; `shared` uint8 [features] is 1 where many authors
    use the n-gram, and 0 where few do, which depends more on topic than on style. The linear layer has `weights`
    [features, authors] (int8, float16 or float32), to be multiplied by `scale` float32 [features], and the intercept
    `bias` float32 [authors].
    """

    extractor: FeatureExtractor
    bounds: tuple[int, ...]
    buckets: npt.NDArray[np.uint32]
    idf: npt.NDArray[np.float32]
    shared: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    weights: npt.NDArray[Any]
    bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the arrays fit together; raises `ValueError`."""
        features, authors = len(self.buckets), len(self.bias)
        views, size = len(self.extractor.views), 1 << self.extractor.bits
        shapes = (self.idf.shape, self.shared.shape, self.scale.shape, self.weights.shape)
        if shapes != ((features,), (features,), (features,), (features, authors)) or authors < 2:
            raise ValueError(f"{features} features and {authors} authors do not fit arrays of {shapes}")
        if views * authors > _MOST_PARTS:
            raise ValueError(f"{views} views and {authors} authors: their product may be at most {_MOST_PARTS}")
        if len(self.bounds) != views + 1 or self.bounds[0] != 0 or self.bounds[-1] != features:
            raise ValueError("the bounds do not divide the features among the views")
        for start, stop in pairwise(self.bounds):
            own = self.buckets[start:stop]
            if not 0 <= start <= stop <= features or (len(own) and (own[-1] >= size or (own[1:] <= own[:-1]).any())):
                raise ValueError("the buckets of a view are out of order or range")
        if not all(np.isfinite(part).all() for part in (self.idf, self.scale, self.bias)):
            raise ValueError("numbers that are not finite")
        if (self.shared > 1).any():
            raise ValueError("n-grams that are neither shared nor not")

    @cached_property
    def _vectorizer(self) -> Vectorizer:
        return Vectorizer(self.extractor, self.buckets, self.bounds)

    @cached_property
    def _view_weights(self) -> npt.NDArray[np.float64]:
        return np.array([view.weight for view in self.extractor.views], dtype=np.float64)

    @cached_property
    def _kinds(self) -> npt.NDArray[np.uint8]:
        views = self.extractor.views
        return np.array([_ONCE if view.once else _LINEAR if view.linear else _LOG for view in views], dtype=np.uint8)

    @cached_property
    def _kernel_weights(self) -> npt.NDArray[Any]:
        """The weights in a type that the kernels have; float16 becomes float32 exactly."""
        kind = np.int8 if self.weights.dtype == np.int8 else np.float32
        return np.ascontiguousarray(self.weights, dtype=kind)

    def vectorize(self, texts: Iterable[str], check: CancelCheck = never_cancelled) -> Iterator[CsrMatrix]:
        """tf-idf float32 of the features in `texts`, in their order; one matrix for each group of texts.

        The values of a view of a text have the length ``View.weight``, or are all 0.
        """
        for counted in self._vectorizer.count(texts, check):
            yield self._tfidf(counted.counts)

    def count_and_vectorize(self, text: str) -> tuple[CsrMatrix, CsrMatrix]:
        """How often the features occur in one `text`, and their tf-idf as in `vectorize`."""
        (counted,) = self._vectorizer.count([text])
        return counted.counts, self._tfidf(counted.counts)

    def occurrences(self, text: str) -> Iterator[Occurrences]:
        """Where in `text` the features are, for each view and size (see `Vectorizer.occurrences`)."""
        return self._vectorizer.occurrences(text)

    def _tfidf(self, counts: CsrMatrix) -> CsrMatrix:
        values = np.empty(len(counts.indices), dtype=np.float32)
        data, frequencies = _within_table(counts.data)
        known = CsrMatrix(counts.indices, data, counts.indptr)
        kernels.active.tfidf(known, self.idf, frequencies, self._view_weights, self._kinds, values)
        return CsrMatrix(counts.indices, values, counts.indptr)

    def score_texts(self, texts: Sequence[str], check: CancelCheck = never_cancelled) -> NgramScores:
        """Scores of `texts`, and their parts; the same to the bit on every machine and whatever the other texts are.

        `check` is called before each step, which takes a fraction of a second.
        """
        views, plain = self.extractor.views, plain_view(self.extractor.views)
        parts = np.zeros((len(texts), len(views), 2, len(self.bias)))
        known, lengths = np.zeros((2, len(texts)), dtype=np.int64)
        done = 0
        for counted in self._vectorizer.count(texts, check):
            count = len(counted.lengths)
            if plain is not None:
                known[done : done + count] = _row_sums(counted.counts, slice(plain, None, len(views)))
            lengths[done : done + count] = counted.lengths
            vectors = self._tfidf(counted.counts)
            values = vectors.data
            values *= self.scale.take(vectors.indices)
            own = parts[done : done + count]
            kernels.active.accumulate_scores(self._kernel_weights, self.shared, vectors, own, _BLOCK)
            done += count
        coverage = None if plain is None else Coverage.of(known, lengths, views[plain])
        return NgramScores(self.bias + parts.sum(axis=(1, 2)), parts, coverage)

    def score_text(self, text: str) -> npt.NDArray[np.float64]:
        """Scores float64 [authors] of one text, as in `score_texts`."""
        scores: npt.NDArray[np.float64] = self.score_texts([text]).scores[0]
        return scores

    def to_bytes(self) -> bytes:
        """The model as a safetensors file; `from_bytes` reads it back."""
        metadata = {
            "format": str(FORMAT),
            "bits": str(self.extractor.bits),
            "bounds": json.dumps(self.bounds),
            "views": json.dumps([view.to_json() for view in self.extractor.views]),
        }
        tensors: dict[str, npt.NDArray[Any]] = {
            "common": self.extractor.common,
            "buckets": self.buckets,
            "idf": self.idf,
            "shared": self.shared,
            "scale": self.scale,
            "weights": self.weights,
            "bias": self.bias,
        }
        return write_tensors(tensors, metadata)

    def __reduce__(self) -> tuple[Callable[[bytes], NgramModel], tuple[bytes]]:
        """Pickle the file, without what was computed from it."""
        return type(self).from_bytes, (self.to_bytes(),)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> NgramModel:
        """Read what `to_bytes` wrote; raises `ValueError`."""
        tensors, metadata = read_tensors(data)
        if metadata.get("format") != str(FORMAT):
            raise ValueError(f"n-gram format {metadata.get('format')!r}; this release reads {FORMAT}")
        wanted = {name: np.dtype(kind) for name, kind in _KINDS.items()}
        for name, kind in wanted.items():
            if name not in tensors or tensors[name].dtype != kind or tensors[name].ndim != 1:
                raise ValueError(f"tensor {name!r} is missing or has the wrong type")
        if "weights" not in tensors or tensors["weights"].dtype not in (np.int8, np.float16, np.float32):
            raise ValueError("tensor 'weights' is missing or has the wrong type")
        try:
            views = [View.from_json(record) for record in json.loads(metadata["views"])]
            bounds = tuple(int(bound) for bound in json.loads(metadata["bounds"]))
            extractor = FeatureExtractor(views, tensors["common"], int(metadata["bits"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the metadata does not describe an n-gram model ({error!r})") from None
        return cls(extractor, bounds, **{name: tensors[name] for name in (*_KINDS, "weights") if name != "common"})

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read the file at `path`; raises `BundleCorruptError`."""
        try:
            # numpy allocates large arrays in large pages, where features are found faster than in an object of bytes.
            data = np.fromfile(path, dtype=np.uint8)
            data.setflags(write=False)
            return cls.from_bytes(data.data)
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            raise BundleCorruptError(f"{path}: not a readable n-gram model ({error})") from None


_KINDS = {"common": "<u8", "buckets": "<u4", "idf": "<f4", "shared": "u1", "scale": "<f4", "bias": "<f4"}


def load_ngram_model(bundle: Bundle) -> NgramModel | None:
    """The n-gram model of `bundle`, None when it has none.

    Raises `BundleCorruptError` when its file cannot be read, or when the model does not fit the authors or the
    known-author rule of the bundle.
    """
    if bundle.ngrams is None:
        return None
    path = bundle.path / bundle.ngrams
    model = NgramModel.load(path)
    authors, views = len(bundle.authors), len(model.extractor.views)
    if len(model.bias) != authors:
        raise BundleCorruptError(f"{path}: made for {len(model.bias)} authors, not for {authors}")
    rule = bundle.decision.known_author_rule
    if rule is not None and (
        len(rule.mean) != authors or len(rule.view_weights) != views or max(rule.plain_views) >= views
    ):
        raise BundleCorruptError(f"{bundle.path / MANIFEST}: the known-author rule is not that of {bundle.ngrams}")
    return model


def _row_sums(matrix: CsrMatrix, rows: slice) -> list[int]:
    """The sum of the values in each of some rows."""
    data = matrix.data
    return [int(data[start:stop].sum()) for start, stop in list(pairwise(matrix.indptr.tolist()))[rows]]


def _within_table(counts: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
    """The `counts` as indices of the tables of term frequencies, and these; higher counts are added to them."""
    high = np.flatnonzero(counts >= len(_LEVELS))
    if not len(high):
        return counts, _FREQUENCIES.ravel()
    # One by one: the last bit of an array's logarithm may depend on the position in the array.
    added = [(1.0 + math.log(count), 1.0, float(count)) for count in counts[high].tolist()]
    indices = counts.copy()
    indices[high] = np.arange(len(_LEVELS), len(_LEVELS) + len(high))
    return indices, np.hstack([_FREQUENCIES, np.transpose(added)]).ravel()
