"""Texts as sequences of words, in numpy: where words begin, what their hashes are, which of them are common.

A word is a run of letters, a run of digits, or any other single byte. Several texts are processed together, laid end to
end: for short texts, the number of numpy calls costs more than the bytes. No word crosses from one text to the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from authorid.ngrams.arrays import Bytes, EncodedTexts, Indices, Keys, Offsets, WordTable, encode_texts

__all__ = [
    "GOLDEN",
    "SEPARATOR",
    "JoinedTexts",
    "WordSequence",
    "character_hashes",
    "join_texts",
    "joined_lengths",
    "kept_bytes",
    "make_word_table",
    "steps",
    "word_hashes",
    "word_ranks",
]

GOLDEN = 0x9E3779B97F4A7C15
"""2**64 divided by the golden ratio, odd: multiplying by it spreads keys well (Knuth, TAOCP 6.4)."""

_CAPITAL = 0x9FB21C651E98DF25

SEPARATOR = "\x1f"
"""A character that only separates words: it is neither seen nor counted (see `authorid.ngrams.segmentation`)."""

_PROBES = 64
"""How many slots are searched for a hash. One or two are enough for words that were not chosen to collide."""


def _byte_classes() -> bytes:
    """Letters (every byte of a character outside ASCII counts as one), digits, the rest."""
    classes = np.zeros(256, dtype=np.uint8)
    classes[65:91] = classes[97:123] = classes[128:] = 1
    classes[48:58] = 2
    return classes.tobytes()


def _byte_shapes() -> bytes:
    shapes = np.arange(256, dtype=np.uint8)
    shapes[97:123] = shapes[128:] = ord("a")
    shapes[65:91] = ord("A")
    shapes[48:58] = ord("0")
    return shapes.tobytes()


_CLASSES, _SHAPES = _byte_classes(), _byte_shapes()
_SPACES = bytes(byte in b"\t\n\v\f\r " for byte in range(256))
_SPACES_OF_SEGMENTS = bytes(byte in b"\t\n\v\f\r \x1f" for byte in range(256))


def make_word_table(hashes: Keys, *, segmented: bool = False) -> WordTable:
    """The table of the common words with these `hashes`, most common first; for `segmented` texts, with `SEPARATOR`.

    Raises `ValueError` when a hash occurs twice, or too many share a slot.
    """
    count = len(hashes)
    if len(set(hashes.tolist())) < count:
        raise ValueError("the same common word twice")
    bits = max(8, (8 * count).bit_length())
    spaces = _SPACES_OF_SEGMENTS if segmented else _SPACES
    table = WordTable(
        _CLASSES, _SHAPES, spaces, np.full(1 << bits, count, np.int32), np.append(hashes, np.uint64(0)), 64 - bits
    )
    unplaced = np.arange(count, dtype=np.int32)
    for probe in range(_PROBES):
        slots = _slots(table, hashes.take(unplaced), probe)
        free = table.slots.take(slots) == count
        # Several words may want the same slot: numpy keeps the last one written, here the most common.
        table.slots[slots[free][::-1]] = unplaced[free][::-1]
        unplaced = unplaced[table.slots.take(slots) != unplaced]
        if not len(unplaced):
            return table
    raise ValueError("the hashes of the common words are not spread")


def _slots(table: WordTable, hashes: Keys, probe: int) -> Offsets:
    slots = (hashes >> np.uint64(table.shift)).astype(np.int64)
    slots += probe
    slots &= len(table.slots) - 1
    return slots


def word_ranks(table: WordTable, hashes: Keys) -> Indices:
    """Rank of each hash, int32; the number of common words for a hash that is not among them."""
    uncommon = len(table.hashes) - 1
    ranks = np.full(len(hashes), uncommon, dtype=np.int32)
    searching = np.arange(len(hashes))
    for probe in range(_PROBES):
        wanted = hashes.take(searching)
        found = table.slots.take(_slots(table, wanted, probe))
        taken = np.flatnonzero((found >= 0) & (found < uncommon))
        searching, found, wanted = searching[taken], found[taken], wanted[taken]
        right = table.hashes.take(found) == wanted
        ranks[searching[right]] = found[right]
        searching = searching[~right]
        if not len(searching):
            break
    return ranks


@dataclass(frozen=True, slots=True)
class JoinedTexts:
    """Texts laid end to end: their `bytes` uint8, and `offsets` int64 [texts + 1], where each text begins."""

    bytes: Bytes
    offsets: Offsets


def join_texts(texts: EncodedTexts, spaces: bytes) -> JoinedTexts:
    """The `texts`, with one space for two or more characters of ASCII white space in a row."""
    data: Bytes = np.frombuffer(texts.data, dtype=np.uint8)
    removed = _repeated_spaces(texts, spaces)
    if not len(removed):
        return JoinedTexts(data, texts.offsets)
    data = data.copy()
    data[removed - 1] = 32
    return JoinedTexts(np.delete(data, removed), texts.offsets - np.searchsorted(removed, texts.offsets))


def joined_lengths(texts: EncodedTexts, spaces: bytes) -> Offsets:
    """The length of each text in bytes, int64 [texts], as `join_texts` leaves it."""
    lengths: Offsets = np.diff(texts.offsets - np.searchsorted(_repeated_spaces(texts, spaces), texts.offsets))
    return lengths


def kept_bytes(texts: EncodedTexts, spaces: bytes) -> Offsets:
    """The indices of the bytes that `join_texts` leaves, int64 [bytes]."""
    return np.delete(np.arange(len(texts.data)), _repeated_spaces(texts, spaces))


def _repeated_spaces(texts: EncodedTexts, spaces: bytes) -> Offsets:
    """Where in the data a character of white space follows another one of the same text."""
    space = np.frombuffer(bytes(texts.data).translate(bytes(spaces)), dtype=np.uint8)
    again = np.zeros(len(space), dtype=np.uint8)
    np.logical_and(space[1:], space[:-1], out=again[1:].view(bool))
    again[texts.offsets[texts.offsets < len(space)]] = 0
    return np.flatnonzero(again.view(bool))


class WordSequence:
    """The words of joined texts: `starts` and `lengths` [words] in bytes, and case-folded `hashes` [words].

    `firsts` are their first bytes, `classes` the class of these; 0 for what is not a word.
    """

    def __init__(self, joined: JoinedTexts, table: WordTable) -> None:
        data, offsets = joined.bytes, joined.offsets
        classes = np.frombuffer(data.tobytes().translate(table.classes), dtype=np.uint8)
        begins = classes == 0
        begins[1:] |= classes[1:] != classes[:-1]
        begins[offsets[offsets < len(data)]] = True
        self.starts = np.flatnonzero(begins)
        self.lengths = steps(self.starts, len(data))
        self.hashes = _hashes(np.frombuffer(data.tobytes().lower(), dtype=np.uint8), self.starts)
        self.classes = classes.take(self.starts)
        self.firsts = data.take(self.starts)
        self._table = table
        self._offsets = offsets

    @cached_property
    def ranks(self) -> Indices:
        """Rank of each word [words]: -1 for what is not a word, the number of common words for uncommon ones."""
        ranks = word_ranks(self._table, self.hashes)
        ranks[self.classes == 0] = -1
        return ranks

    @cached_property
    def visible(self) -> Offsets:
        """Indices of the words and marks that are not white space."""
        return np.flatnonzero(np.frombuffer(self._table.spaces, dtype=np.uint8).take(self.firsts) == 0)

    @cached_property
    def visible_offsets(self) -> Offsets:
        """Where the visible words of each text begin, [texts + 1]."""
        return np.searchsorted(self.starts.take(self.visible), self._offsets)

    @cached_property
    def units(self) -> Keys:
        """A number for every visible word: its folded bytes, and whether it begins with a capital."""
        first = self.firsts.take(self.visible)
        capital = ((first >= 65) & (first <= 90)).astype(np.uint64)
        capital *= np.uint64(_CAPITAL)
        capital += self.hashes.take(self.visible)
        return capital

    @cached_property
    def shapes(self) -> Keys:
        """The number of every visible word where it is masked."""
        return np.frombuffer(self._table.shapes, dtype=np.uint8).take(self.firsts.take(self.visible)).astype(np.uint64)


def steps(starts: Offsets, end: int) -> Offsets:
    """How far it is from each of `starts` to the next one, and from the last to the `end`."""
    widths = np.empty_like(starts)
    np.subtract(starts[1:], starts[:-1], out=widths[:-1])
    widths[-1:] = end - starts[-1:]
    return widths


def _hashes(data: Bytes, starts: Offsets) -> Keys:
    """Sum of (byte + 1) * GOLDEN ** (position in the word, from 1) of each word, modulo 2**64.

    A cumulative sum over positions in the whole text gives all of them; dividing by the power of a word's start then
    turns positions in the text into positions in the word.
    """
    powers, inverse = _powers(len(data))
    sums = data.astype(np.uint64)
    sums += np.uint64(1)
    sums *= powers
    np.cumsum(sums, out=sums)
    ends = sums.take(starts[1:] - 1)
    hashes: Keys = np.append(ends, sums[-1:])
    hashes[1:] -= ends
    hashes *= inverse.take(starts)
    return hashes


def character_hashes(joined: JoinedTexts) -> tuple[Keys, Offsets]:
    """The hash of each character of UTF-8 texts but `SEPARATOR`, and where those of each text begin [texts + 1]."""
    kept = np.flatnonzero(joined.bytes != ord(SEPARATOR))
    data, offsets = joined.bytes.take(kept), np.searchsorted(kept, joined.offsets)
    begins = data & 0xC0 != 0x80
    begins[offsets[offsets < len(data)]] = True
    starts = np.flatnonzero(begins)
    return _hashes(data, starts), np.searchsorted(starts, offsets)


def _powers(count: int) -> tuple[Keys, Keys]:
    """`GOLDEN` to the power 1, 2, ... `count`, and its inverse to the power 0, 1, ..., modulo 2**64."""
    global _known_powers
    known = _known_powers
    if len(known[0]) < count:
        size = 1 << (count - 1).bit_length()
        powers = np.full(size, GOLDEN, dtype=np.uint64)
        inverse = np.full(size, pow(GOLDEN, -1, 1 << 64), dtype=np.uint64)
        inverse[0] = 1
        # Another thread may store a shorter table at any moment, so this one goes on with its own.
        known = _known_powers = np.multiply.accumulate(powers), np.multiply.accumulate(inverse)
    powers, inverse = known
    return powers[:count], inverse


_known_powers: tuple[Keys, Keys] = (np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.uint64))


def word_hashes(text: str) -> npt.NDArray[np.uint64]:
    """Hashes of the words (letters and digits, case-folded in ASCII) of `text`, in their order; no marks, no spaces."""
    table = make_word_table(np.zeros(0, dtype=np.uint64))
    joined = join_texts(encode_texts([text]), table.spaces)
    if not len(joined.bytes):
        return np.zeros(0, dtype=np.uint64)
    words = WordSequence(joined, table)
    return words.hashes[words.classes > 0]
