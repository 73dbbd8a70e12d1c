"""The kernels in numpy: the same functions as in `_kernels.c`, with the same answers to the bit.

`authorid.ngrams.kernels.Kernels` documents them. A change here needs the same change there. Only whole-array operations
are used; no Python code runs for each character or word.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.ngrams.arrays import (
    BYTES,
    CHARACTERS,
    FREQUENCY_KINDS,
    WORDS,
    Bytes,
    CsrMatrix,
    EncodedTexts,
    GramTable,
    Indices,
    Offsets,
    WordTable,
)
from authorid.ngrams.extraction import Extraction, look_up
from authorid.ngrams.words import join_texts, steps

__all__ = ["accumulate_scores", "count_ngrams", "tfidf"]

_INT32_MAX = np.iinfo(np.int32).max


# ---- count_ngrams ----


def count_ngrams(
    texts: EncodedTexts,
    words: WordTable,
    grams: Sequence[GramTable],
    bits: int,
    bounds: Offsets,
    counts: CsrMatrix,
) -> int:
    """See `authorid.ngrams.kernels.Kernels.count_ngrams`."""
    text_count, views = _check_count(texts, words, grams, bits, bounds, counts)
    features, extent = int(bounds[-1]), (1 << bits) + 63 >> 6
    # One key for each feature of each text, so that a single sort puts all of them in order.
    kind = np.dtype(np.int32 if text_count * features <= _INT32_MAX else np.int64)
    shifts = (np.arange(text_count) * features).astype(kind)
    found = [np.zeros(0, dtype=kind)]
    joined = join_texts(texts, words.spaces)
    if len(joined.bytes):
        extraction = Extraction(joined, words, bits)
        for gram in grams:
            buckets, offsets = extraction.buckets(gram)
            own, known = look_up(gram, buckets, extent, features)
            found.append(own.astype(kind) + shifts.repeat(np.diff(offsets))[known])
    keys = np.concatenate(found)
    keys.sort()
    first = np.empty(len(keys), dtype=bool)
    first[:1] = True
    np.not_equal(keys[1:], keys[:-1], out=first[1:])
    firsts = np.flatnonzero(first)
    unique = keys.take(firsts)
    if len(unique) > len(counts.indices):
        raise ValueError(f"more than {len(counts.indices)} entries")
    counts.indptr[:-1] = np.searchsorted(unique, (shifts[:, None] + bounds[:-1].astype(kind)).ravel())
    counts.indptr[-1] = len(unique)
    counts.indices[: len(unique)] = unique - shifts.repeat(np.diff(counts.indptr[::views]))
    counts.data[: len(unique)] = steps(firsts, len(keys))
    return len(unique)


# ---- tfidf ----


def tfidf(
    counts: CsrMatrix,
    idf: npt.NDArray[np.float32],
    frequencies: npt.NDArray[np.float64],
    weights: npt.NDArray[np.float64],
    kinds: npt.NDArray[np.uint8],
    values: npt.NDArray[np.float32],
) -> None:
    """See `authorid.ngrams.kernels.Kernels.tfidf`."""
    _check_tfidf(counts, idf, frequencies, weights, kinds, values)
    sizes = np.diff(counts.indptr)
    texts = len(sizes) // len(weights)
    levels = len(frequencies) // FREQUENCY_KINDS
    worth = frequencies.take(counts.data + (np.tile(kinds, texts) * np.int64(levels)).repeat(sizes))
    worth *= idf.take(counts.indices)
    # bincount adds one after the other, as the compiled loop does.
    squares = np.bincount(np.arange(len(sizes)).repeat(sizes), weights=worth * worth, minlength=len(sizes))
    norms = np.sqrt(squares)
    worth *= (np.tile(weights, texts) / np.where(norms > 0, norms, 1.0)).repeat(sizes)
    values[:] = worth


# ---- accumulate_scores ----


def accumulate_scores(
    weights: npt.NDArray[Any],
    shared: npt.NDArray[np.uint8],
    vectors: CsrMatrix,
    parts: npt.NDArray[np.float64],
    block: int,
) -> None:
    """See `authorid.ngrams.kernels.Kernels.accumulate_scores`."""
    _check_accumulate(weights, shared, vectors, parts, block)
    indices, values, views = vectors.indices, vectors.data, parts.shape[1]
    indptr = vectors.indptr.tolist()
    # The same memory for the weights of every text, or of every block of one: it stays in the cache.
    most = min(block, int(np.diff(vectors.indptr[::views]).max(initial=0)))
    stored = np.empty((most, weights.shape[1]), dtype=weights.dtype)
    floats = np.empty((most, weights.shape[1]), dtype=np.float32)
    is_shared = shared.take(indices) > 0
    for text, part in enumerate(parts):
        own = indptr[text * views : (text + 1) * views + 1]
        for first in range(own[0], own[-1], block):
            last = min(first + block, own[-1])
            weights.take(indices[first:last], axis=0, out=stored[: last - first], mode="clip")
            taken = floats[: last - first]
            np.copyto(taken, stored[: last - first])
            for view, (start, stop) in enumerate(pairwise(own)):
                start, stop = max(start, first), min(stop, last)
                for kind in (False, True) if start < stop else ():
                    chosen = np.flatnonzero(is_shared[start:stop] == kind)
                    # einsum adds in one order on every machine; BLAS and its threads would not.
                    part[view, int(kind)] += np.einsum(
                        "i,ij->j", values[start:stop].take(chosen), taken[start - first :].take(chosen, axis=0)
                    )


# ---- checks: as in C, with the same messages ----


def _check_count(
    texts: EncodedTexts,
    words: WordTable,
    grams: Sequence[GramTable],
    bits: int,
    bounds: Offsets,
    counts: CsrMatrix,
) -> tuple[int, int]:
    """Returns how many texts and how many views there are."""
    for gram in grams:
        if gram.unit not in (BYTES, WORDS, CHARACTERS) or not 1 <= gram.size <= (8 if gram.unit == BYTES else 16):
            raise ValueError("n-grams have 1 to 8 bytes, or 1 to 16 words or characters")
        _check_array("marks", gram.marks, np.uint64)
        _check_array("ranks", gram.ranks, np.uint32, len(gram.marks))
    _check_array("texts.data", texts.data, np.uint8)
    _check_array("texts.offsets", texts.offsets, np.int64)
    if len(texts.data) >= _INT32_MAX:
        raise ValueError("texts of 2 GiB or more")
    _check_indptr("texts.offsets", texts.offsets, len(texts.data))
    for name in ("classes", "shapes", "spaces"):
        _check_array(name, getattr(words, name), np.uint8, 256)
    _check_array("slots", words.slots, np.int32)
    _check_array("hashes", words.hashes, np.uint64)
    slots = len(words.slots)
    if slots == 0 or slots & (slots - 1) or not len(words.hashes) or not 0 <= words.shift < 64:
        raise ValueError("not a table of common words")
    if not 0 < bits < 64:
        raise ValueError("bits must be between 1 and 63")
    _check_array("bounds", bounds, np.int64)
    end = int(bounds[-1]) if len(bounds) > 1 else -1
    if end >= _INT32_MAX:
        raise ValueError("too many features")
    _check_indptr("bounds", bounds, end)
    text_count, views = len(texts.offsets) - 1, len(bounds) - 1
    _check_array("counts.indices", counts.indices, np.int32, writable=True)
    _check_array("counts.data", counts.data, np.int64, len(counts.indices), writable=True)
    _check_array("counts.indptr", counts.indptr, np.int64, text_count * views + 1, writable=True)
    return text_count, views


def _check_tfidf(counts: CsrMatrix, idf: Any, frequencies: Any, weights: Any, kinds: Any, values: Any) -> None:
    _check_array("counts.indices", counts.indices, np.int32)
    entries = len(counts.indices)
    _check_array("counts.data", counts.data, np.int64, entries)
    _check_array("counts.indptr", counts.indptr, np.int64)
    _check_array("idf", idf, np.float32)
    _check_array("frequencies", frequencies, np.float64)
    _check_array("weights", weights, np.float64)
    _check_array("kinds", kinds, np.uint8, len(weights))
    _check_array("values", values, np.float32, entries, writable=True)
    _check_indptr("counts.indptr", counts.indptr, entries)
    if not len(weights) or (len(counts.indptr) - 1) % len(weights):
        raise ValueError("the rows of indptr are not those of whole texts")
    _check_range("counts.indices", counts.indices, len(idf))
    _check_range("kinds", kinds, FREQUENCY_KINDS)
    _check_range("counts.data", counts.data, len(frequencies) // FREQUENCY_KINDS)


def _check_accumulate(weights: Any, shared: Any, vectors: CsrMatrix, parts: Any, block: int) -> None:
    _check_array("weights", weights, np.int8 if weights.itemsize == 1 else np.float32, ndim=2)
    _check_array("shared", shared, np.uint8, len(weights))
    _check_array("vectors.indices", vectors.indices, np.int32)
    entries = len(vectors.indices)
    _check_array("vectors.data", vectors.data, np.float32, entries)
    _check_array("vectors.indptr", vectors.indptr, np.int64)
    _check_array("parts", parts, np.float64, ndim=4, writable=True)
    texts, views, kinds, authors = parts.shape
    fits = views > 0 and kinds == 2 and authors > 1 and authors == weights.shape[1]
    if not fits or len(vectors.indptr) != texts * views + 1:
        raise ValueError("parts must be [texts, views, 2, authors]")
    if block < 1:
        raise ValueError("block must be at least 1")
    _check_indptr("vectors.indptr", vectors.indptr, entries)
    _check_range("vectors.indices", vectors.indices, len(weights))


def _check_array(
    name: str, array: Any, kind: Any, length: int | None = None, *, ndim: int = 1, writable: bool = False
) -> None:
    view = np.frombuffer(array, np.uint8) if isinstance(array, bytes) else array
    wanted = np.dtype(kind)
    if view.dtype != wanted or view.ndim != ndim or not view.flags.c_contiguous or not view.flags.aligned:
        raise ValueError(f"{name} must be a contiguous {ndim}-dimensional array of {wanted}")
    if writable and not view.flags.writeable:
        raise ValueError(f"{name} must be writable")
    if length is not None and len(view) != length:
        raise ValueError(f"{name} must have {length} elements, not {len(view)}")


def _check_indptr(name: str, indptr: Offsets, end: int) -> None:
    """Compares neighbours and never subtracts them: a difference of hostile numbers could overflow."""
    if not len(indptr) or indptr[0] != 0 or indptr[-1] != end or (indptr[1:] < indptr[:-1]).any():
        raise ValueError(f"{name} must begin with 0, never descend, and end with {end}")


def _check_range(name: str, numbers: Indices | Offsets | Bytes, end: int) -> None:
    if len(numbers) and not (numbers.min() >= 0 and numbers.max() < end):
        raise ValueError(f"{name} must be at least 0 and less than {end}")
