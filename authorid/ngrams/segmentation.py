"""Where words begin in scripts that are written without spaces, and which characters are not letters.

The kernels know ASCII, and take every other character for a letter. For texts in other scripts, a separator is put
around each character that is a word of its own: a letter of a script without spaces, or a character that is neither a
letter nor a digit by its Unicode category.
"""

from __future__ import annotations

import unicodedata
from functools import cache

import numpy as np
import numpy.typing as npt

from authorid.ngrams.words import SEPARATOR

__all__ = ["segment"]

_UNSPACED = (
    *((0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x1950, 0x19DF), (0x1A20, 0x1AAF), (0x1B00, 0x1B7F)),
    *((0x2E80, 0x312F), (0x31A0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0xA4CF), (0xA980, 0xA9DF), (0xF900, 0xFAFF)),
    *((0xFF66, 0xFF9F), (0x16F00, 0x18DFF), (0x1AFF0, 0x1B2FF)),
)
"""First and last characters of scripts without spaces: Thai, Lao, Burmese, Khmer and others; kana, Han, Yi, Tangut."""

_HAN_PLANES = 0x20000
"""From here on, characters in use are Han."""

_APART, _LETTER, _ALONE, _MARK = range(4)
"""Kinds of characters: those that the kernels separate themselves, letters and digits of words, words of a single
character, and marks, which belong to the character before them."""


def segment(text: str) -> str:
    """`text` with `SEPARATOR` between words where no character in ASCII separates them.

    Its characters stay the same, but for separators that were there before: they become spaces.
    """
    text = text.replace(SEPARATOR, " ")
    if text.isascii():
        return text
    codes = np.frombuffer(text.encode("utf-32-le", "replace"), dtype="<u4")
    kinds = _kinds().take(np.minimum(codes, _HAN_PLANES))
    alone = kinds == _ALONE
    begins = np.zeros(len(codes), dtype=bool)
    begins[1:] = (alone[1:] | alone[:-1]) & (kinds[1:] != _APART) & (kinds[:-1] != _APART) & (kinds[1:] != _MARK)
    segmented = np.full(len(codes) + np.count_nonzero(begins), ord(SEPARATOR), dtype="<u4")
    segmented[np.arange(len(codes)) + np.cumsum(begins)] = codes
    return segmented.tobytes().decode("utf-32-le")


@cache
def _kinds() -> npt.NDArray[np.uint8]:
    """The kind of each character up to `_HAN_PLANES`, which stands for all from there on."""
    kinds = np.empty(_HAN_PLANES + 1, dtype=np.uint8)
    by_category = {"L": _LETTER, "N": _LETTER, "M": _MARK}
    kinds[:] = [by_category.get(unicodedata.category(chr(code))[0], _ALONE) for code in range(len(kinds))]
    for first, last in _UNSPACED:
        own = kinds[first : last + 1]
        own[own == _LETTER] = _ALONE
    kinds[_HAN_PLANES] = _ALONE
    ascii_kinds = kinds[:128]
    ascii_kinds[ascii_kinds != _LETTER] = _APART
    return kinds
