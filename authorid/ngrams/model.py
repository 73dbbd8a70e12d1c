"""The n-gram expert: habits of spelling, punctuation and function words, at thousands of documents a second.

Every `View` of a text counts n-grams (`authorid.ngrams.features`); tf-idf (sublinear, length 1 within a view) and one linear
layer make a score for each author. All of it is numpy on whole arrays, or compiled (`authorid.ngrams.kernels`).

::

    texts -> buckets of their n-grams -> rows -> tf-idf -> scores [authors]

Short texts are looked at together (`authorid.ngrams.vectorizer`). No sum crosses from one text to the next, so answers do not depend
on who is a neighbour.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import MANIFEST, Bundle
from authorid.bundle.safetensors import read_tensors, write_tensors
from authorid.errors import BundleCorruptError
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.vectorizer import Rows, Vectorizer, add_up, weigh

__all__ = ["NgramModel", "NgramScores", "load_ngram_model"]

FORMAT = 2


@dataclass(frozen=True, slots=True)
class NgramScores:
    """What the expert finds in some texts.

    `scores` float64 [texts, authors]; `parts` float64 [texts, views, 2, authors], what each view adds to them: first by
    n-grams that few authors use, then by those that many do.
    """

    scores: npt.NDArray[np.float64]
    parts: npt.NDArray[np.float64]


@dataclass(frozen=True)
class NgramModel:
    """A trained expert. Make one with `authorid.training.ngram_fit.fit`, or `NgramModel.load`.

    The rows of all views follow one another, in order of their buckets: `bounds` [views + 1] says where those of a
    view begin, `buckets` uint32 [rows] which bucket a row stands for, `idf` float32 [rows] what an n-gram is worth,
    `shared` uint8 [rows] whether many authors use it (1) or few (0), which says more of a subject than of manner.
    `weights` [rows, authors] (int8, float16 or float32) times `scale` float32 [rows] are the linear layer, `bias`
    float32 [authors] its constant.
    """

    reader: FeatureExtractor
    bounds: tuple[int, ...]
    buckets: npt.NDArray[np.uint32]
    idf: npt.NDArray[np.float32]
    shared: npt.NDArray[np.uint8]
    scale: npt.NDArray[np.float32]
    weights: npt.NDArray[Any]
    bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the parts fit together; raises `ValueError`."""
        rows, authors = len(self.buckets), len(self.bias)
        views, size = len(self.reader.views), 1 << self.reader.bits
        shapes = (self.idf.shape, self.shared.shape, self.scale.shape, self.weights.shape)
        if shapes != ((rows,), (rows,), (rows,), (rows, authors)) or authors < 2:
            raise ValueError(f"{rows} rows and {authors} authors do not fit arrays of {shapes}")
        if len(self.bounds) != views + 1 or self.bounds[0] != 0 or self.bounds[-1] != rows:
            raise ValueError("the rows are not shared out among the views")
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            own = self.buckets[start:stop]
            if not 0 <= start <= stop <= rows or (len(own) and (own[-1] >= size or (own[1:] <= own[:-1]).any())):
                raise ValueError("the buckets of a view are out of order or range")
        if not all(np.isfinite(part).all() for part in (self.idf, self.scale, self.bias)):
            raise ValueError("numbers that are not finite")
        if (self.shared > 1).any():
            raise ValueError("n-grams that are neither shared nor not")

    @cached_property
    def _index(self) -> Vectorizer:
        return Vectorizer(self.reader, self.buckets, self.bounds)

    def features(self, text: str) -> tuple[Rows, npt.NDArray[np.float32]]:
        """Rows that occur in `text`, ascending, and their values float32: tf-idf of length `weight` in each view."""
        counts = next(self._index.counts([text]))
        return counts.rows, weigh(counts, self.idf, self.reader.views)

    def scores(self, text: str) -> npt.NDArray[np.float64]:
        """Score of each author, float64 [authors]; the same to the bit wherever and with whatever it is computed."""
        scores: npt.NDArray[np.float64] = self.read([text]).scores[0]
        return scores

    def read(self, texts: Sequence[str]) -> NgramScores:
        """Scores, and what they are made of; the same to the bit wherever and with whatever they are computed."""
        views = len(self.reader.views)
        parts = np.zeros((len(texts), views, 2, len(self.bias)))
        done = 0
        for counts in self._index.counts(texts):
            own = parts[done : done + (len(counts.edges) - 1) // views]
            values = weigh(counts, self.idf, self.reader.views)
            values *= self.scale.take(counts.rows)
            add_up(self.weights, self.shared, counts, values, own)
            done += len(own)
        return NgramScores(self.bias + parts.sum(axis=(1, 2)), parts)

    def to_bytes(self) -> bytes:
        """The expert as a safetensors file; `from_bytes` reads it back."""
        metadata = {
            "format": str(FORMAT),
            "bits": str(self.reader.bits),
            "bounds": json.dumps(self.bounds),
            "views": json.dumps([asdict(view) for view in self.reader.views]),
        }
        tensors: dict[str, npt.NDArray[Any]] = {
            "common": self.reader.common,
            "buckets": self.buckets,
            "idf": self.idf,
            "shared": self.shared,
            "scale": self.scale,
            "weights": self.weights,
            "bias": self.bias,
        }
        return write_tensors(tensors, metadata)

    @classmethod
    def from_bytes(cls, data: bytes | memoryview) -> NgramModel:
        """Read what `to_bytes` wrote; raises `ValueError`."""
        tensors, metadata = read_tensors(data)
        if metadata.get("format") != str(FORMAT):
            raise ValueError(f"n-gram format {metadata.get('format')!r}; this release reads {FORMAT}")
        wanted = {name: np.dtype(kind) for name, kind in _KINDS.items()}
        for name, kind in wanted.items():
            if name not in tensors or tensors[name].dtype != kind or tensors[name].ndim != 1:
                raise ValueError(f"tensor {name!r} is missing or of the wrong kind")
        if "weights" not in tensors or tensors["weights"].dtype not in (np.int8, np.float16, np.float32):
            raise ValueError("tensor 'weights' is missing or of the wrong kind")
        try:
            views = [View.from_json(record) for record in json.loads(metadata["views"])]
            bounds = tuple(int(bound) for bound in json.loads(metadata["bounds"]))
            reader = FeatureExtractor(views, tensors["common"], int(metadata["bits"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the metadata does not describe an n-gram expert ({error!r})") from None
        return cls(reader, bounds, **{name: tensors[name] for name in (*_KINDS, "weights") if name != "common"})

    @classmethod
    def load(cls, path: Path) -> NgramModel:
        """Read the file at `path`; raises `BundleCorruptError`."""
        try:
            # An array of numpy's, not bytes of Python's: it lies in large pages, where rows are found faster.
            data = np.fromfile(path, dtype=np.uint8)
            data.setflags(write=False)
            return cls.from_bytes(data.data)
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            raise BundleCorruptError(f"{path}: not a readable n-gram expert ({error})") from None


_KINDS = {"common": "<u8", "buckets": "<u4", "idf": "<f4", "shared": "u1", "scale": "<f4", "bias": "<f4"}


def load_ngram_model(bundle: Bundle) -> NgramModel | None:
    """The n-gram model of `bundle`, or None when it has none.

    Raises `BundleCorruptError` when the file is not an n-gram model, or does not fit the authors or the known-author
    rule of the bundle.
    """
    if bundle.ngrams is None:
        return None
    path = bundle.path / bundle.ngrams
    model = NgramModel.load(path)
    if len(model.bias) != len(bundle.authors):
        raise BundleCorruptError(f"{path}: made for {len(model.bias)} authors, not for {len(bundle.authors)}")
    rule, views = bundle.decision.known_author_rule, len(model.reader.views)
    if rule is not None and (
        len(rule.mean) != len(bundle.authors) or len(rule.view_weights) != views or max(rule.plain_views) >= views
    ):
        raise BundleCorruptError(f"{bundle.path / MANIFEST}: the known-author rule does not fit {bundle.ngrams}")
    return model
