"""Coverage: which share of a text's n-grams a model has in its vocabulary.

Nearly all n-grams of prose in the language of the training documents are in the vocabulary, whoever wrote it and about
what. Other languages, source code, tables of numbers and encoded data have far lower coverage.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.ngrams.arrays import Offsets
from authorid.ngrams.features import View

__all__ = ["Coverage", "plain_view"]

_CHANCE = 2.576
"""Standard deviations. Chance alone takes the coverage of one text in 200 further down."""


class Coverage(NamedTuple):
    """How many n-grams of the plain view some texts have: `total` int64 [texts], `known` of them in the vocabulary.

    `overlap` is the number of n-grams that share a byte; neighbours are not independent of each other.
    """

    known: Offsets
    total: Offsets
    overlap: int

    @classmethod
    def of(cls, known: Offsets, lengths: Offsets, view: View) -> Coverage:
        """Coverage by `view` of texts with these `lengths` in bytes, white space joined."""
        total = np.zeros(len(lengths), dtype=np.int64)
        for size in view.sizes:
            total += np.maximum(lengths - size + 1, 0)
        # The n-grams across the edge of two pieces of a long text are in `total`, but are not counted.
        return cls(np.minimum(known, total), total, len(view.sizes) * max(view.sizes))

    @property
    def shares(self) -> npt.NDArray[np.float64]:
        """The coverage, float64 [texts]; NaN for a text that is too short for an n-gram."""
        return np.where(self.total > 0, self.known / np.maximum(self.total, 1), np.nan)

    def below(self, threshold: float) -> npt.NDArray[np.bool_]:
        """Whether the coverage is below `threshold` (0 to 1) by more than chance explains, bool [texts].

        The shorter the text, the more chance explains.
        """
        independent = np.maximum(self.total, 1) / self.overlap
        chance = _CHANCE * np.sqrt(threshold * (1.0 - threshold) / independent)
        return np.asarray((self.total > 0) & (self.known < (threshold - chance) * self.total))


def plain_view(views: Sequence[View]) -> int | None:
    """The index of the first of `views` that has all n-grams of the bytes of a text; None if there is none."""
    plain = (i for i, view in enumerate(views) if view.unit == "byte" and view.keep is None and not view.shared)
    return next(plain, None)
