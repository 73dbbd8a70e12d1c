"""All that an evaluation finds beyond the plain measures: how sure, for which lengths, who is confused, who unknown."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.evaluation.metrics import CALIBRATION_BINS, Metrics

__all__ = [
    "EvaluationReport",
    "accuracy_by_length",
    "bootstrap_interval",
    "reliability",
    "risk_coverage",
    "worst_pairs",
]

LENGTHS = (0, 250, 500, 1000, 2000, 3000, 4000, 6000, 10000)
"""Edges of the length classes, in characters; the last one is open."""

Row = dict[str, Any]


@dataclass(frozen=True)
class EvaluationReport:
    """An evaluation: `metrics` at the effort that was asked for, and what else was found.

    `interval` is the accuracy's, by `bootstrap_interval`; `ablation` has a row for every expert and effort that was
    tried; `strangers` says how documents of unknown authors fared, None when there were none.
    """

    metrics: Metrics
    interval: tuple[float, float]
    pairs: list[Row]
    by_length: list[Row]
    reliability: list[Row]
    risk_coverage: list[Row]
    ablation: list[Row]
    strangers: Row | None

    def to_json(self) -> dict[str, Any]:
        """Plain values, ready for `json.dump`: those of the metrics, and the others beside them."""
        return {
            **self.metrics.to_json(),
            "accuracy_interval": list(self.interval),
            "worst_pairs": self.pairs,
            "by_length": self.by_length,
            "reliability": self.reliability,
            "risk_coverage": self.risk_coverage,
            "ablation": self.ablation,
            "strangers": self.strangers,
        }

    def plot(self, directory: Path) -> None:
        """Draw confusion, reliability, risk-coverage and length into PNG files; raises `MissingExtraError`."""
        self.metrics.plot_confusion(directory / "confusion.png")
        figures = require("matplotlib.figure", "train")
        figure = figures.Figure(figsize=(4.5, 4.5), layout="constrained")
        axes = figure.subplots()
        axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
        size = [20 + 180 * row["documents"] / self.metrics.documents for row in self.reliability]
        confidence, right = ([row[name] for row in self.reliability] for name in ("confidence", "accuracy"))
        axes.plot(confidence, right)
        axes.scatter(confidence, right, s=size)
        axes.set(xlabel="probability", ylabel="share that is right", title=f"ECE {self.metrics.ece:.3f}")
        figure.savefig(directory / "reliability.png", dpi=120)
        curves = (
            ("risk_coverage", self.risk_coverage, "coverage", "error", "documents answered"),
            ("length", self.by_length, "characters", "accuracy", "mean length in characters"),
        )
        for name, rows, across, up, label in curves:
            figure = figures.Figure(figsize=(5, 3.6), layout="constrained")
            axes = figure.subplots()
            axes.plot([row[across] for row in rows], [row[up] for row in rows], marker="o", markersize=3)
            axes.set(xlabel=label, ylabel=up)
            axes.grid(alpha=0.3)
            figure.savefig(directory / f"{name}.png", dpi=120)


def bootstrap_interval(right: npt.ArrayLike, seed: int = 0, draws: int = 2000) -> tuple[float, float]:
    """95 % interval of the mean of `right` [documents] under resampling of documents.

    Where all are right, or none, every resample is the same and says nothing of chance: the interval is Wilson's then.
    """
    values = np.asarray(right, dtype=np.float64)
    doubt = 1.96**2 / (len(values) + 1.96**2)
    if values.all():
        return 1.0 - doubt, 1.0
    if not values.any():
        return 0.0, doubt
    # The sum of a resample of zeros and ones is binomial: no need to draw the documents one by one.
    sums = np.random.default_rng(seed).binomial(len(values), values.mean(), draws) / len(values)
    low, high = np.quantile(sums, [0.025, 0.975])
    return float(low), float(high)


def worst_pairs(metrics: Metrics, most: int = 10) -> list[Row]:
    """The commonest confusions: whose documents went to whom, how many and which share of them."""
    wrong = metrics.confusion * (1 - np.eye(len(metrics.confusion), dtype=np.int64))
    rows = []
    for flat in np.argsort(-wrong, axis=None, kind="stable")[:most]:
        true, given = divmod(int(flat), len(wrong))
        count = int(wrong[true, given])
        if count:
            own = metrics.per_author[true]
            share = count / own.support
            other = metrics.per_author[given].author
            rows.append({"author": own.author, "attributed_to": other, "documents": count, "share": share})
    return rows


def accuracy_by_length(lengths: Sequence[int], right: npt.ArrayLike) -> list[Row]:
    """Accuracy in classes of length (characters)."""
    sizes, hits = np.asarray(lengths), np.asarray(right, dtype=np.float64)
    place = np.searchsorted(LENGTHS, sizes, side="right") - 1
    rows = []
    for number, least in enumerate(LENGTHS):
        own = place == number
        if own.any():
            mean = float(sizes[own].mean())
            rows.append(
                {"from": least, "characters": mean, "documents": int(own.sum()), "accuracy": float(hits[own].mean())}
            )
    return rows


def reliability(confidence: npt.ArrayLike, right: npt.ArrayLike) -> list[Row]:
    """Mean probability and share of right answers in bins of equal width, as the ECE counts them."""
    sure, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    place = np.clip(np.ceil(sure * CALIBRATION_BINS).astype(np.int64) - 1, 0, CALIBRATION_BINS - 1)
    return [
        {
            "documents": int(own.sum()),
            "confidence": float(sure[own].mean()),
            "accuracy": float(hits[own].mean()),
        }
        for number in range(CALIBRATION_BINS)
        if (own := place == number).any()
    ]


def risk_coverage(confidence: npt.ArrayLike, right: npt.ArrayLike, points: int = 20) -> list[Row]:
    """Share of wrong answers among the surest documents, for growing shares of them.

    Documents that are equally sure are answered together, so there are fewer than `points` rows where many are.
    """
    sure, hits = np.asarray(confidence, dtype=np.float64), np.asarray(right, dtype=np.float64)
    order = np.argsort(-sure, kind="stable")
    errors = np.cumsum(1 - hits[order]) / np.arange(1, len(order) + 1)
    wanted = np.ceil(np.arange(1, points + 1) / points * len(order)).astype(np.int64)
    steps = np.unique(np.searchsorted(-sure[order], -sure[order[wanted - 1]], side="right"))
    return [
        {"coverage": step / len(order), "error": float(errors[step - 1]), "probability": float(sure[order[step - 1]])}
        for step in steps.tolist()
    ]
