"""Where in a text the n-grams are that a model counts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.ngrams.arrays import EncodedTexts, GramTable, Indices, Offsets, encode_texts
from authorid.ngrams.extraction import Extraction, Units, look_up
from authorid.ngrams.features import FeatureExtractor
from authorid.ngrams.words import SEPARATOR, join_texts, kept_bytes

__all__ = ["Occurrences", "find_occurrences"]


class Occurrences(NamedTuple):
    """The n-grams of one size and view in a text that are features, in order.

    `features` [n] are their features, `starts` and `ends` int64 [n] the characters of the text that each of them
    covers. ``show(i)`` is the i-th n-gram as the view sees it: with masked words.
    """

    view: int
    features: Indices
    starts: Offsets
    ends: Offsets
    show: Callable[[int], str]


def find_occurrences(
    text: str, extractor: FeatureExtractor, grams: Sequence[GramTable], features: int
) -> Iterator[Occurrences]:
    """The occurrences of `features` in `text`, for each of the `grams`."""
    encoded = encode_texts([extractor.prepare(text)])
    table = extractor.word_table
    joined = join_texts(encoded, table.spaces)
    if not len(joined.bytes):
        return
    characters = _characters(encoded, extractor)
    extraction, extent = Extraction(joined, table, extractor.bits), (1 << extractor.bits) + 63 >> 6
    for gram in grams:
        buckets, _ = extraction.buckets(gram)
        found, where = look_up(gram, buckets, extent, features)
        units = extraction.units(gram)
        starts = characters.take(units.starts.take(where))
        ends = characters.take(units.ends.take(where + (gram.size - 1)) - 1) + 1
        yield Occurrences(gram.view, found.astype(np.int32), starts, ends, _shower(units, where, gram.size))


def _shower(units: Units, where: Offsets, size: int) -> Callable[[int], str]:
    return lambda number: units.show(int(where[number]), size)


def _characters(encoded: EncodedTexts, extractor: FeatureExtractor) -> Offsets:
    """Which character of a text each byte belongs to when repeated white space is joined, int64 [bytes].

    Separators that `FeatureExtractor.prepare` added count for the character before them.
    """
    data: npt.NDArray[np.uint8] = np.frombuffer(encoded.data, dtype=np.uint8)
    begins = data & 0xC0 != 0x80
    if extractor.segmented:
        begins &= data != ord(SEPARATOR)
    return (np.cumsum(begins) - 1).take(kept_bytes(encoded, extractor.word_table.spaces))
