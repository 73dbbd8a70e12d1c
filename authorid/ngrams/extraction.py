"""The n-grams of texts one by one, in numpy: the bucket of each, and where it is.

Counting needs only the buckets (`authorid.ngrams._kernels`); explaining an answer needs the positions too.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from authorid.ngrams.arrays import CHARACTERS, WORDS, Bytes, GramTable, Keys, Offsets, WordTable
from authorid.ngrams.words import GOLDEN, SEPARATOR, JoinedTexts, WordSequence, character_hashes, steps

__all__ = ["Extraction", "Units", "look_up"]

_UINT64 = (1 << 64) - 1
_SIZE_FACTOR = 0xA24BAED4963EE407
_VIEW_FACTOR = 0xD6E8FEB86659FD93


_MASKED = {ord("a"): "xx", ord("A"): "Xx", ord("0"): "00"}
"""How masked words are shown."""


class Units(NamedTuple):
    """What the n-grams of a text are made of, in order.

    `starts` and `ends` int64 [units] are where a unit is in the joined text. The view sees the bytes of `seen` from
    `first` to `last` [units], but a masked word as its mask: `masks` uint8 [units], 0 for a word that is not masked;
    empty for bytes and characters, which are masked in `seen`.
    """

    starts: Offsets
    ends: Offsets
    seen: Bytes
    first: Offsets
    last: Offsets
    masks: Bytes

    def show(self, unit: int, size: int) -> str:
        """The n-gram of `size` that begins with a unit, as the view sees it."""
        if not len(self.masks):
            data = self.seen[self.first[unit] : self.last[unit + size - 1]].tobytes()
            return data.decode("utf-8", "replace").replace(SEPARATOR, "")
        words = []
        for i in range(unit, unit + size):
            data = self.seen[self.first[i] : self.last[i]].tobytes()
            words.append(_MASKED[int(self.masks[i])] if self.masks[i] else data.decode("utf-8", "replace"))
        return " ".join(words)


class Extraction:
    """The n-grams of joined texts; what several views need is computed once."""

    def __init__(self, joined: JoinedTexts, table: WordTable, bits: int) -> None:
        self._joined = joined
        self._table = table
        self._bits = bits
        self._words = WordSequence(joined, table)
        self._masked: dict[tuple[int, bool], tuple[JoinedTexts, Offsets | None]] = {}

    def buckets(self, gram: GramTable) -> tuple[Offsets, Offsets]:
        """The bucket of every n-gram, and where those of each text begin [texts + 1]."""
        if gram.unit == WORDS:
            offsets, keys = self._words.visible_offsets, _unit_keys(self._units(gram.keep), gram.size)
        else:
            seen, _ = self._seen(gram)
            if gram.unit == CHARACTERS:
                characters, offsets = character_hashes(seen)
                keys = _unit_keys(characters, gram.size)
            else:
                offsets, keys = seen.offsets, _byte_keys(seen.bytes, gram.size)
        # The view is part of the key: the same bytes in two views are two features.
        keys ^= np.uint64((gram.view + 1) * _VIEW_FACTOR & _UINT64)
        keys *= np.uint64(GOLDEN)
        keys ^= keys >> np.uint64(32)
        keys *= np.uint64(GOLDEN)
        keys >>= np.uint64(64 - self._bits)
        return _within_texts(keys.view(np.int64), offsets, gram.size)  # int64 is what numpy indexes by without a copy

    def _units(self, keep: int) -> Keys:
        """A number for every visible word as the view sees it."""
        words = self._words
        if keep < 0:
            return words.units
        return np.where(words.ranks.take(words.visible) < keep, words.units, words.shapes)

    def _mask(self, keep: int, one: bool) -> tuple[JoinedTexts, Offsets | None]:
        """The texts with uncommon words masked, and where each of their bytes was; None: where it is."""
        if (keep, one) not in self._masked:
            words, joined = self._words, self._joined
            kept = (words.ranks < keep).repeat(words.lengths)
            shown: Bytes = np.frombuffer(joined.bytes.tobytes().translate(self._table.shapes), dtype=np.uint8).copy()
            # Where a byte is kept, its own bits: operations on whole arrays are faster than a choice for each byte.
            shown ^= (shown ^ joined.bytes) & -kept.view(np.uint8)
            offsets, positions = joined.offsets, None
            if one:
                kept[words.starts] = True
                positions = np.flatnonzero(kept)
                shown, offsets = shown[kept], np.searchsorted(positions, offsets)
            self._masked[keep, one] = JoinedTexts(shown, offsets), positions
        return self._masked[keep, one]

    def _seen(self, gram: GramTable) -> tuple[JoinedTexts, Offsets | None]:
        """The texts as n-grams of bytes and characters see them, and where each of their bytes was."""
        return (self._joined, None) if gram.keep < 0 else self._mask(gram.keep, bool(gram.one))

    def units(self, gram: GramTable) -> Units:
        """The bytes, characters or words of which the n-grams of a single text are made, as the view sees them."""
        if gram.unit == WORDS:
            words = self._words
            starts, ends = words.starts.take(words.visible), (words.starts + words.lengths).take(words.visible)
            masked = gram.keep >= 0
            masks = words.shapes.astype(np.uint8) if masked else np.zeros(len(starts), dtype=np.uint8)
            if masked:
                masks[words.ranks.take(words.visible) < gram.keep] = 0
            return Units(starts, ends, self._joined.bytes, starts, ends, masks)
        seen, positions = self._seen(gram)
        if gram.unit == CHARACTERS:
            data = seen.bytes
            first = np.flatnonzero((data & 0xC0 != 0x80) & (data != ord(SEPARATOR)))
        else:
            first = np.arange(len(seen.bytes))
        last = first + steps(first, len(seen.bytes))
        where = np.arange(len(self._joined.bytes) + 1)
        if positions is not None:
            where = np.append(positions, len(self._joined.bytes))
        return Units(where.take(first), where.take(last), seen.bytes, first, last, np.zeros(0, dtype=np.uint8))


def _within_texts(buckets: Offsets, offsets: Offsets, size: int) -> tuple[Offsets, Offsets]:
    """Without the n-grams that begin in one text and end in the next; and where those of each text begin."""
    inner = offsets[1:-1]
    if size == 1 or not len(inner):
        return buckets, np.minimum(offsets, len(buckets))
    crossing = (inner[:, None] - np.arange(1, size)).ravel()
    kept = np.ones(len(buckets), dtype=bool)
    kept[crossing[(crossing >= 0) & (crossing < len(buckets))]] = False
    # How many are kept before each offset; the last n-grams begin before the end of the last text.
    before = np.concatenate([[0], np.cumsum(kept)])
    return buckets[kept], before[np.minimum(offsets, len(buckets))]


def _unit_keys(units: Keys, size: int) -> Keys:
    count = max(0, len(units) - size + 1)
    keys = units[:count] + np.uint64(size)
    for position in range(1, size):
        keys *= np.uint64(GOLDEN)
        keys += units[position : position + count]
    return keys


def _byte_keys(data: Bytes, size: int) -> Keys:
    """Every n-gram as the big-endian number that its bytes make, marked with its size."""
    count = max(0, len(data) - size + 1)
    if size == 4 and count:
        # The most common size: every four bytes, read without copying.
        four = np.ndarray((count,), dtype="<u4", buffer=np.ascontiguousarray(data), strides=(1,))
        keys = four.byteswap().astype(np.uint64)
    else:
        wide = data.astype(np.uint64)
        keys = np.zeros(count, dtype=np.uint64)
        for position in range(size):
            keys <<= np.uint64(8)
            keys |= wide[position : position + count]
    keys ^= np.uint64(size * _SIZE_FACTOR & _UINT64)
    return keys


def look_up(gram: GramTable, buckets: Offsets, extent: int, features: int) -> tuple[Keys, Offsets]:
    """The features of those `buckets` that have one, and the indices of them; all are below ``64 * extent``."""
    if not len(gram.marks):
        return np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64)
    blocks = buckets >> 6
    marks = gram.marks.take(blocks, mode="clip")
    bits = (buckets & 63).view(np.uint64)
    marked = ((marks >> bits) & np.uint64(1)).astype(bool)
    if len(gram.marks) < extent:
        marked &= blocks < len(gram.marks)
    marked = np.flatnonzero(marked)
    below = (np.uint64(1) << bits.take(marked)) - np.uint64(1)
    below &= marks.take(marked)
    found = _popcount(below)
    found += gram.ranks.take(blocks.take(marked))
    found += np.uint64(gram.first & _UINT64)
    inside = np.flatnonzero(found < features)
    if len(inside) == len(found):
        return found, marked
    return found.take(inside), marked.take(inside)


def _popcount(values: Keys) -> Keys:
    """How many bits are set in each of `values` (numpy has `bitwise_count` only from 2.0 on)."""
    if hasattr(np, "bitwise_count"):
        return np.bitwise_count(values).astype(np.uint64)
    values = values - ((values >> np.uint64(1)) & np.uint64(0x5555555555555555))
    values = (values & np.uint64(0x3333333333333333)) + ((values >> np.uint64(2)) & np.uint64(0x3333333333333333))
    values = (values + (values >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return (values * np.uint64(0x0101010101010101)) >> np.uint64(56)
