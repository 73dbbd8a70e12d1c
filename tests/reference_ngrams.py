"""N-gram buckets in a few lines of plain Python: slow, but easy to compare with the documentation of `View`."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from authorid.ngrams.features import View

GOLDEN = 0x9E3779B97F4A7C15
CAPITAL = 0x9FB21C651E98DF25
SIZE_FACTOR = 0xA24BAED4963EE407
VIEW_FACTOR = 0xD6E8FEB86659FD93
MASK = (1 << 64) - 1
SPACE = b"\t\n\v\f\r \x1f"


def words_of(text: str) -> list[bytes]:
    """Runs of letters, runs of digits, and any other single byte."""
    data = re.sub(rb"[\t\n\v\f\r ]{2,}", b" ", text.encode("utf-8", "replace"))
    return re.findall(rb"[A-Za-z\x80-\xff]+|[0-9]+|.", data, re.DOTALL)


def is_word(word: bytes) -> bool:
    return re.match(rb"[A-Za-z0-9\x80-\xff]", word) is not None


def hash_of(word: bytes) -> int:
    return sum((byte + 1) * pow(GOLDEN, position + 1, MASK + 1) for position, byte in enumerate(word.lower())) & MASK


def shape_of(byte: int) -> int:
    character = bytes([byte])
    return ord("A" if character.isupper() else "0" if character.isdigit() else "a") if is_word(character) else byte


def is_masked(word: bytes, view: View, common: Sequence[int]) -> bool:
    return view.keep is not None and is_word(word) and hash_of(word) not in common[: view.keep]


def byte_keys(words: list[bytes], view: View, common: Sequence[int], size: int) -> list[int]:
    shown = b""
    for word in words:
        shape = bytes(map(shape_of, word))
        shown += (shape[:1] if view.mask == "one" else shape) if is_masked(word, view, common) else word
    grams = [shown[start : start + size] for start in range(len(shown) - size + 1)]
    return [int.from_bytes(gram, "big") ^ (size * SIZE_FACTOR & MASK) for gram in grams]


def character_keys(words: list[bytes], size: int) -> list[int]:
    characters = [c.encode() for c in b"".join(words).decode() if c != "\x1f"]
    hashes = [
        sum((byte + 1) * pow(GOLDEN, position + 1, MASK + 1) for position, byte in enumerate(own)) for own in characters
    ]
    return [key_of(hashes[start : start + size]) for start in range(len(hashes) - size + 1)]


def key_of(units: list[int]) -> int:
    key = units[0] + len(units)
    for unit in units[1:]:
        key = key * GOLDEN + unit
    return key & MASK


def word_keys(words: list[bytes], view: View, common: Sequence[int], size: int) -> list[int]:
    units = [
        shape_of(word[0])
        if is_masked(word, view, common)
        else hash_of(word) + (CAPITAL if word[:1].isupper() else 0) & MASK
        for word in words
        if word not in [bytes([space]) for space in SPACE]
    ]
    return [key_of(units[start : start + size]) for start in range(len(units) - size + 1)]


def bucket_counts(text: str, number: int, view: View, common: Sequence[int], bits: int) -> Counter[int]:
    """How often each bucket of the view with that `number` occurs in `text`."""
    words = words_of(text)
    found: Counter[int] = Counter()
    for size in view.sizes:
        if view.unit == "char":
            keys = character_keys(words, size)
        else:
            keys = (word_keys if view.unit == "word" else byte_keys)(words, view, common, size)
        for key in keys:
            key = (key ^ ((number + 1) * VIEW_FACTOR & MASK)) * GOLDEN & MASK
            key = (key ^ key >> 32) * GOLDEN & MASK
            found[key >> (64 - bits)] += 1
    return found
