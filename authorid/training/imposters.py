"""Authorship verification: whether one author wrote two groups of texts.

Two texts by anybody have much in common, and how much depends on language, genre and length. So the similarity of a
known and a questioned text is compared with that of each of them to texts by *imposters*, other authors who write the
same kind of text (Koppel and Winter, "Determining if two documents are written by the same author", 2014)::

    z = (cos(known, questioned) - mean(cos(text, imposters))) / deviation(cos(text, imposters))

z is the mean of both sides, as in the s-norm of speaker verification (Kenny, "Bayesian speaker verification with
heavy-tailed priors", 2010). It did better than counting in how many random subsets of n-grams the two are the most
similar (docs/research/accuracy.md). Long texts are cut into samples; z is then the mean over pairs of samples.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.inputs.decoding import tidy
from authorid.inputs.typography import fold_typography
from authorid.training.ngram_options import NgramOptions
from authorid.training.samples import LabelledTexts, SampleLength, cut
from authorid.training.term_counts import count, count_more, inverse_frequencies, tfidf
from authorid.training.views import CHARACTER_VIEWS, PLAIN_BYTES, PLAIN_WORDS, views_for

__all__ = ["LEAST_IMPOSTERS", "VerificationResult", "Verifier", "calibrated", "verify"]

LEAST_IMPOSTERS = 20
"""Samples by imposters that are needed to tell how similar texts by different authors are."""

SAMPLES = SampleLength(4000, 6000)
"""What long texts are cut into; `SLOPE` and `OFFSET` were fitted with it."""

SLOPE, OFFSET = 1.74, 2.78
"""The logistic regression of same author on z, fitted on pairs of articles by 15 authors of Reuters C50train with 20
other authors as imposters (docs/research/accuracy.md)."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VerificationResult:
    """The answer to one question, and the parts behind it.

    Attributes:
        score: The probability, between 0 and 1, that one author wrote both; of two answers that are equally likely
            beforehand.
        z: How many standard deviations the known and the questioned texts are more similar to each other than to the
            texts of imposters.
        known_z: z of each known text alone, in their order.
        similarity: Mean cosine similarity of the known and the questioned texts.
        imposter_similarity: Mean cosine similarity of the questioned text and the imposters' texts.
        known_samples: Samples that the known texts were cut into.
        questioned_samples: Samples that the questioned text was cut into.
        imposters: Samples of imposters.

    """

    score: float
    z: float
    known_z: tuple[float, ...]
    similarity: float
    imposter_similarity: float
    known_samples: int
    questioned_samples: int
    imposters: int


class Verifier:
    """Verifies any number of questioned texts against the same `known` texts and `imposters`.

    Raises `ValueError` when there is no known text, or when the imposters' texts make fewer than `LEAST_IMPOSTERS`
    samples, and `MissingExtraError` without scipy. Imposters' texts that are equal to a known one are left out.
    """

    def __init__(self, known: Sequence[str], imposters: Sequence[str]) -> None:
        for name, texts in (("known", known), ("imposters", imposters)):
            if isinstance(texts, str):
                raise TypeError(f"{name} is a single text: write [{name}]")
        own = [_readable(text) for text in known]
        others = [text for text in map(_readable, imposters) if text not in set(own)]
        if not own:
            raise ValueError("there is no known text")
        self._others = _cut(others).texts
        if len(self._others) < LEAST_IMPOSTERS:
            raise ValueError(
                f"the imposters' texts make {len(self._others)} samples of about {SAMPLES.characters} characters; "
                f"at least {LEAST_IMPOSTERS} are needed"
            )
        labels = np.zeros(len(self._others), dtype=np.int64)
        views = CHARACTER_VIEWS if views_for(self._others) == CHARACTER_VIEWS else (PLAIN_BYTES, PLAIN_WORDS)
        self._counts = count(self._others, labels, NgramOptions(views=views))
        self._idf = inverse_frequencies(self._counts, np.arange(len(labels)))
        self._imposters = _unit(tfidf(self._counts, self._idf))
        samples = _cut(own)
        self._owners = samples.labels
        self._known = self._vectors(samples.texts)
        self._known_to_imposters = _products(self._known, self._imposters)

    def verify(self, questioned: str) -> VerificationResult:
        """Whether the author of the known texts wrote `questioned`. Raises `ValueError` for a text without n-grams."""
        samples = _cut([_readable(questioned)]).texts
        vectors = self._vectors(samples)
        to_imposters = _products(vectors, self._imposters)
        known_to_imposters = self._known_to_imposters
        copies = np.isin(np.array(self._others, dtype=object), samples)
        if copies.any():
            to_imposters, known_to_imposters = to_imposters[:, ~copies], known_to_imposters[:, ~copies]
        similarities = _products(self._known, vectors)
        z = (_relative(similarities, known_to_imposters) + _relative(similarities.T, to_imposters).T) / 2
        each = [float(z[self._owners == owner].mean()) for owner in range(int(self._owners[-1]) + 1)]
        mean = float(z.mean())
        return VerificationResult(
            calibrated(mean),
            mean,
            tuple(each),
            float(similarities.mean()),
            float(to_imposters.mean()),
            len(z),
            len(samples),
            to_imposters.shape[1],
        )

    def _vectors(self, texts: list[str]) -> Any:
        return _unit(tfidf(count_more(self._counts, texts), self._idf))


def verify(known: Sequence[str], questioned: str, imposters: Sequence[str]) -> VerificationResult:
    """Whether one author wrote the `known` texts and the `questioned` text.

    Args:
        known: Texts by one author.
        questioned: A text by that author or by another one.
        imposters: Texts by others: of the same language, genre and time, the more the better, and 50 at least.
            The answer depends on them.

    Raises:
        MissingExtraError: scipy is not installed (extra ``fit``).
        TypeError: `known` or `imposters` is a single text.
        ValueError: There are too few texts, or one has no n-grams.

    """
    return Verifier(known, imposters).verify(questioned)


def calibrated(z: float) -> float:
    """The probability that one author wrote both texts whose similarity is `z`."""
    return 0.5 + 0.5 * math.tanh((SLOPE * z - OFFSET) / 2)


def _readable(text: str) -> str:
    return fold_typography(tidy(text))


def _cut(texts: list[str]) -> LabelledTexts:
    """The samples of `texts`, labelled with the index of their text."""
    return cut(LabelledTexts(texts, np.arange(len(texts)), [""] * len(texts)), SAMPLES)


def _unit(matrix: Any) -> Any:
    """The rows of a sparse `matrix` with length 1. Raises `ValueError` when one is empty."""
    sparse = require("scipy.sparse", "fit")
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    if not lengths.all():
        raise ValueError("a text has no n-gram in common with those of the imposters: it is empty, or too short")
    return (sparse.diags_array(1 / lengths) @ matrix).tocsr()


def _products(rows: Any, columns: Any) -> Floats:
    return np.asarray((rows @ columns.T).toarray(), dtype=np.float64)


def _relative(similarities: Floats, to_imposters: Floats) -> Floats:
    """The `similarities` [texts, others] of texts, relative to those `to_imposters` [texts, imposters]."""
    deviation = np.maximum(to_imposters.std(axis=1, keepdims=True), 1e-9)
    return np.asarray((similarities - to_imposters.mean(axis=1, keepdims=True)) / deviation)
