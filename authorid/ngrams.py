"""The n-gram expert: habits of spelling, punctuation and function words, at thousands of documents a second.

A text is looked at through several `View`: its bytes, its words, and *distorted* texts in which all but the
commonest words are masked, so that what is left is manner rather than subject (Stamatatos, "Authorship Attribution
Using Text Distortion", 2017). Every view counts n-grams; tf-idf (sublinear, length 1 within a view) and one linear
layer make a score for each author. All of it is numpy on whole arrays; no Python code runs per character or word.

::

    text -> UTF-8 bytes -> words -> keys uint64 of every n-gram -> buckets -> rows -> tf-idf -> scores [authors]
"""

from __future__ import annotations

import json
import math
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

__all__ = ["WIDESPREAD", "NgramExpert", "Reader", "Reading", "View"]

Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Rows = npt.NDArray[np.int32]

FORMAT = 1

_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: multiplying by it spreads keys well (Knuth, TAOCP 6.4)."""

WIDESPREAD = 0.0025
"""An n-gram is widespread when this share of the training documents has it."""

_LEAST_RARE = math.sqrt(1.0 - math.log(WIDESPREAD))
"""What such an n-gram is worth (`authorid.training.ngrams.inverse_frequencies`); all that is worth less is commoner."""

_LONGEST = 256
"""Letters after this many in one word share a factor in its hash."""


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


def _table(letters: int, digits: int, other: int, dtype: type) -> npt.NDArray[Any]:
    table: npt.NDArray[Any] = np.full(256, other, dtype=dtype)
    table[65:91] = table[97:123] = table[128:] = letters
    table[48:58] = digits
    return table


_CLASS = _table(1, 2, 0, np.uint8)
"""Letters (every byte of a character outside ASCII counts as one), digits, the rest."""

_SHAPE = np.arange(256, dtype=np.uint8)
_SHAPE[97:123] = _SHAPE[128:] = ord("a")
_SHAPE[65:91] = ord("A")
_SHAPE[48:58] = ord("0")

_FOLDED = np.arange(1, 257, dtype=np.uint64)
_FOLDED[65:91] += 32

_SPACE = np.zeros(256, dtype=bool)
_SPACE[[9, 10, 11, 12, 13, 32]] = True

_POWERS = np.cumprod(np.full(_LONGEST, _GOLDEN, dtype=np.uint64))

_PROBES = 64
"""Words in `_CommonWords` are found after one or two; so many are never needed unless somebody means harm."""


class _Words:
    """The words of a text: `starts` and `lengths` [words] in bytes, case-folded `hashes` [words].

    `firsts` are their first bytes, `kinds` the class of these, and `places` the words that are not white space.
    """

    def __init__(self, text: Bytes) -> None:
        kind = _CLASS.take(text)
        first = kind == 0
        first[0] = True
        first[1:] |= kind[1:] != kind[:-1]
        self.starts = np.flatnonzero(first)
        self.lengths = _steps(self.starts, len(text))
        places = np.arange(len(text)) - self.starts.repeat(self.lengths)
        np.minimum(places, _LONGEST - 1, out=places)
        self.hashes: Keys = np.add.reduceat(_FOLDED.take(text) * _POWERS.take(places), self.starts)
        self.kinds = kind.take(self.starts)
        self.firsts = text.take(self.starts)

    @cached_property
    def places(self) -> npt.NDArray[np.int64]:
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
        data = _encode(text)
        if not len(data):
            return np.zeros(0, dtype=np.uint64)
        words = _Words(data)
        return words.hashes[words.kinds > 0]

    def buckets(self, text: str) -> list[npt.NDArray[np.uint32]]:
        """For each view, the bucket of every n-gram of `text`, repeated as often as it occurs."""
        data = _encode(text)
        if not len(data):
            return [np.zeros(0, dtype=np.uint32) for _ in self.views]
        words = _Words(data)
        ranks = self._rank(words)
        masked: dict[tuple[int, str], Bytes] = {}
        return [self._view(number, data, words, ranks, masked) for number in range(len(self.views))]

    def _rank(self, words: _Words) -> npt.NDArray[np.int32]:
        """Rank of each word among the common ones, -1 for what is no word, their number for uncommon ones."""
        ranks = self._common.ranks(words.hashes)
        ranks[words.kinds == 0] = -1
        return ranks

    def _view(
        self,
        number: int,
        data: Bytes,
        words: _Words,
        ranks: npt.NDArray[np.int32],
        masked: dict[tuple[int, str], Bytes],
    ) -> npt.NDArray[np.uint32]:
        view = self.views[number]
        if view.unit == "word":
            units = _word_units(view, words, ranks)
            grams = [_word_grams(units, size) for size in view.sizes]
        else:
            text = data
            if view.keep is not None:
                key = (view.keep, view.mask)
                if key not in masked:
                    masked[key] = _distort(view, data, words, ranks)
                text = masked[key]
            grams = _byte_grams(text, view.sizes)
        keys = np.concatenate(grams) if len(grams) > 1 else grams[0]
        # The view and, through it, the table of all views: the same bytes seen in two views are two features.
        keys ^= np.uint64((number + 1) * 0xD6E8FEB86659FD93 & (1 << 64) - 1)
        keys *= np.uint64(_GOLDEN)
        keys ^= keys >> np.uint64(32)
        keys *= np.uint64(_GOLDEN)
        keys >>= np.uint64(64 - self.bits)
        return keys.astype(np.uint32)


def _encode(text: str) -> Bytes:
    """UTF-8 bytes, with one space for two or more characters of ASCII white space in a row."""
    data = np.frombuffer(text.encode("utf-8", "replace"), dtype=np.uint8)
    space = _SPACE.take(data)
    again = space[1:] & space[:-1]
    if not again.any():
        return data
    data = data.copy()
    data[:-1][again] = 32
    return data[np.concatenate(([True], ~again))]


def _distort(view: View, data: Bytes, words: _Words, ranks: npt.NDArray[np.int32]) -> Bytes:
    """The text as the view sees it: uncommon words masked."""
    kept = (ranks < (view.keep or 0)).repeat(words.lengths)
    shown: Bytes = np.where(kept, data, _SHAPE.take(data))
    if view.mask == "one":
        kept[words.starts] = True
        shown = shown[kept]
    return shown


def _word_units(view: View, words: _Words, ranks: npt.NDArray[np.int32]) -> Keys:
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
    """What the expert finds in one text.

    `scores` float64 [authors]; `parts` float64 [views, authors], what each view adds to them; `shares` float64 [views],
    how many of the text's n-grams are `WIDESPREAD` among the training documents.
    """

    scores: npt.NDArray[np.float64]
    parts: npt.NDArray[np.float64]
    shares: npt.NDArray[np.float64]


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
        """Row of each bucket of each view, -1 where it has none."""
        size = 1 << self.reader.bits
        table = np.full(len(self.reader.views) * size, -1, dtype=np.int32)
        for number, (start, stop) in enumerate(zip(self.bounds[:-1], self.bounds[1:], strict=True)):
            table[number * size + self.buckets[start:stop].astype(np.int64)] = np.arange(start, stop)
        return table

    @cached_property
    def _starts(self) -> npt.NDArray[np.int64]:
        return np.array(self.bounds[1:-1], dtype=np.int64)

    def features(self, text: str) -> tuple[Rows, npt.NDArray[np.float32]]:
        """Rows that occur in `text`, ascending, and their values float32: tf-idf of length `weight` in each view."""
        rows, counts, _ = self._counts(text)
        return rows, self._values(rows, counts, self._edges(rows))

    def _edges(self, rows: Rows) -> list[int]:
        """Where the rows of each view begin and end among ascending `rows`: [views + 1]."""
        return [0, *np.searchsorted(rows, self._starts).tolist(), len(rows)]

    def _values(self, rows: Rows, counts: npt.NDArray[np.int64], edges: list[int]) -> npt.NDArray[np.float32]:
        if not len(rows):
            return np.zeros(0, dtype=np.float32)
        values = _sublinear(counts)
        for view, start, stop in zip(self.reader.views, edges[:-1], edges[1:], strict=True):
            if view.once:
                values[start:stop] = 1.0
        values *= self.idf.take(rows)
        for view, start, stop in zip(self.reader.views, edges[:-1], edges[1:], strict=True):
            if stop > start:
                own = values[start:stop]
                # einsum adds in one order, whatever the machine's BLAS and its threads; so answers do not change.
                own *= view.weight / np.sqrt(np.einsum("i,i->", own, own))
        return values.astype(np.float32)

    def _counts(self, text: str) -> tuple[Rows, npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        """Rows that occur in `text`, ascending, how often, and the number of n-grams in each view, [views]."""
        if len(text) > _PIECE:
            total, totals = np.zeros(len(self.buckets), dtype=np.int64), np.zeros(len(self.reader.views), np.int64)
            for piece in _pieces(text):
                rows, sizes = self._rows(piece)
                total += np.bincount(rows, minlength=len(total))
                totals += sizes
            rows = np.flatnonzero(total).astype(np.int32)
            return rows, total[rows], totals
        rows, totals = self._rows(text)
        rows.sort()
        if not len(rows):
            return rows, np.zeros(0, dtype=np.int64), totals
        new = np.empty(len(rows), dtype=bool)
        new[0] = True
        np.not_equal(rows[1:], rows[:-1], out=new[1:])
        first = np.flatnonzero(new)
        return rows.take(first), _steps(first, len(rows)), totals

    def _rows(self, text: str) -> tuple[Rows, npt.NDArray[np.int64]]:
        """The row of every n-gram of `text` that has one, and the number of n-grams in each view, [views]."""
        size = 1 << self.reader.bits
        buckets = self.reader.buckets(text)
        places = [own + np.uint32(number * size) for number, own in enumerate(buckets)]
        rows: Rows = self._row_of.take(np.concatenate(places))
        return rows[rows >= 0], np.array([len(own) for own in buckets], dtype=np.int64)

    def scores(self, text: str) -> npt.NDArray[np.float64]:
        """Score of each author, float64 [authors]; the same to the bit wherever and with whatever it is computed."""
        return self.read(text).scores

    def read(self, text: str) -> Reading:
        """Scores, and what they are made of; the same to the bit wherever and with whatever it is computed."""
        rows, counts, totals = self._counts(text)
        edges = self._edges(rows)
        values = self._values(rows, counts, edges)
        parts = np.zeros((len(totals), len(self.bias)))
        hits = np.zeros(len(totals))
        widespread = counts * (self.idf.take(rows) <= _LEAST_RARE)
        for view, (first, last) in enumerate(pairwise(edges)):
            hits[view] = widespread[first:last].sum()
            for start in range(first, last, _BLOCK):
                part = slice(start, min(start + _BLOCK, last))
                weights = self.weights.take(rows[part], axis=0).astype(np.float32)
                parts[view] += np.einsum("i,ij->j", values[part] * self.scale.take(rows[part]), weights)
        return Reading(self.bias + parts.sum(axis=0), parts, hits / np.maximum(totals, 1))

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
    if np.max(counts) < len(_LOGS):
        return _LOGS.take(counts)
    logs: npt.NDArray[np.float64] = 1.0 + np.log(counts)
    return logs
