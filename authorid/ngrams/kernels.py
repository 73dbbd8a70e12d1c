"""The inner loops of the n-gram model, with two backends: compiled C (`_kernels.c`) and numpy (`_kernels.py`).

The compiled backend is `active` when the package was built with a C compiler, else numpy is. Both have the same
functions with the same answers to the bit. numpy takes about twice the time, and other Python threads wait for much of
it.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import numpy as np
import numpy.typing as npt

from authorid.ngrams import _kernels
from authorid.ngrams.arrays import CsrMatrix, EncodedTexts, GramTable, Offsets, WordTable

__all__ = ["Kernels", "active", "backend", "compiled"]


class Kernels(Protocol):
    """What a backend does. All of them write into arrays of the caller and check their arguments.

    They raise `ValueError` when an array has the wrong type or length or is not contiguous, or when what it holds is
    out of order or range.
    """

    def count_ngrams(
        self,
        texts: EncodedTexts,
        words: WordTable,
        grams: Sequence[GramTable],
        bits: int,
        bounds: Offsets,
        counts: CsrMatrix,
        /,
    ) -> int:
        """Count how often features occur in `texts`; returns the number of entries.

        An n-gram has one of ``2 ** bits`` buckets, and a bucket has a feature or none (see `GramTable`). The features
        of view v are those from ``bounds[v]`` to ``bounds[v + 1]``; `bounds` is int64 [views + 1]. `counts` receives
        the entries: its `indices` int32 and `data` int64 must be long enough, else `ValueError` is raised; its `indptr`
        is int64 [texts * views + 1].
        """

    def tfidf(
        self,
        counts: CsrMatrix,
        idf: npt.NDArray[np.float32],
        frequencies: npt.NDArray[np.float64],
        weights: npt.NDArray[np.float64],
        kinds: npt.NDArray[np.uint8],
        values: npt.NDArray[np.float32],
        /,
    ) -> None:
        """Fill `values` float32 [entries] with the tf-idf of `counts`, scaled to length ``weights[view]`` in each row.

        `frequencies` float64 [FREQUENCY_KINDS * levels] are tables of the term frequencies of counts, one after the
        other; every count must be less than `levels`. A view uses table ``kinds[view]``; `kinds` is uint8 [views].
        `idf` is float32 [features], `weights` float64 [views].
        """

    def accumulate_scores(
        self,
        weights: npt.NDArray[Any],
        shared: npt.NDArray[np.uint8],
        vectors: CsrMatrix,
        parts: npt.NDArray[np.float64],
        block: int,
        /,
    ) -> None:
        """Add to `parts` the weights of the features in `vectors`, times their values.

        `parts` is float64 [texts, views, 2, authors]. The first of the two parts is for features whose `shared` uint8
        [features] is 0, the second for the others. `weights` [features, authors] are int8 or float32, for at least two
        authors; the data of `vectors` float32. Sums of float32 have at most `block` entries of a text; this also
        bounds the memory that a long text needs.
        """


def _load_compiled() -> Kernels | None:
    try:
        return cast(Kernels, importlib.import_module("authorid.ngrams._kernels_c"))
    except ImportError:
        return None


compiled = _load_compiled()
"""The compiled backend; None when the package was built without a C compiler."""

active: Kernels = compiled or _kernels
"""The backend in use. Tests set it to compare the two."""


def backend() -> Literal["compiled", "numpy"]:
    """The name of the backend in use."""
    return "numpy" if active is _kernels else "compiled"
