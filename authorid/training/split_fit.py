"""An n-gram fit to some texts, and other texts in terms of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.training.ngram_options import NgramOptions
from authorid.training.ridge import DualFit, Similarities, similarities
from authorid.training.samples import LabelledTexts
from authorid.training.term_counts import TermCounts, count, count_more, inverse_frequencies, tfidf

__all__ = ["SplitFit"]

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class SplitFit:
    """A fit to the texts `training` only. Columns of scores are authors; each has a text in `training`.

    Vocabulary, common words and frequencies come from `training` alone, so that the texts `held` are as new to the fit
    as future documents. `matrix` and `products` have the training texts first, then the others.
    """

    training: LabelledTexts
    held: LabelledTexts
    counts: TermCounts
    idf: npt.NDArray[np.float32]
    matrix: Any
    products: Similarities
    ridge: float

    @classmethod
    def on(
        cls, training: LabelledTexts, held: LabelledTexts, options: NgramOptions, counts: TermCounts | None = None
    ) -> SplitFit:
        """Fit to `training`. `counts` are those of both, where they are known."""
        known = np.arange(len(training))
        together = training + held
        if counts is None:
            counts = count(together.texts, together.labels, options, known)
        idf = inverse_frequencies(counts, known)
        matrix = tfidf(counts, idf)
        return cls(training, held, counts, idf, matrix, similarities(matrix, together.labels), options.ridge)

    @property
    def held_indices(self) -> Labels:
        """Where the texts `held` are among all texts."""
        return np.arange(len(self.training), len(self.training) + len(self.held))

    @cached_property
    def _fitted(self) -> DualFit:
        return self.products.solve(np.arange(len(self.training)), self.ridge)

    def held_scores(self) -> Scores:
        """Return the scores [texts, authors] of the texts `held`."""
        return self._fitted.scores(self.products.matrix[len(self.training) :, : len(self.training)])

    def scores_of(self, texts: list[str]) -> Scores:
        """Return the scores [texts, authors] of other `texts`."""
        features = tfidf(count_more(self.counts, texts), self.idf)
        transposed = self.matrix[: len(self.training)].T.tocsr().astype(np.float32)
        return np.asarray(features @ (transposed @ self._fitted.dual.astype(np.float32)) + self._fitted.bias)
