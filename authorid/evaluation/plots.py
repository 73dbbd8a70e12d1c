"""Pictures of a training; matplotlib is imported only here and only when asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from authorid.errors import require

__all__ = ["plot_history"]


def plot_history(history: Mapping[str, Sequence[float]], path: Path) -> None:
    """Draw loss and accuracy over the epochs into the PNG (or SVG, PDF) `path`.

    `history` is what Keras' ``fit(...).history`` holds: ``loss``, ``accuracy`` and, where documents were held
    out, ``val_loss`` and ``val_accuracy``, one number per epoch. Raises `MissingExtraError`.
    """
    figures = require("matplotlib.figure", "train")
    figure = figures.Figure(figsize=(9, 3.6), layout="constrained")
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
