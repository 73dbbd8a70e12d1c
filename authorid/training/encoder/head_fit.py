"""The head of a layer classifier, by ridge regression in closed form, and the choice of what it reads.

Features are divided by their deviation over the training documents. The targets are 1 for the author and -1 for the
others, as for the n-grams (`authorid.training.ridge`). A factor, fitted on held-out documents, turns the scores into
logits.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.reporter import SILENT, Reporter
from authorid.scoring.posterior import log_softmax
from authorid.training.confidence import ENOUGH_HELD_OUT, best_factor
from authorid.training.encoder.layer_classifier import LayerFeatures
from authorid.training.ridge import DENSE_DOCUMENTS, Similarities, one_against_rest

__all__ = ["UNMEASURED", "HeadChoice", "HeadFit", "choose_head", "fit_head"]

RIDGES = (0.03, 0.1, 0.3, 1.0, 3.0)
"""Values that are tried. The inner product of a document with itself is about 1."""

WORTH = 0.01
"""Share of right answers that a slower classifier must have more than a faster one."""

FACTORS = (0.5, 100.0)
"""Least and greatest factor of the scores."""

Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class HeadFit:
    """A linear head: scores are ``features @ kernel + bias``; kernel [features, authors], bias [authors]."""

    kernel: Doubles
    bias: Doubles

    def scores(self, features: Floats) -> Doubles:
        """Scores [documents, authors] of `features` [documents, features]."""
        return np.asarray(features @ self.kernel + self.bias)

    def times(self, factor: float) -> HeadFit:
        """The same head with all scores multiplied by `factor`."""
        return HeadFit(self.kernel * factor, self.bias * factor)


@dataclass(frozen=True, slots=True)
class HeadChoice:
    """What a head reads, its ridge, and the factor of its scores.

    `log_softmax` [held out, authors] are the answers to the held-out documents of a head that was fitted to the others;
    `accuracy` and `log_loss` are about them. `tried` has these two figures of every candidate by its description.
    """

    features: LayerFeatures
    ridge: float
    factor: float
    log_softmax: Doubles
    accuracy: float = float("nan")
    log_loss: float = float("nan")
    tried: Mapping[str, tuple[float, float]] = field(default_factory=dict)


UNMEASURED = (0.3, 8.0)
"""Ridge and factor when nothing is held out."""


def fit_head(features: Floats, labels: Labels, authors: int, ridge: float) -> HeadFit:
    """Fit a head to documents: `features` [documents, features], `labels` [documents], each author at least once."""
    mean = features.mean(axis=0, dtype=np.float64)
    # Inner products are then about 1, whatever the number of features.
    deviation = features.std(axis=0, dtype=np.float64)
    scale = 1 / (np.maximum(deviation, 1e-6 * max(float(deviation.max()), 1e-6)) * np.sqrt(features.shape[1]))
    scaled = (features - mean) * scale
    if len(features) <= DENSE_DOCUMENTS:
        fitted = Similarities(scaled @ scaled.T, labels).solve(np.arange(len(labels)), ridge)
        kernel, bias = scaled.T @ fitted.dual, fitted.bias
    else:
        kernel, bias = _primal(scaled, labels, authors, ridge)
    kernel = kernel * scale[:, None]
    return HeadFit(kernel, bias - mean @ kernel)


def _primal(scaled: Doubles, labels: Labels, authors: int, ridge: float) -> tuple[Doubles, Doubles]:
    """The same among the features, for more documents than `DENSE_DOCUMENTS`, without a normalization of the scores."""
    targets, shares = one_against_rest(labels, authors)
    known = np.hstack([scaled, np.ones((len(scaled), 1))])
    weighted = known / shares[labels][:, None]
    system = weighted.T @ known
    system[np.diag_indices_from(system)] += ridge
    solution = require("scipy.linalg", "fit").solve(system, weighted.T @ targets, assume_a="pos")
    return solution[:-1], solution[-1]


def choose_head(
    candidates: Sequence[tuple[LayerFeatures, Any]],
    features: Floats,
    labels: Labels,
    split: tuple[Labels, Labels],
    reporter: Reporter = SILENT,
) -> HeadChoice:
    """Choose among `candidates`, fastest first, on held-out documents.

    A candidate is what is read, and the columns of `features` [documents, all] that this means. `split` has the indices
    of training and held-out documents; every author has some of the former. Each candidate gets the ridge with the
    least cross-entropy, or the usual one if few documents are held out. The first candidate is chosen whose accuracy is
    less than `WORTH` below the best.
    """
    training, held = split
    authors = int(labels.max()) + 1
    ridges = RIDGES if len(held) >= ENOUGH_HELD_OUT else UNMEASURED[:1]
    found: list[HeadChoice] = []
    for kind, chosen in candidates:
        own = features[:, chosen]
        best: HeadChoice | None = None
        for ridge in ridges:
            scores = fit_head(own[training], labels[training], authors, ridge).scores(own[held])
            factor, loss = best_factor(scores, labels[held], FACTORS)
            if best is None or loss < best.log_loss:
                accuracy = float((scores.argmax(axis=1) == labels[held]).mean())
                best = HeadChoice(kind, ridge, factor, log_softmax(scores * factor), accuracy, loss)
        assert best is not None
        found.append(best)
        reporter.info(f"{describe(kind)}: accuracy {best.accuracy:.4f}, loss {best.log_loss:.4f}, ridge {best.ridge}")
    highest = max(choice.accuracy for choice in found)
    taken = next(choice for choice in found if choice.accuracy > highest - WORTH)
    tried = {describe(choice.features): (choice.accuracy, choice.log_loss) for choice in found}
    reporter.info(f"chosen: {describe(taken.features)}")
    return HeadChoice(
        taken.features, taken.ridge, taken.factor, taken.log_softmax, taken.accuracy, taken.log_loss, tried
    )


def describe(features: LayerFeatures) -> str:
    """`features` in words."""
    layers = f"{features.depth} layer{'s' if features.depth > 1 else ''}"
    return f"{layers}, random features" if features.random else layers
