"""What the n-grams know of documents they were not fitted on: the encoder is trained on what that leaves to explain.

An encoder trained on its own memorises this month's subjects, and then says what the n-grams say, only worse. One that
is trained beside them, by the cross-entropy of *both* answers together, is paid for the rest alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.inputs.decoding import tidy
from authorid.scoring.attribution import ngram_evidence
from authorid.training.corpus import Corpus
from authorid.training.fusion import confidence
from authorid.training.ngram_fit import (
    DENSE_DOCUMENTS,
    NgramOptions,
    count,
    inverse_frequencies,
    similarities,
    solve_large,
    tfidf,
)
from authorid.training.shift import blocks

__all__ = ["Evidence", "leave_out"]

BLOCKS = 4
"""With so many blocks of time left out in turn, the n-grams are as often right on C50train as on documents to come."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evidence:
    """Log-evidence of the n-grams, up to a constant a row: float32 [training, authors] and [validation, authors]."""

    training: npt.NDArray[np.float32]
    validation: npt.NDArray[np.float32]


def leave_out(
    corpus: Corpus,
    training: Sequence[int],
    validation: Sequence[int],
    options: NgramOptions = NgramOptions(),
    told: Callable[[str], None] = lambda message: None,
) -> Evidence:
    """Evidence for every document from n-grams that were fitted without it.

    Training documents are left out block by block of their authors' time (`authorid.training.shift`); validation
    documents are scored by a fit on all of the training ones, and nothing is learnt from them.
    """
    authors = len(corpus.authors)
    texts = [tidy(document.text) for document in corpus.documents]
    sizes = np.array([len(text.encode("utf-8", "replace")) for text in texts])
    labels = np.array([document.label for document in corpus.documents], dtype=np.int64)
    inside, outside = np.asarray(training, dtype=np.int64), np.asarray(validation, dtype=np.int64)
    counts = count(texts, labels, options, inside)
    fitted = _Fits(tfidf(counts, inverse_frequencies(counts, inside)), labels, authors, options.ridge)
    scores = np.zeros((len(texts), authors))
    paths = [corpus.documents[index].path for index in inside]
    for block in blocks(paths, labels[inside], lambda documents: fitted.near(inside[documents]), BLOCKS):
        others = np.delete(inside, block)
        if len(block) and len(np.unique(labels[others])) > 1:
            scores[inside[block]] = fitted.scores(others, inside[block])
    if len(outside):
        scores[outside] = fitted.scores(inside, outside)
    nothing = np.zeros((0, authors)), labels[:0], labels[:0]
    decision = confidence(scores[inside], sizes[inside], labels[inside], *nothing)
    hits = float((scores[inside].argmax(axis=1) == labels[inside]).mean())
    told(f"the n-grams are right about {hits:.1%} of the training documents when a quarter is left out in turn")
    evidence = ngram_evidence(scores, sizes, decision).astype(np.float32)
    return Evidence(evidence[inside], evidence[outside])


class _Fits:
    """Fits of the n-grams to any subset of the documents; authors that a subset lacks score as in no document."""

    def __init__(self, matrix: Any, labels: Labels, authors: int, ridge: float) -> None:
        self._matrix, self._labels, self._authors, self._ridge = matrix, labels, authors, ridge
        self._products = similarities(matrix, labels) if len(labels) <= DENSE_DOCUMENTS else None

    def near(self, documents: Labels) -> Scores:
        """Inner products of some documents."""
        if self._products is not None:
            return self._products.submatrix(documents)
        rows = self._matrix[documents]
        return np.asarray((rows @ rows.T).toarray())

    def scores(self, inside: Labels, outside: Labels) -> Scores:
        """Scores [outside, authors] by a fit to the documents `inside`."""
        scores = np.full((len(outside), self._authors), -1.0)
        if self._products is not None:
            own, known = self._products.scores(inside, outside, self._ridge)
        else:
            known, labels = np.unique(self._labels[inside], return_inverse=True)
            weights, bias = solve_large(self._matrix[inside], labels, len(known), self._ridge)
            own = self._matrix[outside] @ weights + bias
        scores[:, known] = own
        return scores
