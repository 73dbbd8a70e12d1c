"""From n-grams to scores: which rows of the expert occur in texts and how often, what they weigh, and the sum.

Compiled where that is possible (`authorid.ngrams.kernels`). The answers are the same to the bit either way: counts are whole
numbers, and the sums add in the same order.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams import kernels as native
from authorid.ngrams.features import FeatureExtractor, Grams, Places, View, encoded, steps

__all__ = ["Counts", "Rows", "Vectorizer", "add_up", "weigh"]

Rows = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Counts:
    """What occurs in some texts: `rows`, ascending within a text, and how often, `counts` int64; both [rows].

    `edges` [texts * views + 1] says where those of a view of a text begin.
    """

    rows: Rows
    counts: npt.NDArray[np.int64]
    edges: Places


class Vectorizer:
    """Finds the rows of texts: `buckets` [rows] in order of views, those of a view in ascending order.

    `bounds` [views + 1] says where the rows of a view of the `reader` begin.
    """

    def __init__(self, reader: FeatureExtractor, buckets: npt.NDArray[np.uint32], bounds: Sequence[int]) -> None:
        self._reader = reader
        self._buckets = [buckets[start:stop].astype(np.int64) for start, stop in pairwise(bounds)]
        self._bounds = np.array(bounds, dtype=np.int64)
        self._size = 1 << reader.bits

    @classmethod
    def of_all(cls, reader: FeatureExtractor) -> Vectorizer:
        """One in which every bucket has a row: bucket b of view v has row v * 2**bits + b."""
        views, size = len(reader.views), 1 << reader.bits
        return cls(reader, np.tile(np.arange(size, dtype=np.uint32), views), range(0, (views + 1) * size, size))

    def counts(self, texts: Iterable[str]) -> Iterator[Counts]:
        """What occurs in all `texts`, in their order, of as many together as memory is spared for."""
        most = max(1, min(_TOGETHER, np.iinfo(np.int32).max // max(1, int(self._bounds[-1]))))
        group: list[str] = []
        room = _PIECE
        for text in texts:
            if group and (len(group) == most or len(text) > room):
                yield self._count(group)
                group, room = [], _PIECE
            if len(text) > _PIECE:
                yield self._piece_by_piece(text)
            else:
                group.append(text)
                room -= len(text)
        if group:
            yield self._count(group)

    def _piece_by_piece(self, text: str) -> Counts:
        total = np.zeros(int(self._bounds[-1]), dtype=np.int64)
        for piece in _pieces(text):
            counts = self._count([piece])
            total[counts.rows] += counts.counts
        rows = np.flatnonzero(total).astype(np.int32)
        return Counts(rows, total[rows], np.append(np.searchsorted(rows, self._bounds[:-1]), len(rows)))

    def _count(self, texts: Sequence[str]) -> Counts:
        if native.module is None:
            return self._sorted(self._reader.grams(texts), len(texts))
        data, ends = encoded(texts)
        # No text has more rows than n-grams, nor more than there are; memory that is not used is never touched.
        room = min(len(data) * len(self._parts), len(texts) * int(self._bounds[-1]))
        rows, counts = np.empty(room, dtype=np.int32), np.empty(room, dtype=np.int64)
        edges = np.empty(len(texts) * len(self._buckets) + 1, dtype=np.int64)
        reader = self._reader
        found = native.module.count(
            data, ends, reader.language, self._parts, reader.bits, self._bounds, rows, counts, edges
        )
        return Counts(rows[:found], counts[:found], edges)

    @cached_property
    def _parts(self) -> list[tuple[Any, ...]]:
        """What the compiled loop knows of each size of each view.

        Besides what the view is: a bit for each bucket, how many are set before every 64th, and its first row. The row
        of a bucket is the number of bits set before it, found in a twentieth of the memory of a table of rows.
        """
        parts = []
        for number, view in enumerate(self._reader.views):
            has = np.zeros(self._size, dtype=bool)
            has[self._buckets[number]] = True
            marks = np.packbits(has, bitorder="little").view("<u8").astype(np.uint64)
            ranks = np.searchsorted(self._buckets[number], np.arange(0, self._size, 64)).astype(np.uint32)
            keep = -1 if view.keep is None else view.keep
            about = number, view.unit == "word", keep, view.mask == "one"
            parts += [(*about, size, marks, ranks, int(self._bounds[number])) for size in view.sizes]
        return parts

    @cached_property
    def _row_of(self) -> Rows:
        """Row of each bucket, [views, buckets]; -1 where it has none."""
        table = np.full((len(self._buckets), self._size), -1, dtype=np.int32)
        for own, buckets, start in zip(table, self._buckets, self._bounds.tolist(), strict=False):
            own[buckets] = np.arange(start, start + len(buckets))
        return table

    def _sorted(self, grams: Sequence[Sequence[Grams]], texts: int) -> Counts:
        views = len(self._buckets)
        offsets = np.arange(texts, dtype=np.int32) * np.int32(self._bounds[-1])
        found = []
        for table, view in zip(self._row_of, grams, strict=True):
            for own in view:
                rows = table.take(own.buckets)
                known = rows >= 0
                rows += offsets.repeat(np.diff(own.edges))
                found.append(rows[known])
        rows = np.concatenate(found)
        rows.sort()
        first = np.empty(len(rows), dtype=bool)
        first[:1] = True
        np.not_equal(rows[1:], rows[:-1], out=first[1:])
        firsts = np.flatnonzero(first)
        rows, counts = rows.take(firsts), steps(firsts, len(rows))
        edges = np.searchsorted(rows, (offsets[:, None] + self._bounds[:-1].astype(np.int32)).ravel())
        edges = np.append(edges, len(rows))
        rows -= offsets.repeat(np.diff(edges[::views]))
        return Counts(rows, counts, edges)


_LOGS = np.concatenate(([0.0], 1.0 + np.log(np.arange(1, 4096))))
"""What it is worth that an n-gram occurs so often."""


def weigh(counts: Counts, idf: npt.NDArray[np.float32], views: Sequence[View]) -> npt.NDArray[np.float32]:
    """tf-idf of length `View.weight` in each view of each text, float32 [rows]; `idf` are all that there are."""
    weights = np.array([view.weight for view in views])
    once = np.array([view.once for view in views])
    if native.module is not None and counts.counts.max(initial=0) < len(_LOGS):
        values = np.empty(len(counts.rows), dtype=np.float32)
        native.module.weigh(counts.rows, counts.counts, counts.edges, idf, _LOGS, weights, once.view(np.uint8), values)
        return values
    sizes = np.diff(counts.edges)
    texts = len(sizes) // len(views)
    worth = _LOGS.take(counts.counts, mode="clip")
    for place in np.flatnonzero(counts.counts >= len(_LOGS)).tolist():
        # One by one: what an array's logarithm is in the last place may depend on where in the array it stands.
        worth[place] = 1.0 + math.log(counts.counts[place])
    worth[np.tile(once, texts).repeat(sizes)] = 1.0
    worth *= idf.take(counts.rows)
    # Adds one after the other, as the compiled loop does.
    squares = np.bincount(np.arange(len(sizes)).repeat(sizes), weights=worth * worth, minlength=len(sizes))
    lengths = np.sqrt(squares)
    worth *= (np.tile(weights, texts) / np.where(lengths > 0, lengths, 1.0)).repeat(sizes)
    return worth.astype(np.float32)


def add_up(
    weights: npt.NDArray[Any],
    shared: npt.NDArray[np.uint8],
    counts: Counts,
    values: npt.NDArray[np.float32],
    parts: npt.NDArray[np.float64],
) -> None:
    """Add to `parts` [texts, views, 2, authors] the weights of what occurs, times its `values` float32 [rows].

    Of the two parts of a view, the first is for rows whose `shared` [rows] is 0, the second for the others. `weights`
    [rows, authors] are int8, float16 or float32; only int8, as trained models have them, is compiled. Raises
    `ValueError` when the parts are not those of these texts and authors.
    """
    if len(counts.edges) != parts.shape[0] * parts.shape[1] + 1 or parts.shape[2:] != (2, weights.shape[1]):
        raise ValueError("arrays that do not fit together")
    views, authors = parts.shape[1], parts.shape[3]
    if native.module is not None and weights.dtype == np.int8 and weights.flags.c_contiguous:
        native.module.add_up(weights, shared, counts.rows, values, counts.edges, parts, views, authors, _BLOCK)
        return
    edges = counts.edges.tolist()
    # Room for the weights of one text, or of one block of it, again and again: it stays in the cache.
    most = min(_BLOCK, int(np.diff(counts.edges[::views]).max(initial=0)))
    stored = np.empty((most, weights.shape[1]), dtype=weights.dtype)
    floats = np.empty((most, weights.shape[1]), dtype=np.float32)
    which = shared.take(counts.rows) > 0
    for text, part in enumerate(parts):
        own = edges[text * views : (text + 1) * views + 1]
        for first in range(own[0], own[-1], _BLOCK):
            last = min(first + _BLOCK, own[-1])
            weights.take(counts.rows[first:last], axis=0, out=stored[: last - first], mode="clip")
            block = floats[: last - first]
            np.copyto(block, stored[: last - first])
            for view, (start, stop) in enumerate(pairwise(own)):
                start, stop = max(start, first), min(stop, last)
                for kind in (False, True) if start < stop else ():
                    chosen = np.flatnonzero(which[start:stop] == kind)
                    # einsum adds in one order, whatever the machine's BLAS and its threads; answers do not change.
                    part[view, int(kind)] += np.einsum(
                        "i,ij->j", values[start:stop].take(chosen), block[start - first :].take(chosen, axis=0)
                    )


_TOGETHER = 128
"""Short texts that are looked at together, at most."""

_PIECE = 1 << 18
"""Characters that are looked at together: more of them are counted piece by piece, in bounded memory. The few n-grams
that lie across the edge of two pieces are not counted."""


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


_BLOCK = 1 << 16
"""Rows whose weights are taken at once: a long document needs no more memory than a short one."""
