"""Groups of arrays that the kernels read and write. They are tuples, so that `_kernels.c` can unpack them."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

__all__ = [
    "BYTES",
    "CHARACTERS",
    "FREQUENCY_KINDS",
    "WORDS",
    "Bytes",
    "CountedTexts",
    "CsrMatrix",
    "EncodedTexts",
    "GramTable",
    "Indices",
    "Keys",
    "Offsets",
    "WordTable",
    "encode_texts",
]

BYTES, WORDS, CHARACTERS = range(3)
"""What the n-grams of a `GramTable` are made of."""

FREQUENCY_KINDS = 3
"""How many ways there are to turn a count into a term frequency: see `Kernels.tfidf`."""

Bytes = npt.NDArray[np.uint8]
Keys = npt.NDArray[np.uint64]
Indices = npt.NDArray[np.int32]
Offsets = npt.NDArray[np.int64]


class CsrMatrix(NamedTuple):
    """A sparse matrix with one row for each view of each text: row ``text * views + view``.

    `indices` int32 [entries] are the features that occur, ascending within a text. `data` [entries] are their values:
    counts int64, or tf-idf float32. The entries of row r are those from ``indptr[r]`` to ``indptr[r + 1]``; `indptr` is
    int64 [texts * views + 1].
    """

    indices: Indices
    data: npt.NDArray[Any]
    indptr: Offsets


class CountedTexts(NamedTuple):
    """What a group of texts contains: `counts` int64 of features, and the `lengths` int64 [texts] of the texts.

    Lengths are in bytes of UTF-8, with one byte for several characters of white space in a row.
    """

    counts: CsrMatrix
    lengths: Offsets


class EncodedTexts(NamedTuple):
    """UTF-8 bytes of several texts, one after the other; `offsets` int64 [texts + 1] says where each text begins."""

    data: bytes
    offsets: Offsets


class WordTable(NamedTuple):
    """What bytes are, and which words are common.

    `classes`, `shapes` and `spaces` [256] give for each byte its class (0: not part of a word), what masks it, and
    whether it is white space. `slots` int32 [power of two] is a hash table with open addressing: the search for a hash
    begins at slot ``hash >> shift``; a slot holds the rank of a common word, or the number of common words when it is
    empty. `hashes` uint64 [common words + 1] has the hash of each rank, and one unused element at the end.
    """

    classes: bytes
    shapes: bytes
    spaces: bytes
    slots: Indices
    hashes: Keys
    shift: int


class GramTable(NamedTuple):
    """The features of one n-gram size in one view.

    `view` is the view's number; `unit` is `BYTES`, `WORDS` or `CHARACTERS`. Words whose rank is `keep` or higher are
    masked (-1: none are), to a single character each when `one` is set. `size` is the units in an n-gram.

    The features of a view are in the order of their buckets, and begin with feature `first`. Bit ``bucket & 63`` of
    ``marks[bucket >> 6]`` says whether a bucket has a feature, ``ranks[bucket >> 6]`` how many features of the view
    have a lower bucket than ``bucket & ~63``. This takes a twentieth of the memory of a table of features.
    """

    view: int
    unit: int
    keep: int
    one: bool
    size: int
    marks: Keys
    ranks: npt.NDArray[np.uint32]
    first: int


def encode_texts(texts: list[str]) -> EncodedTexts:
    """The UTF-8 bytes of `texts`; lone surrogates become question marks."""
    encoded = [text.encode("utf-8", "replace") for text in texts]
    return EncodedTexts(b"".join(encoded), np.cumsum([0, *map(len, encoded)]))
