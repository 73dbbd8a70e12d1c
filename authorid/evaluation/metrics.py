"""Metrics of attribution: accuracy, results per author, calibration, and the detection of unknown authors.

Every function takes plain arrays: true labels and one row of probabilities per document. Only numpy is needed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = [
    "CALIBRATION_BINS",
    "AuthorMetrics",
    "Metrics",
    "auroc",
    "evaluate_predictions",
    "expected_calibration_error",
    "log_loss",
    "top_k_accuracy",
]

CALIBRATION_BINS = 15
"""Number of equally wide bins of probability in the expected calibration error."""

_SMALLEST = 1e-15
"""Probabilities below this count as this in the log-loss, which would be infinite for 0."""

Floats = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AuthorMetrics:
    """Precision, recall and F1 of one author; `support` is the number of documents that they wrote.

    A ratio with denominator 0 (no document, or none attributed to the author) counts as 0, as in scikit-learn.
    """

    author: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """All metrics over a set of documents.

    `macro_f1` is the mean F1 over the authors with at least one document, written or attributed; `confusion`
    int64 [authors, authors] counts documents by true author (row) and attributed author (column); `ece` is the
    expected calibration error over 15 bins of equal width; `log_loss` is in nats. `majority_rate` is the accuracy of
    always answering the author of the most documents.
    """

    documents: int
    accuracy: float
    macro_f1: float
    top_3: float
    top_5: float
    ece: float
    log_loss: float
    majority_rate: float
    per_author: tuple[AuthorMetrics, ...]
    confusion: Labels

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dump`."""
        return {
            "documents": self.documents,
            "accuracy": self.accuracy,
            "macro_f1": self.macro_f1,
            "top_3": self.top_3,
            "top_5": self.top_5,
            "ece": self.ece,
            "log_loss": self.log_loss,
            "majority_rate": self.majority_rate,
            "per_author": [
                {
                    "author": row.author,
                    "precision": row.precision,
                    "recall": row.recall,
                    "f1": row.f1,
                    "support": row.support,
                }
                for row in self.per_author
            ],
            "confusion": self.confusion.tolist(),
        }


def evaluate_predictions(truth: npt.ArrayLike, probabilities: npt.ArrayLike, authors: Sequence[str]) -> Metrics:
    """Return the metrics of predictions for documents with known authors.

    `truth` [n] holds indices into `authors`; the rows of `probabilities` [n, authors] sum to 1. The attributed author
    is the most probable one, or the first of several equally probable. Raises `ValueError` when shapes or values do
    not fit.
    """
    labels, rows = _checked(truth, probabilities, len(authors))
    guesses = rows.argmax(axis=1)
    size = len(authors)
    confusion = np.bincount(labels * size + guesses, minlength=size * size).reshape(size, size)
    right = confusion.diagonal()
    support, given = confusion.sum(axis=1), confusion.sum(axis=0)
    precision = right / np.maximum(given, 1)
    recall = right / np.maximum(support, 1)
    f1 = 2.0 * right / np.maximum(support + given, 1)
    return Metrics(
        documents=len(labels),
        accuracy=float(right.sum() / len(labels)),
        macro_f1=float(f1[(support + given) > 0].mean()),
        top_3=_top_k(labels, rows, 3),
        top_5=_top_k(labels, rows, 5),
        ece=_ece(labels, rows, CALIBRATION_BINS),
        log_loss=_log_loss(labels, rows),
        majority_rate=float(support.max() / len(labels)),
        per_author=tuple(
            AuthorMetrics(author, float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, author in enumerate(authors)
        ),
        confusion=confusion.astype(np.int64),
    )


def top_k_accuracy(truth: npt.ArrayLike, probabilities: npt.ArrayLike, k: int) -> float:
    """Return the share of documents whose author is among the `k` most probable; ties go to the first author."""
    return _top_k(*_checked(truth, probabilities), k)


def expected_calibration_error(
    truth: npt.ArrayLike, probabilities: npt.ArrayLike, bins: int = CALIBRATION_BINS
) -> float:
    """Return the expected calibration error: the mean gap between probability and accuracy.

    The probability is that of the attributed author. The mean is over `bins` bins of equal width, weighted by their
    documents (Guo et al. 2017, "On Calibration of Modern Neural Networks"). 0 is perfect.
    """
    return _ece(*_checked(truth, probabilities), bins)


def log_loss(truth: npt.ArrayLike, probabilities: npt.ArrayLike) -> float:
    """Return the mean negative log-probability of the true author, in nats; probabilities are at least 1e-15."""
    return _log_loss(*_checked(truth, probabilities))


def auroc(known: npt.NDArray[np.floating], unknown: npt.NDArray[np.floating]) -> float:
    """Return the area under the ROC curve: how well a score separates known authors from unknown ones.

    It is the probability that a document of a known author has a higher score than one of an unknown author; ties
    count half. `known` and `unknown` hold the scores of the two kinds of documents.
    """
    scores = np.concatenate([known, unknown])
    _, positions, counts = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[positions]
    wins = float(ranks[: len(known)].sum()) - len(known) * (len(known) + 1) / 2
    return wins / (len(known) * len(unknown))


def _top_k(labels: Labels, rows: Floats, k: int) -> float:
    own = rows[np.arange(len(rows)), labels][:, None]
    earlier = np.arange(rows.shape[1])[None, :] < labels[:, None]
    rank = (rows > own).sum(axis=1) + ((rows == own) & earlier).sum(axis=1)
    return float((rank < k).mean())


def _ece(labels: Labels, rows: Floats, bins: int) -> float:
    confidence = rows.max(axis=1)
    right = (rows.argmax(axis=1) == labels).astype(np.float64)
    chosen = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gaps = np.bincount(chosen, weights=right - confidence, minlength=bins)
    return float(np.abs(gaps).sum() / len(labels))


def _log_loss(labels: Labels, rows: Floats) -> float:
    own = rows[np.arange(len(rows)), labels]
    return float(-np.log(np.clip(own, _SMALLEST, 1.0)).mean())


def _checked(truth: npt.ArrayLike, probabilities: npt.ArrayLike, authors: int | None = None) -> tuple[Labels, Floats]:
    rows = np.asarray(probabilities, dtype=np.float64)
    labels = np.asarray(truth)
    if rows.ndim != 2 or labels.shape != rows.shape[:1]:
        raise ValueError(f"truth {labels.shape} and probabilities {rows.shape} must be [n] and [n, authors]")
    if not len(labels):
        raise ValueError("nothing to evaluate: no documents")
    if authors is not None and rows.shape[1] != authors:
        raise ValueError(f"probabilities for {rows.shape[1]} authors, but {authors} names")
    if not np.issubdtype(labels.dtype, np.integer):
        raise ValueError(f"truth must be whole numbers, got {labels.dtype}")
    if labels.min() < 0 or labels.max() >= rows.shape[1]:
        raise ValueError(f"truth must be in [0, {rows.shape[1]})")
    if not np.isfinite(rows).all() or (rows < 0).any() or np.abs(rows.sum(axis=1) - 1.0).max() > 1e-3:
        raise ValueError("probabilities must be finite, not negative, and sum to 1 in each row")
    return labels.astype(np.int64), rows
