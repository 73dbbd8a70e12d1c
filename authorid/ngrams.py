"""The n-gram expert: habits of spelling, punctuation and function words, at thousands of documents a second.

A text is looked at through several `View`: its bytes, its words, and *distorted* texts in which all but the
commonest words are masked, so that what is left is manner rather than subject (Stamatatos, "Authorship Attribution
Using Text Distortion", 2017). Every view counts n-grams; tf-idf (sublinear, length 1 within a view) and one linear
layer make a score for each author. All of it is numpy on whole arrays; no Python code runs per character or word.

::

    texts -> UTF-8 bytes -> words -> keys uint64 of every n-gram -> buckets -> rows -> tf-idf -> scores [authors]

Short texts are looked at together, laid end to end: most of what a short one costs is the calls, not the numbers. What
an n-gram or a sum is made of never crosses from one text to the next, so answers do not depend on who is a neighbour.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from authorid.errors import BundleCorruptError
from authorid.tensors import read_tensors, write_tensors

__all__ = ["NgramExpert", "Reader", "Reading", "View"]

Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]
Places = npt.NDArray[np.int64]

FORMAT = 1

_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: multiplying by it spreads keys well (Knuth, TAOCP 6.4)."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a text.

    `unit` says what an n-gram is made of: ``byte`` or ``word`` (a run of letters, a run of digits, or any other single
    byte that is not white space). `sizes` are the lengths of its n-grams, at most 8 for bytes. `keep` None leaves the
    text alone; otherwise only the `keep` commonest words stay, and the letters of all others are masked: with `mask`
    ``shape`` each by ``a``, ``A`` or ``0``, with ``one`` the whole word by one of these. `weight` scales the view. With
    `once` it does not matter how often an n-gram occurs, only whether it does.
    """

    name: str
    unit: Literal["byte", "word"]
    sizes: tuple[int, ...]
    keep: int | None = None
    mask: Literal["shape", "one"] = "shape"
    weight: float = 1.0
    once: bool = False

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        longest = 8 if self.unit == "byte" else 16
        if self.unit not in ("byte", "word") or self.mask not in ("shape", "one"):
            raise ValueError(f"view {self.name}: unknown unit {self.unit!r} or mask {self.mask!r}")
        if not self.sizes or not all(1 <= size <= longest for size in self.sizes):
            raise ValueError(f"view {self.name}: sizes must be between 1 and {longest}, got {self.sizes}")
        if (self.keep is not None and self.keep < 0) or not self.weight > 0:
            raise ValueError(f"view {self.name}: keep must not be negative, weight must be positive")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> View:
        """Rebuild from `asdict`; raises `TypeError` and `ValueError`."""
        return cls(**{**record, "sizes": tuple(int(size) for size in record["sizes"])})


def _table(letters: int, digits: int, other: int) -> npt.NDArray[np.uint8]:
    table = np.full(256, other, dtype=np.uint8)
    table[65:91] = table[97:123] = table[128:] = letters
    table[48:58] = digits
    return table


_CLASS = _table(1, 2, 0).tobytes()
"""Letters (every byte of a character outside ASCII counts as one), digits, the rest."""

_SHAPE = np.arange(256, dtype=np.uint8)
_SHAPE[97:123] = _SHAPE[128:] = ord("a")
_SHAPE[65:91] = ord("A")
_SHAPE[48:58] = ord("0")

_SPACE = np.zeros(256, dtype=bool)
_SPACE[[9, 10, 11, 12, 13, 32]] = True

_PROBES = 64
"""Words in `_CommonWords` are found after one or two; so many are never needed unless somebody means harm."""


@dataclass(frozen=True, slots=True)
class _Joined:
    """Texts laid end to end: their bytes, and the `edges` [texts + 1] between them."""

    bytes: Bytes
    edges: Places


class _Words:
    """The words of joined texts: `starts` and `lengths` [words] in bytes, case-folded `hashes` [words].

    `firsts` are their first bytes, `kinds` the class of these, `places` the words that are not white space, and `edges`
    [texts + 1] says where the places of each text begin.
    """

    def __init__(self, joined: _Joined) -> None:
        text, edges = joined.bytes, joined.edges
        kind = np.frombuffer(text.tobytes().translate(_CLASS), dtype=np.uint8)
        first = kind == 0
        first[1:] |= kind[1:] != kind[:-1]
        first[edges[edges < len(text)]] = True
        self.starts = np.flatnonzero(first)
        self.lengths = _steps(self.starts, len(text))
        # The sum of byte * power ** (place in the word), by way of the place in the text: one is a power off the other.
        powers, inverse = _powers(len(text))
        folded = np.frombuffer(text.tobytes().lower(), dtype=np.uint8).astype(np.uint64)
        folded += np.uint64(1)
        folded *= powers
        self.hashes: Keys = np.add.reduceat(folded, self.starts)
        self.hashes *= inverse.take(self.starts)
        self.kinds = kind.take(self.starts)
        self.firsts = text.take(self.starts)
        self._edges = edges

    @cached_property
    def edges(self) -> Places:
        return np.searchsorted(self.starts.take(self.places), self._edges)

    @cached_property
    def places(self) -> Places:
        return np.flatnonzero(~_SPACE.take(self.firsts))

    @cached_property
    def units(self) -> Keys:
        """A number for every word and mark but white space: folded letters, and whether it begins with a capital."""
        first = self.firsts.take(self.places)
        capital = ((first >= 65) & (first <= 90)).astype(np.uint64)
        capital *= np.uint64(0x9FB21C651E98DF25)
        capital += self.hashes.take(self.places)
        return capital

    @cached_property
    def shapes(self) -> Keys:
        """What stands for every word and mark but white space where it is masked."""
        return _SHAPE.take(self.firsts.take(self.places)).astype(np.uint64)


class _CommonWords:
    """The rank of a word by its hash: a table with open addressing, looked up for all words of a text at once."""

    def __init__(self, hashes: Keys) -> None:
        if len(np.unique(hashes)) < len(hashes):
            raise ValueError("the same common word twice")
        self._hashes = np.append(hashes, np.uint64(0))
        bits = max(8, (8 * len(hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.full(1 << bits, -1, dtype=np.int32)
        homeless = np.arange(len(hashes), dtype=np.int32)
        for probe in range(_PROBES):
            slots = self._slots(hashes.take(homeless), probe)
            free = self._table.take(slots) < 0
            taken, which = np.unique(slots[free], return_index=True)
            self._table[taken] = homeless[free][which]
            homeless = homeless[self._table.take(slots) != homeless]
            if not len(homeless):
                return
        raise ValueError("the hashes of the common words are not spread")

    def _slots(self, hashes: Keys, probe: int) -> npt.NDArray[np.int64]:
        slots = (hashes >> self._shift).astype(np.int64)
        return (slots + probe) & (len(self._table) - 1) if probe else slots

    def ranks(self, hashes: Keys) -> npt.NDArray[np.int32]:
        """Rank of each, the number of common words for one that is not among them."""
        ranks = self._table.take(self._slots(hashes, 0))
        lost = np.flatnonzero((self._hashes.take(ranks) != hashes) & (ranks >= 0))
        for probe in range(1, _PROBES):
            if not len(lost):
                break
            sought = hashes.take(lost)
            found = self._table.take(self._slots(sought, probe))
            ranks[lost] = found
            lost = lost[(self._hashes.take(found) != sought) & (found >= 0)]
        ranks[lost] = -1
        ranks[ranks < 0] = len(self._hashes) - 1
        return ranks


def _powers(count: int) -> tuple[Keys, Keys]:
    """`_GOLDEN` to the power 1, 2, ... `count`, and its inverse to the power 0, 1, ..., modulo 2**64."""
    global _known_powers
    powers, inverse = _known_powers
    if len(powers) < count:
        size = 1 << (count - 1).bit_length()
        powers = np.full(size, _GOLDEN, dtype=np.uint64)
        inverse = np.full(size, pow(_GOLDEN, -1, 1 << 64), dtype=np.uint64)
        inverse[0] = 1
        _known_powers = np.multiply.accumulate(powers), np.multiply.accumulate(inverse)
        powers, inverse = _known_powers
    return powers[:count], inverse


_known_powers: tuple[Keys, Keys] = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64))


def _steps(starts: npt.NDArray[np.int64], end: int) -> npt.NDArray[np.int64]:
    """How far it is from each of `starts` to the next one, and from the last to the `end`."""
    steps = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=steps[:-1])
    steps[-1:] = end - starts[-1:]
    return steps


class Reader:
    """Turns texts into n-gram buckets: the part of the expert that training and scoring share.

    `common` are the hashes uint64 of the commonest words, the commonest first (see `word_hashes`); `bits` the number
    of buckets of all views together, as a power of two.
    """

    def __init__(self, views: Sequence[View], common: Keys, bits: int) -> None:
        if not views or not 8 <= bits <= 32:
            raise ValueError("need at least one view, and between 8 and 32 bits")
        self.views = tuple(views)
        self.common = common
        self.bits = bits
        self._common = _CommonWords(common)

    @staticmethod
    def word_hashes(text: str) -> Keys:
        """Hashes of the words (letters and digits, case-folded in ASCII) of `text`, in their order."""
        joined = _join([text])
        if not len(joined.bytes):
            return np.zeros(0, dtype=np.uint64)
        words = _Words(joined)
        return words.hashes[words.kinds > 0]

    def buckets(self, text: str) -> list[Places]:
        """For each view, the bucket of every n-gram of `text`, repeated as often as it occurs."""
        return [np.concatenate([grams.buckets for grams in view]) for view in self.grams([text])]

    def grams(self, texts: Sequence[str]) -> list[list[Grams]]:
        """For each view, the n-grams of all `texts`, once for every size."""
        joined = _join(texts)
        if not len(joined.bytes):
            nothing = np.zeros(0, dtype=np.int64)
            return [[Grams(nothing, joined.edges, size) for size in view.sizes] for view in self.views]
        words = _Words(joined)
        ranks = self._rank(words)
        masked: dict[tuple[int, str], _Joined] = {}
        return [self._view(number, joined, words, ranks, masked) for number in range(len(self.views))]

    def _rank(self, words: _Words) -> Rows:
        """Rank of each word among the common ones, -1 for what is no word, their number for uncommon ones."""
        ranks = self._common.ranks(words.hashes)
        ranks[words.kinds == 0] = -1
        return ranks

    def _view(
        self,
        number: int,
        joined: _Joined,
        words: _Words,
        ranks: Rows,
        masked: dict[tuple[int, str], _Joined],
    ) -> list[Grams]:
        view = self.views[number]
        if view.unit == "word":
            units = _word_units(view, words, ranks)
            edges, keys = words.edges, [_word_grams(units, size) for size in view.sizes]
        else:
            if view.keep is not None:
                key = (view.keep, view.mask)
                if key not in masked:
                    masked[key] = _distort(view, joined, words, ranks)
                joined = masked[key]
            edges, keys = joined.edges, _byte_grams(joined.bytes, view.sizes)
        return [Grams(self._hash(number, own), edges, size) for own, size in zip(keys, view.sizes, strict=True)]

    def _hash(self, number: int, keys: Keys) -> Places:
        # The view and, through it, the table of all views: the same bytes seen in two views are two features.
        keys ^= np.uint64((number + 1) * 0xD6E8FEB86659FD93 & (1 << 64) - 1)
        keys *= np.uint64(_GOLDEN)
        keys ^= keys >> np.uint64(32)
        keys *= np.uint64(_GOLDEN)
        keys >>= np.uint64(64 - self.bits)
        return keys.view(np.int64)  # what numpy takes places by, so that it need not make a copy to look them up


@dataclass(frozen=True, slots=True)
class Grams:
    """The n-grams of one size in texts laid end to end: one at every unit, but for the last `size` - 1 of them all.

    `buckets` int64 [n-grams]; `edges` [texts + 1] says at which unit each text begins. `crossing` are those that begin
    in one text and end in another, so they are no n-grams of anything.
    """

    buckets: Places
    edges: Places
    size: int

    @property
    def crossing(self) -> Places:
        inner = self.edges[1:-1]
        crossing: Places = (inner[:, None] - np.arange(1, self.size)).ravel()
        return crossing[(crossing >= 0) & (crossing < len(self.buckets))]

    @property
    def begun(self) -> Places:
        """How many begin in each text, [texts]: all its own, and those that are `crossing` to the next."""
        begun: Places = np.diff(np.minimum(self.edges, len(self.buckets)))
        return begun


def _join(texts: Sequence[str]) -> _Joined:
    """UTF-8 bytes, with one space for two or more characters of ASCII white space in a row."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    data: Bytes = np.frombuffer(b"".join(encoded), dtype=np.uint8)
    edges = np.cumsum([0, *map(len, encoded)])
    space = np.frombuffer(data.tobytes().translate(_SPACE.tobytes()), dtype=bool)
    again = np.zeros(len(data), dtype=bool)
    again[1:] = space[1:] & space[:-1]
    again[edges[edges < len(data)]] = False
    places = np.flatnonzero(again)
    if not len(places):
        return _Joined(data, edges)
    data = data.copy()
    data[places - 1] = 32
    return _Joined(data[~again], edges - np.searchsorted(places, edges))


def _distort(view: View, joined: _Joined, words: _Words, ranks: Rows) -> _Joined:
    """The texts as the view sees them: uncommon words masked."""
    kept = (ranks < (view.keep or 0)).repeat(words.lengths)
    shown: Bytes = np.frombuffer(joined.bytes.tobytes().translate(_SHAPE.tobytes()), dtype=np.uint8).copy()
    # Where a byte is kept, its own bits; all in whole arrays of bytes, which is faster than to choose one by one.
    shown ^= (shown ^ joined.bytes) & -kept.view(np.uint8)
    if view.mask == "shape":
        return _Joined(shown, joined.edges)
    kept[words.starts] = True
    return _Joined(shown[kept], np.searchsorted(np.flatnonzero(kept), joined.edges))


def _word_units(view: View, words: _Words, ranks: Rows) -> Keys:
    """A number for every word and mark as the view sees it; white space left out."""
    if view.keep is None:
        return words.units
    return np.where(ranks.take(words.places) < view.keep, words.units, words.shapes)


def _word_grams(units: Keys, size: int) -> Keys:
    count = max(0, len(units) - size + 1)
    keys = units[:count] + np.uint64(size)
    for place in range(1, size):
        keys *= np.uint64(_GOLDEN)
        keys += units[place : place + count]
    return keys


def _byte_grams(text: Bytes, sizes: Sequence[int]) -> list[Keys]:
    """Every n-gram as the number that its bytes make, marked with its length."""
    if tuple(sizes) == (4,) and len(text) >= 4:
        # The commonest case: every four bytes, read where they lie.
        four = np.ndarray((len(text) - 3,), dtype="<u4", buffer=np.ascontiguousarray(text), strides=(1,))
        keys = four.byteswap().astype(np.uint64)
        keys ^= np.uint64(4 * 0xA24BAED4963EE407 & (1 << 64) - 1)
        return [keys]
    wide = text.astype(np.uint64)
    keys = np.zeros(len(text) + 1, dtype=np.uint64)
    grams = {}
    for size in range(1, max(sizes) + 1):
        count = max(0, len(text) - size + 1)
        keys = (keys[:count] << np.uint64(8)) | wide[size - 1 : size - 1 + count]
        if size in sizes:
            grams[size] = keys ^ np.uint64(size * 0xA24BAED4963EE407 & (1 << 64) - 1)
    return [grams[size] for size in sizes]


@dataclass(frozen=True, slots=True)
class Reading:
    """What the expert finds in some texts.

    `scores` float64 [texts, authors]; `parts` float64 [texts, views, authors], what each view adds to them.
    """

    scores: npt.NDArray[np.float64]
    parts: npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Counts:
    """What occurs in some texts: `rows`, ascending within a text, and how often, `counts` int64; both [rows].

    `edges` [texts * views + 1] says where those of a view of a text begin.
    """

    rows: Rows
    counts: npt.NDArray[np.int64]
    edges: Places


def _sums(values: npt.NDArray[Any], edges: Places) -> npt.NDArray[Any]:
    """Sums of the stretches of `values` between the `edges`, some of which may be empty."""
    filled = np.flatnonzero(edges[1:] > edges[:-1])
    sums = np.zeros(len(edges) - 1, dtype=values.dtype)
    if len(filled):
        sums[filled] = np.add.reduceat(values, edges[filled])
    return sums


@dataclass(frozen=True)
class NgramExpert:
    """A trained expert. Make one with `authorid.training.ngrams.fit`, or `NgramExpert.load`.

    The rows of all views follow one another, in order of their buckets: `bounds` [views + 1] says where those of a
    view begin, `buckets` uint32 [rows] which bucket a row stands for, `idf` float32 [rows] what an n-gram is worth.
    `weights` [rows, authors] (int8, float16 or float32) times `scale` float32 [rows] are the linear layer, `bias`
    float32 [authors] its constant.
    """

    reader: Reader
    bounds: tuple[int, ...]
    buckets: npt.NDArray[np.uint32]
    idf: npt.NDArray[np.float32]
    scale: npt.NDArray[np.float32]
    weights: npt.NDArray[Any]
    bias: npt.NDArray[np.float32]

    def __post_init__(self) -> None:
        """Check that the parts fit together; raises `ValueError`."""
        rows, authors = len(self.buckets), len(self.bias)
        views, size = len(self.reader.views), 1 << self.reader.bits
        shapes = (self.idf.shape, self.scale.shape, self.weights.shape)
        if shapes != ((rows,), (rows,), (rows, authors)) or authors < 2:
            raise ValueError(f"{rows} rows and {authors} authors do not fit arrays of {shapes}")
        if len(self.bounds) != views + 1 or self.bounds[0] != 0 or self.bounds[-1] != rows:
            raise ValueError("the rows are not shared out among the views")
        for start, stop in zip(self.bounds[:-1], self.bounds[1:], strict=True):
            own = self.buckets[start:stop]
            if not 0 <= start <= stop <= rows or (len(own) and (own[-1] >= size or (own[1:] <= own[:-1]).any())):
                raise ValueError("the buckets of a view are out of order or range")
        if not all(np.isfinite(part).all() for part in (self.idf, self.scale, self.bias)):
            raise ValueError("numbers that are not finite")

    @cached_property
    def _row_of(self) -> Rows:
        """Row of each bucket, [views, buckets]; -1 where it has none."""
        table = np.full((len(self.reader.views), 1 << self.reader.bits), -1, dtype=np.int32)
        for own, start, stop in zip(table, self.bounds[:-1], self.bounds[1:], strict=True):
            own[self.buckets[start:stop].astype(np.int64)] = np.arange(start, stop)
        return table

    def features(self, text: str) -> tuple[Rows, npt.NDArray[np.float32]]:
        """Rows that occur in `text`, ascending, and their values float32: tf-idf of length `weight` in each view."""
        counts = next(self._counts([text]))
        return counts.rows, self._values(counts)

    def scores(self, text: str) -> npt.NDArray[np.float64]:
        """Score of each author, float64 [authors]; the same to the bit wherever and with whatever it is computed."""
        scores: npt.NDArray[np.float64] = self.read([text]).scores[0]
        return scores

    def read(self, texts: Sequence[str]) -> Reading:
        """Scores, and what they are made of; the same to the bit wherever and with whatever they are computed."""
        views = len(self.reader.views)
        parts = np.zeros((len(texts), views, len(self.bias)))
        done = 0
        for counts in self._counts(texts):
            own = parts[done : done + len(counts.edges) // views]
            self._add_up(counts, own)
            done += len(own)
        return Reading(self.bias + parts.sum(axis=1), parts)

    def _counts(self, texts: Sequence[str]) -> Iterator[_Counts]:
        """The n-grams of all `texts`, of as many together as memory is spared for."""
        most = max(1, min(_TOGETHER, np.iinfo(np.int32).max // max(1, len(self.buckets))))
        group: list[str] = []
        room = _PIECE
        for text in texts:
            if group and (len(group) == most or len(text) > room):
                yield self._together(group)
                group, room = [], _PIECE
            if len(text) > _PIECE:
                yield self._piece_by_piece(text)
            else:
                group.append(text)
                room -= len(text)
        if group:
            yield self._together(group)

    def _together(self, texts: Sequence[str]) -> _Counts:
        """The rows of all `texts`, by text and row."""
        step = len(self.buckets)
        offsets = np.arange(len(texts), dtype=np.int32) * np.int32(step)
        found = []
        for number, view in enumerate(self.reader.grams(texts)):
            for grams in view:
                rows = self._row_of[number].take(grams.buckets)
                rows[grams.crossing] = -1
                known = rows >= 0
                rows += offsets.repeat(grams.begun)
                found.append(rows[known])
        rows = np.concatenate(found)
        rows.sort()
        first = np.empty(len(rows), dtype=bool)
        first[:1] = True
        np.not_equal(rows[1:], rows[:-1], out=first[1:])
        firsts = np.flatnonzero(first)
        rows, counts = rows.take(firsts), _steps(firsts, len(rows))
        edges = np.searchsorted(rows, (offsets[:, None] + np.array(self.bounds[:-1], dtype=np.int32)).ravel())
        edges = np.append(edges, len(rows))
        rows -= offsets.repeat(np.diff(edges[:: len(self.reader.views)]))
        return _Counts(rows, counts, edges)

    def _piece_by_piece(self, text: str) -> _Counts:
        total = np.zeros(len(self.buckets), dtype=np.int64)
        for piece in _pieces(text):
            counts = self._together([piece])
            total[counts.rows] += counts.counts
        rows = np.flatnonzero(total).astype(np.int32)
        return _Counts(rows, total[rows], np.append(np.searchsorted(rows, self.bounds[:-1]), len(rows)))

    def _values(self, counts: _Counts) -> npt.NDArray[np.float32]:
        """tf-idf of length `weight` in each view of each text, float32 [rows]."""
        views = self.reader.views
        values = _sublinear(counts.counts)
        sizes = np.diff(counts.edges)
        for view in (number for number, view in enumerate(views) if view.once):
            for start, size in zip(counts.edges[view :: len(views)].tolist(), sizes[view :: len(views)], strict=False):
                values[start : start + size] = 1.0
        values *= self.idf.take(counts.rows)
        lengths = np.sqrt(_sums(values * values, counts.edges))
        weights = np.tile([view.weight for view in views], len(sizes) // len(views))
        values *= (weights / np.where(lengths > 0, lengths, 1.0)).repeat(sizes)
        return values.astype(np.float32)

    def _add_up(self, counts: _Counts, parts: npt.NDArray[np.float64]) -> None:
        """Fill in `parts` [texts, views, authors] for the texts of `counts`."""
        views = len(self.reader.views)
        values = self._values(counts) * self.scale.take(counts.rows)
        edges = counts.edges.tolist()
        # Room for the weights of one text, or of one block of it, again and again: it stays in the cache.
        most = min(_BLOCK, int(np.diff(counts.edges[::views]).max(initial=0)))
        stored = np.empty((most, len(self.bias)), dtype=self.weights.dtype)
        floats = np.empty((most, len(self.bias)), dtype=np.float32)
        for text, part in enumerate(parts):
            own = edges[text * views : (text + 1) * views + 1]
            for first in range(own[0], own[-1], _BLOCK):
                last = min(first + _BLOCK, own[-1])
                self.weights.take(counts.rows[first:last], axis=0, out=stored[: last - first], mode="clip")
                weights = floats[: last - first]
                np.copyto(weights, stored[: last - first])
                for view, (start, stop) in enumerate(pairwise(own)):
                    start, stop = max(start, first), min(stop, last)
                    if start < stop:
                        # einsum adds in one order, whatever the machine's BLAS and its threads; answers do not change.
                        part[view] += np.einsum("i,ij->j", values[start:stop], weights[start - first : stop - first])

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
            "scale": self.scale,
            "weights": self.weights,
            "bias": self.bias,
        }
        return write_tensors(tensors, metadata)

    @classmethod
    def from_bytes(cls, data: bytes) -> NgramExpert:
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
            reader = Reader(views, tensors["common"], int(metadata["bits"]))
        except (KeyError, TypeError, AttributeError) as error:
            raise ValueError(f"the metadata does not describe an n-gram expert ({error!r})") from None
        return cls(reader, bounds, **{name: tensors[name] for name in (*_KINDS, "weights") if name != "common"})

    @classmethod
    def load(cls, path: Path) -> NgramExpert:
        """Read the file at `path`; raises `BundleCorruptError`."""
        try:
            return cls.from_bytes(path.read_bytes())
        except (OSError, ValueError, OverflowError, RecursionError) as error:
            raise BundleCorruptError(f"{path}: not a readable n-gram expert ({error})") from None


_KINDS = {"common": "<u8", "buckets": "<u4", "idf": "<f4", "scale": "<f4", "bias": "<f4"}

_BLOCK = 1 << 16
"""Rows whose weights are taken at once: a long document needs no more memory than a short one."""

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


_LOGS = np.concatenate(([0.0], 1.0 + np.log(np.arange(1, 4096))))


def _sublinear(counts: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """1 + log(count), looked up where it can be."""
    if np.max(counts, initial=0) < len(_LOGS):
        return _LOGS.take(counts)
    logs: npt.NDArray[np.float64] = 1.0 + np.log(counts)
    return logs
