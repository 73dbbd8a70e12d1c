"""The n-grams of texts: what they are, and how thousands of texts a second are taken apart into them.

A text is looked at through several `View`: its bytes, its words, and *distorted* texts in which all but the
commonest words are masked, so that what is left is manner rather than subject (Stamatatos, "Authorship Attribution
Using Text Distortion", 2017). All of it is numpy on whole arrays; no Python code runs per character or word. When
scoring, `_native.c` does the same text by text (`authorid.ngrams.vectorizer`): what is changed here is changed there.

::

    texts -> UTF-8 bytes -> words -> keys uint64 of every n-gram -> buckets

Short texts are looked at together, laid end to end: most of what a short one costs is the calls, not the numbers. What
an n-gram is made of never crosses from one text to the next, so it does not matter who is a neighbour.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

__all__ = ["FeatureExtractor", "Grams", "Keys", "Places", "View", "encoded", "steps"]

Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Places = npt.NDArray[np.int64]
_Ranks = npt.NDArray[np.int32]

_GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: multiplying by it spreads keys well (Knuth, TAOCP 6.4)."""


@dataclass(frozen=True, slots=True)
class View:
    """One way to look at a text.

    `unit` says what an n-gram is made of: ``byte`` or ``word`` (a run of letters, a run of digits, or any other single
    byte that is not white space). `sizes` are the lengths of its n-grams, at most 8 for bytes. `keep` None leaves the
    text alone; otherwise only the `keep` commonest words stay, and the letters of all others are masked: with `mask`
    ``shape`` each by ``a``, ``A`` or ``0``, with ``one`` the whole word by one of these. `weight` scales the view. With
    `once` it does not matter how often an n-gram occurs, only whether it does; with `shared` only those n-grams are
    looked at that many of the authors use.
    """

    name: str
    unit: Literal["byte", "word"]
    sizes: tuple[int, ...]
    keep: int | None = None
    mask: Literal["shape", "one"] = "shape"
    weight: float = 1.0
    once: bool = False
    shared: bool = False

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        longest = 8 if self.unit == "byte" else 16
        if self.unit not in ("byte", "word") or self.mask not in ("shape", "one"):
            raise ValueError(f"view {self.name}: unknown unit {self.unit!r} or mask {self.mask!r}")
        if not self.sizes or not all(1 <= size <= longest for size in self.sizes):
            raise ValueError(f"view {self.name}: sizes must be between 1 and {longest}, got {self.sizes}")
        if len(set(self.sizes)) < len(self.sizes):
            raise ValueError(f"view {self.name}: sizes must be different, got {self.sizes}")
        if self.keep is not None and not (isinstance(self.keep, int) and 0 <= self.keep < 1 << 31):
            raise ValueError(f"view {self.name}: keep must be a number of words, got {self.keep!r}")
        if not 0 < self.weight < float("inf"):
            raise ValueError(f"view {self.name}: weight must be positive, got {self.weight}")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> View:
        """Rebuild from `asdict`; raises `TypeError` and `ValueError`."""
        sizes = tuple(int(size) for size in record["sizes"])
        return cls(**{**record, "sizes": sizes, "weight": float(record.get("weight", 1.0))})


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
        self.lengths = steps(self.starts, len(text))
        # The sum of byte * power ** (place in the word), by way of the place in the text: one is a power off the other.
        powers, inverse = _powers(len(text))
        folded = np.frombuffer(text.tobytes().lower(), dtype=np.uint8).astype(np.uint64)
        folded += np.uint64(1)
        folded *= powers
        np.cumsum(folded, out=folded)
        ends = folded.take(self.starts[1:] - 1)
        self.hashes: Keys = np.append(ends, folded[-1:])
        self.hashes[1:] -= ends
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
        if len(set(hashes.tolist())) < len(hashes):
            raise ValueError("the same common word twice")
        self._hashes = np.append(hashes, np.uint64(0))
        bits = max(8, (8 * len(hashes)).bit_length())
        self._shift = np.uint64(64 - bits)
        self._table = np.full(1 << bits, len(hashes), dtype=np.int32)  # nobody's: the rank of uncommon words
        homeless = np.arange(len(hashes), dtype=np.int32)
        for probe in range(_PROBES):
            slots = self._slots(hashes.take(homeless), probe)
            free = self._table.take(slots) == len(hashes)
            # Of those that would have the same one, the first: the last that is written there.
            self._table[slots[free][::-1]] = homeless[free][::-1]
            homeless = homeless[self._table.take(slots) != homeless]
            if not len(homeless):
                return
        raise ValueError("the hashes of the common words are not spread")

    @property
    def slots(self) -> tuple[_Ranks, Keys, int]:
        """The table of ranks, hash by rank, and by how much a hash is shifted to find its place in the table."""
        return self._table, self._hashes, int(self._shift)

    def _slots(self, hashes: Keys, probe: int) -> npt.NDArray[np.int64]:
        slots = (hashes >> self._shift).astype(np.int64)
        return (slots + probe) & (len(self._table) - 1) if probe else slots

    def ranks(self, hashes: Keys) -> _Ranks:
        """Rank of each, the number of common words for one that is not among them."""
        uncommon = len(self._hashes) - 1
        ranks = self._table.take(self._slots(hashes, 0))
        lost = np.flatnonzero((self._hashes.take(ranks) != hashes) & (ranks != uncommon))
        for probe in range(1, _PROBES):
            if not len(lost):
                break
            sought = hashes.take(lost)
            found = self._table.take(self._slots(sought, probe))
            ranks[lost] = found
            lost = lost[(self._hashes.take(found) != sought) & (found != uncommon)]
        ranks[lost] = uncommon
        return ranks


def _powers(count: int) -> tuple[Keys, Keys]:
    """`_GOLDEN` to the power 1, 2, ... `count`, and its inverse to the power 0, 1, ..., modulo 2**64."""
    global _known_powers
    known = _known_powers
    if len(known[0]) < count:
        size = 1 << (count - 1).bit_length()
        powers = np.full(size, _GOLDEN, dtype=np.uint64)
        inverse = np.full(size, pow(_GOLDEN, -1, 1 << 64), dtype=np.uint64)
        inverse[0] = 1
        # Another thread may put in fewer of them meanwhile: each goes on with its own.
        known = _known_powers = np.multiply.accumulate(powers), np.multiply.accumulate(inverse)
    powers, inverse = known
    return powers[:count], inverse


_known_powers: tuple[Keys, Keys] = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64))


def steps(starts: Places, end: int) -> Places:
    """How far it is from each of `starts` to the next one, and from the last to the `end`."""
    widths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=widths[:-1])
    widths[-1:] = end - starts[-1:]
    return widths


class FeatureExtractor:
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

    @property
    def language(self) -> tuple[bytes, bytes, bytes, _Ranks, Keys, int]:
        """What `authorid.ngrams.kernels` has to know of bytes and words: class, shape and space; ranks, hashes and a shift."""
        return _CLASS, _SHAPE.tobytes(), _SPACE.tobytes(), *self._common.slots

    @staticmethod
    def word_hashes(text: str) -> Keys:
        """Hashes of the words (letters and digits, case-folded in ASCII) of `text`, in their order."""
        joined = _joined(*encoded([text]))
        if not len(joined.bytes):
            return np.zeros(0, dtype=np.uint64)
        words = _Words(joined)
        return words.hashes[words.kinds > 0]

    def buckets(self, text: str) -> list[Places]:
        """For each view, the bucket of every n-gram of `text`, repeated as often as it occurs."""
        return [np.concatenate([grams.buckets for grams in view]) for view in self.grams([text])]

    def grams(self, texts: Sequence[str]) -> list[list[Grams]]:
        """For each view, the n-grams of all `texts`, once for every size."""
        joined = _joined(*encoded(texts))
        if not len(joined.bytes):
            nothing = np.zeros(0, dtype=np.int64)
            return [[Grams(nothing, joined.edges) for _ in view.sizes] for view in self.views]
        words = _Words(joined)
        ranks = self._rank(words)
        masked: dict[tuple[int, str], _Joined] = {}
        return [self._view(number, joined, words, ranks, masked) for number in range(len(self.views))]

    def _rank(self, words: _Words) -> _Ranks:
        """Rank of each word among the common ones, -1 for what is no word, their number for uncommon ones."""
        ranks = self._common.ranks(words.hashes)
        ranks[words.kinds == 0] = -1
        return ranks

    def _view(
        self,
        number: int,
        joined: _Joined,
        words: _Words,
        ranks: _Ranks,
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
        return [_within(self._hash(number, own), edges, size) for own, size in zip(keys, view.sizes, strict=True)]

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
    """The n-grams of one size in one view of some texts, one text after the other.

    `buckets` int64 [n-grams]; `edges` int64 [texts + 1] says where those of each text begin.
    """

    buckets: Places
    edges: Places


def _within(buckets: Places, edges: Places, size: int) -> Grams:
    """The n-grams that begin at each unit of texts laid end to end, but for those that end in the next text."""
    inner = edges[1:-1]
    crossing = (inner[:, None] - np.arange(1, size)).ravel()
    kept = np.ones(len(buckets), dtype=bool)
    kept[crossing[(crossing >= 0) & (crossing < len(buckets))]] = False
    # How many are kept before each edge; the last n-grams of all begin before the end of the last text.
    before = np.concatenate([[0], np.cumsum(kept)])
    return Grams(buckets[kept], before[np.minimum(edges, len(buckets))])


def encoded(texts: Sequence[str]) -> tuple[bytes, Places]:
    """The UTF-8 bytes of all texts, and the edges [texts + 1] between them."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    return b"".join(encoded), np.cumsum([0, *map(len, encoded)])


def _joined(text: bytes, edges: Places) -> _Joined:
    """One space for two or more characters of ASCII white space in a row."""
    data: Bytes = np.frombuffer(text, dtype=np.uint8)
    space = np.frombuffer(text.translate(_SPACE.tobytes()), dtype=bool)
    again = np.zeros(len(data), dtype=bool)
    again[1:] = space[1:] & space[:-1]
    again[edges[edges < len(data)]] = False
    places = np.flatnonzero(again)
    if not len(places):
        return _Joined(data, edges)
    data = data.copy()
    data[places - 1] = 32
    return _Joined(data[~again], edges - np.searchsorted(places, edges))


def _distort(view: View, joined: _Joined, words: _Words, ranks: _Ranks) -> _Joined:
    """The texts as the view sees them: uncommon words masked."""
    kept = (ranks < (view.keep or 0)).repeat(words.lengths)
    shown: Bytes = np.frombuffer(joined.bytes.tobytes().translate(_SHAPE.tobytes()), dtype=np.uint8).copy()
    # Where a byte is kept, its own bits; all in whole arrays of bytes, which is faster than to choose one by one.
    shown ^= (shown ^ joined.bytes) & -kept.view(np.uint8)
    if view.mask == "shape":
        return _Joined(shown, joined.edges)
    kept[words.starts] = True
    return _Joined(shown[kept], np.searchsorted(np.flatnonzero(kept), joined.edges))


def _word_units(view: View, words: _Words, ranks: _Ranks) -> Keys:
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
