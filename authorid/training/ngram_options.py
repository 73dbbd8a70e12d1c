"""How an n-gram model is fitted."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from authorid.bundle.manifest import Typography
from authorid.ngrams.features import View
from authorid.training.views import views_for

__all__ = ["NgramOptions"]

MANY_AUTHORS = 250
"""With more authors a model may be larger: it would otherwise have few n-grams, and be wrong more often."""

LEAST_NGRAMS = 1000
"""A model may have so many n-grams, however small it should be."""

FEW_DOCUMENTS = 6
"""Documents an author on average. With fewer, also an n-gram of a single document is worth having."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramOptions:
    """How to fit: the `views`, ``2 ** bits`` buckets in each (8 to 24 bits), `ridge` (strength of the regularization).

    Without `views`, the scripts of the texts decide (`authorid.training.views`). `typography` says whether texts are
    read with folded typography (`authorid.inputs.typography`).

    Long documents are cut into samples of about `sample_words` words; 0: none is cut. By default their length
    depends on the corpus (`authorid.training.samples`).

    N-grams in fewer than `min_documents` training documents are left out, unless there are very few documents. So are
    the rarest of the others when the model would be larger than `megabytes`; for more than `MANY_AUTHORS` it may be
    larger in proportion. `max_size` is the most bytes that a bundle without an encoder takes, whatever the number of
    authors. `weights` is the type in which the linear layer is stored: int8, float16 or float32.
    """

    views: tuple[View, ...] = ()
    typography: Typography = "folded"
    bits: int = 20
    ridge: float = 0.05
    min_documents: int = 3
    megabytes: float = 11.5
    weights: str = "int8"
    sample_words: int | None = None
    max_size: int | None = None

    def __post_init__(self) -> None:
        """Check the numbers of buckets, which memory depends on, and of words; raises `ValueError`."""
        if not 8 <= self.bits <= 24:
            raise ValueError(f"between 8 and 24 bits of buckets, got {self.bits}")
        if self.sample_words is not None and self.sample_words < 0:
            raise ValueError(f"samples of at least 0 words, got {self.sample_words}")

    def with_views(self, texts: Sequence[str]) -> NgramOptions:
        """The options with views; those for `texts` where there are none."""
        return self if self.views else replace(self, views=views_for(texts))

    def most_ngrams(self, authors: int) -> int:
        """How many n-grams a model of `authors` may have."""
        room = self.megabytes * 1e6 * max(1.0, authors / MANY_AUTHORS)
        if self.max_size is not None:
            room = self.max_size - self._size_without_ngrams(authors)
        return max(LEAST_NGRAMS, int(room / self._ngram_size(authors)))

    def least_size(self, authors: int) -> int:
        """The least `max_size` in bytes for a model of `authors`."""
        return self._size_without_ngrams(authors) + LEAST_NGRAMS * self._ngram_size(authors)

    def _ngram_size(self, authors: int) -> int:
        return authors * np.dtype(self.weights).itemsize + 13

    def _size_without_ngrams(self, authors: int) -> int:
        """Bytes of the other files of a bundle, at most: common words, the card, and what is said of each author."""
        return (1 << 16) + 512 * authors

    def required_documents(self, documents: int, authors: int) -> int:
        """How many of the `documents` of `authors` must have an n-gram: `min_documents`, or one when there are few."""
        if documents < FEW_DOCUMENTS * authors:
            return 1
        return min(self.min_documents, max(1, documents // 4))
