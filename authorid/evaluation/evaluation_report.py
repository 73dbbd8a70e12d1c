"""The evaluation report: metrics with a confidence interval, and tables of where a model is right and wrong."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.evaluation.metrics import CALIBRATION_BINS, Metrics, evaluate_predictions

__all__ = [
    "EvaluationReport",
    "accuracy_by_length",
    "bootstrap_interval",
    "make_report",
    "reliability",
    "risk_coverage",
    "worst_pairs",
]

LENGTHS = (0, 250, 500, 1000, 2000, 3000, 4000, 6000, 10000)
"""Lower bounds of the length classes, in characters; the last class is open."""

Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationReport:
    """The result of an evaluation: `metrics` at the effort that was chosen, and tables beside them.

    `interval` is the 95 % interval of the accuracy (`bootstrap_interval`). `ablation` has one row for each combination
    of models and effort that was evaluated. `unknown_authors` describes documents of authors outside the model; it is
    None when there were none. The other tables are described at the functions of their names. `noun` is what the
    classes of the model are: ``author`` or ``label``.
    """

    metrics: Metrics
    interval: tuple[float, float]
    pairs: list[Row]
    by_length: list[Row]
    reliability: list[Row]
    risk_coverage: list[Row]
    ablation: list[Row]
    unknown_authors: Row | None
    noun: str = "author"

    def to_json(self) -> dict[str, Any]:
        """Return plain values, ready for `json.dump`: those of the metrics, and the tables beside them."""
        return {
            **self.metrics.to_json(),
            "accuracy_interval": list(self.interval),
            "worst_pairs": self.pairs,
            "by_length": self.by_length,
            "reliability": self.reliability,
            "risk_coverage": self.risk_coverage,
            "ablation": self.ablation,
            "unknown_authors": self.unknown_authors,
        }


def make_report(
    truth: npt.NDArray[np.int64],
    probabilities: npt.NDArray[np.float64],
    authors: Sequence[str],
    lengths: Sequence[int],
    ablation: list[Row],
    unknown_authors: Row | None = None,
) -> EvaluationReport:
    """Return the report on predictions for documents with known authors.

    `truth` [documents] holds indices into `authors`, `probabilities` is [documents, authors], `lengths` [documents]
    are in characters. Raises `ValueError` when shapes or values do not fit.
    """
    metrics = evaluate_predictions(truth, probabilities, authors)
    right = probabilities.argmax(axis=1) == truth
    confidence = probabilities.max(axis=1)
    return EvaluationReport(
        metrics=metrics,
        interval=bootstrap_interval(right),
        pairs=worst_pairs(metrics),
        by_length=accuracy_by_length(lengths, right),
        reliability=reliability(confidence, right),
        risk_coverage=risk_coverage(confidence, right),
        ablation=ablation,
        unknown_authors=unknown_authors,
    )


def bootstrap_interval(right: npt.ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """Return the 95 % bootstrap interval of the accuracy; `right` [documents] is 1 where the answer is right, else 0.

    Documents are resampled. If all answers are right, or all wrong, every resample is the same; the Wilson interval
    is returned then.
    """
    hits = np.asarray(right, dtype=np.float64)
    wilson = 1.96**2 / (len(hits) + 1.96**2)
    if hits.all():
        return 1.0 - wilson, 1.0
    if not hits.any():
        return 0.0, wilson
    # The sum of a resample of zeros and ones is binomial: no need to draw the documents one by one.
    sums = np.random.default_rng(seed).binomial(len(hits), hits.mean(), draws) / len(hits)
    low, high = np.quantile(sums, [0.025, 0.975])
    return float(low), float(high)


def worst_pairs(metrics: Metrics, most: int = 10) -> list[Row]:
    """Return the most frequent confusions: true author, attributed author, number and share of the documents."""
    wrong = metrics.confusion * (1 - np.eye(len(metrics.confusion), dtype=np.int64))
    rows = []
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        true, attributed = divmod(int(flat), len(wrong))
        count = int(wrong[true, attributed])
        if count:
            rows.append(
                {
                    "author": metrics.per_author[true].author,
                    "attributed_to": metrics.per_author[attributed].author,
                    "documents": count,
                    "share": count / metrics.per_author[true].support,
                }
            )
    return rows


def accuracy_by_length(lengths: Sequence[int], right: npt.ArrayLike) -> list[Row]:
    """Return the accuracy for each class of length, in characters; classes without documents have no row."""
    sizes, hits = np.asarray(lengths), np.asarray(right, dtype=np.float64)
    classes = np.searchsorted(LENGTHS, sizes, side="right") - 1
    rows = []
    for number, least in enumerate(LENGTHS):
        chosen = classes == number
        if chosen.any():
            rows.append(
                {
                    "from": least,
                    "characters": float(sizes[chosen].mean()),
                    "documents": int(chosen.sum()),
                    "accuracy": float(hits[chosen].mean()),
                }
            )
    return rows


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike) -> list[Row]:
    """Return mean probability and accuracy in bins of equal width: those of the expected calibration error."""
    values, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    bins = np.clip(np.ceil(values * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return [
        {
            "documents": int(chosen.sum()),
            "confidence": float(values[chosen].mean()),
            "accuracy": float(hits[chosen].mean()),
        }
        for number in range(CALIBRATION_BINS)
        if (chosen := bins == number).any()
    ]


def risk_coverage(confidence: npt.ArrayLike, right: npt.ArrayLike, points: int = 20) -> list[Row]:
    """Return the share of wrong answers among the most confident documents, for growing shares of them.

    Documents with the same confidence are answered together, so ties can leave fewer than `points` rows.
    """
    values, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(-values, kind="stable")
    errors = np.cumsum(1 - hits[order]) / np.arange(1, len(order) + 1)
    wanted = np.ceil(np.arange(1, points + 1) / points * len(order)).astype(np.int64)
    steps = np.unique(np.searchsorted(-values[order], -values[order[wanted - 1]], side="right"))
    return [
        {
            "coverage": step / len(order),
            "error": float(errors[step - 1]),
            "probability": float(values[order[step - 1]]),
        }
        for step in steps.tolist()
    ]
