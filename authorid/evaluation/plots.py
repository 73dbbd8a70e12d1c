"""Plots of a training and of an evaluation, drawn with matplotlib (extra ``plots``), which is imported here only."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from authorid.errors import require
from authorid.evaluation.evaluation_report import EvaluationReport
from authorid.evaluation.metrics import Metrics

__all__ = ["plot_confusion", "plot_evaluation", "plot_history", "require_matplotlib"]


_MAX_LABEL = 40
"""Characters in the label of an author: longer ones leave no room for the matrix."""


def require_matplotlib() -> None:
    """Raise `MissingExtraError` unless matplotlib is installed."""
    require("matplotlib.figure", "plots")


def plot_history(history: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs into the PNG (or SVG, PDF) `path`.

    `history` has the form of Keras' ``fit(...).history``: ``loss``, ``accuracy`` and, if documents were held out,
    ``val_loss`` and ``val_accuracy``, one number per epoch. Raises `MissingExtraError`.
    """
    figure = _figure(9, 3.6)
    for axes, name in zip(figure.subplots(1, 2), ("loss", "accuracy"), strict=True):
        for key, label in ((name, "training"), (f"val_{name}", "validation")):
            values = list(history.get(key, ()))
            if values:
                axes.plot(range(1, len(values) + 1), values, marker="o", label=label)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name)
        if axes.lines:
            axes.legend()
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def plot_evaluation(report: EvaluationReport, directory: Path) -> None:
    """Draw an evaluation report into PNG files in `directory`; raises `MissingExtraError`.

    The files are confusion.png, reliability.png, risk_coverage.png and length.png.
    """
    plot_confusion(report.metrics, directory / "confusion.png")
    _plot_reliability(report, directory / "reliability.png")
    coverage, errors = _columns(report.risk_coverage, "coverage", "error")
    _plot_curve(coverage, errors, ("documents answered", "error"), directory / "risk_coverage.png")
    lengths, accuracies = _columns(report.by_length, "characters", "accuracy")
    _plot_curve(lengths, accuracies, ("mean length in characters", "accuracy"), directory / "length.png")


def plot_confusion(metrics: Metrics, path: Path) -> None:
    """Draw the confusion matrix into `path`, each row as shares of its author; raises `MissingExtraError`."""
    names = [_label(row.author) for row in metrics.per_author]
    side = max(4.0, 0.22 * len(names) + 2.0)
    figure = _figure(side + 1.0, side)
    axes = figure.subplots()
    shares = metrics.confusion / np.maximum(metrics.confusion.sum(axis=1, keepdims=True), 1)
    image = axes.imshow(shares, cmap="viridis", vmin=0.0, vmax=1.0)
    size = 9 if len(names) <= 20 else 6
    plain = {"fontsize": size, "parse_math": False, "usetex": False}  # a name may look like a formula: $$
    axes.set_xticks(range(len(names)), names, rotation=90, **plain)
    axes.set_yticks(range(len(names)), names, **plain)
    axes.set_xlabel("attributed author")
    axes.set_ylabel("true author")
    axes.set_title(f"{metrics.documents} documents, accuracy {metrics.accuracy:.1%}, macro-F1 {metrics.macro_f1:.3f}")
    figure.colorbar(image, ax=axes, label="share of the author's documents", shrink=0.8)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the plot itself shows a box for such a character
        figure.savefig(path, dpi=150)


def _label(author: str) -> str:
    """The name of an author on one line that matplotlib can draw: not too long, and without invisible characters."""
    shown = "".join(character if character.isprintable() else ascii(character)[1:-1] for character in author)
    return shown if len(shown) <= _MAX_LABEL else f"{shown[: _MAX_LABEL - 1]}…"


def _plot_reliability(report: EvaluationReport, path: Path) -> None:
    """Draw accuracy over probability; the area of a point grows with the number of its documents."""
    figure = _figure(4.5, 4.5)
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color="grey", linewidth=1)
    confidence, accuracy = _columns(report.reliability, "confidence", "accuracy")
    areas = [20 + 180 * row["documents"] / report.metrics.documents for row in report.reliability]
    axes.plot(confidence, accuracy)
    axes.scatter(confidence, accuracy, s=areas)
    axes.set(xlabel="probability", ylabel="share of right answers", title=f"ECE {report.metrics.ece:.3f}")
    figure.savefig(path, dpi=120)


def _plot_curve(x: Sequence[float], y: Sequence[float], labels: tuple[str, str], path: Path) -> None:
    figure = _figure(5, 3.6)
    axes = figure.subplots()
    axes.plot(x, y, marker="o", markersize=3)
    axes.set(xlabel=labels[0], ylabel=labels[1])
    axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120)


def _columns(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> tuple[list[float], list[float]]:
    return [row[x] for row in rows], [row[y] for row in rows]


def _figure(width: float, height: float) -> Any:
    """Return an empty matplotlib figure; sizes are in inches."""
    return require("matplotlib.figure", "plots").Figure(figsize=(width, height), layout="constrained")
