"""Counts which features of an n-gram model occur in texts.

The texts of a call are counted in groups, and a long text in pieces, so that memory is bounded. No count depends on the
other texts of a group.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from authorid.cancellation import CancelCheck, never_cancelled
from authorid.ngrams import kernels
from authorid.ngrams.arrays import (
    BYTES,
    CHARACTERS,
    WORDS,
    CountedTexts,
    CsrMatrix,
    EncodedTexts,
    GramTable,
    encode_texts,
)
from authorid.ngrams.features import FeatureExtractor
from authorid.ngrams.occurrences import Occurrences, find_occurrences
from authorid.ngrams.words import joined_lengths

__all__ = ["Vectorizer"]

_GROUP = 128
"""The most short texts in a group."""

_PIECE = 1 << 18
"""The most characters in a group, and in a piece of a longer text. The few n-grams that lie across the edge of two
pieces are not counted."""


_UNITS = {"byte": BYTES, "word": WORDS, "char": CHARACTERS}


class Vectorizer:
    """Counts the features of texts. Feature f is the n-grams with bucket ``buckets[f]``.

    `buckets` uint32 [features] are in the order of the views of the `extractor`, ascending within a view; `bounds`
    [views + 1] says where the features of each view begin.
    """

    def __init__(self, extractor: FeatureExtractor, buckets: npt.NDArray[np.uint32], bounds: Sequence[int]) -> None:
        self._extractor = extractor
        self._buckets = buckets
        self._bounds = np.array(bounds, dtype=np.int64)

    @classmethod
    def all_buckets(cls, extractor: FeatureExtractor) -> Vectorizer:
        """A vectorizer with a feature for every bucket: bucket b of view v has feature ``v * 2**bits + b``."""
        views, size = len(extractor.views), 1 << extractor.bits
        return cls(extractor, np.tile(np.arange(size, dtype=np.uint32), views), range(0, (views + 1) * size, size))

    def count(self, texts: Iterable[str], check: CancelCheck = never_cancelled) -> Iterator[CountedTexts]:
        """Count the features in `texts`, in their order; yields one result for each group of texts.

        `check` is called before each group, and before each piece of a long text.
        """
        most = max(1, min(_GROUP, np.iinfo(np.int32).max // max(1, int(self._bounds[-1]))))
        group: list[str] = []
        remaining = _PIECE
        for text in texts:
            if group and (len(group) == most or len(text) > remaining):
                check()
                yield self._count_group(group)
                group, remaining = [], _PIECE
            if len(text) > _PIECE:
                yield self._count_pieces(text, check)
            else:
                group.append(text)
                remaining -= len(text)
        if group:
            check()
            yield self._count_group(group)

    def occurrences(self, text: str) -> Iterator[Occurrences]:
        """Where the features are that `count` counts in `text`: one group for each piece, view and size."""
        begin = 0
        for piece in _pieces(text):
            for found in find_occurrences(piece, self._extractor, self._grams, int(self._bounds[-1])):
                yield found._replace(starts=found.starts + begin, ends=found.ends + begin)
            begin += len(piece)

    def _count_pieces(self, text: str, check: CancelCheck) -> CountedTexts:
        total = np.zeros(int(self._bounds[-1]), dtype=np.int64)
        length = np.zeros(1, dtype=np.int64)
        for piece in _pieces(text):
            check()
            counts, own = self._count_group([piece])
            total[counts.indices] += counts.data
            length += own
        indices = np.flatnonzero(total).astype(np.int32)
        indptr = np.append(np.searchsorted(indices, self._bounds[:-1]), len(indices))
        return CountedTexts(CsrMatrix(indices, total[indices], indptr), length)

    def _count_group(self, texts: list[str]) -> CountedTexts:
        encoded = encode_texts([self._extractor.prepare(text) for text in texts])
        return CountedTexts(self._count_encoded(encoded), joined_lengths(encoded, self._extractor.word_table.spaces))

    def _count_encoded(self, encoded: EncodedTexts) -> CsrMatrix:
        texts = len(encoded.offsets) - 1
        # A text has at most as many entries as n-grams, and as features. Memory that stays unused is never touched.
        capacity = min(len(encoded.data) * len(self._grams), texts * int(self._bounds[-1]))
        counts = CsrMatrix(
            np.empty(capacity, dtype=np.int32),
            np.empty(capacity, dtype=np.int64),
            np.empty(texts * (len(self._bounds) - 1) + 1, dtype=np.int64),
        )
        extractor = self._extractor
        found = kernels.active.count_ngrams(
            encoded, extractor.word_table, self._grams, extractor.bits, self._bounds, counts
        )
        return CsrMatrix(counts.indices[:found], counts.data[:found], counts.indptr)

    @cached_property
    def _grams(self) -> list[GramTable]:
        """One table for each size of each view."""
        grams = []
        size = 1 << self._extractor.bits
        for number, (start, stop) in enumerate(pairwise(self._bounds.tolist())):
            view, own = self._extractor.views[number], self._buckets[start:stop]
            has_feature = np.zeros(size, dtype=bool)
            has_feature[own] = True
            marks = np.packbits(has_feature, bitorder="little").view("<u8").astype(np.uint64)
            ranks = np.searchsorted(own, np.arange(0, size, 64)).astype(np.uint32)
            keep = -1 if view.keep is None else view.keep
            unit, one = _UNITS[view.unit], view.mask == "one"
            grams += [GramTable(number, unit, keep, one, length, marks, ranks, start) for length in view.sizes]
        return grams


def _pieces(text: str) -> Iterator[str]:
    """Parts of `text` of at most `_PIECE` characters, cut behind white space where there is any."""
    start = 0
    while start < len(text):
        stop = start + _PIECE
        if stop < len(text):
            space = max(text.rfind(" ", start, stop), text.rfind("\n", start, stop))
            stop = space + 1 if space > start else stop
        yield text[start:stop]
        start = stop
