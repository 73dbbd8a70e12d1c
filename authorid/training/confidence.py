"""Fit how certain the n-gram model's answers are, by documents held out of a first fit."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.errors import require
from authorid.scoring.posterior import log_softmax, ngram_evidence

__all__ = [
    "ENOUGH_HELD_OUT",
    "ScoredDocuments",
    "best_factor",
    "document_losses",
    "fit_ngram_confidence",
    "fusion_rule",
    "held_out_losses",
]

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]
ScoredDocuments = tuple[Scores, Labels, Labels]
"""Scores [documents, authors] of documents, their lengths in bytes [documents] and their authors [documents]."""

ENOUGH_HELD_OUT = 200
"""With fewer held-out documents, usual values for an encoder are better than those that are chosen on them."""

HALF_LENGTHS = (50.0, 100.0, 200.0, 300.0, 450.0, 600.0, 900.0, 1200.0)
"""Half-lengths in bytes that are tried. 0 is not among them: it would trust the shortest texts as much as long ones."""

WEIGHTS = (0.02, 20.0)
"""Least and greatest weight of the n-gram scores."""

SPREAD = 1.5
"""The best value on every shifted split of Reuters C50 that was tried."""

FLOOR = 0.05
"""The standard deviation of scores is at least that at this quantile of the held-out documents."""


def fusion_rule(encoder_weight: float = 0.0, **changes: float) -> Decision:
    """Return a decision rule with these numbers."""
    return Decision(rule="fusion", encoder_weight=encoder_weight, spread=SPREAD, **changes)  # type: ignore[arg-type]


def fit_ngram_confidence(whole: ScoredDocuments, short: ScoredDocuments) -> Decision:
    """Return the decision rule whose n-gram weight and half-length maximize the likelihood of held-out documents.

    `whole` are the held-out documents, `short` pieces of them; `short` may be empty.
    """
    scores, sizes, truth = whole
    short_scores, short_sizes, short_truth = short
    best = (np.inf, fusion_rule(least_spread=_least_spread(scores)))
    for half in HALF_LENGTHS:
        plain = replace(best[1], ngram_weight=1.0, half_length=half)
        weight, loss = best_factor(ngram_evidence(scores, sizes, plain), truth, WEIGHTS)
        if len(short_truth):
            loss += mean_loss(ngram_evidence(short_scores, short_sizes, plain) * weight, short_truth)
        if loss < best[0]:
            best = (loss, replace(plain, ngram_weight=weight))
    return best[1]


def _least_spread(scores: Scores) -> float:
    return float(np.quantile(scores.std(axis=1), FLOOR))


def held_out_losses(scores: Scores, truth: Labels) -> Scores:
    """Return the cross-entropy of each held-out document [documents], with the best weight for all of them."""
    plain = fusion_rule(ngram_weight=1.0, least_spread=_least_spread(scores))
    evidence = ngram_evidence(scores, np.ones(len(truth)), plain)
    weight, _ = best_factor(evidence, truth, WEIGHTS)
    return document_losses(evidence * weight, truth)


def best_factor(evidence: Scores, truth: Labels, bounds: tuple[float, float]) -> tuple[float, float]:
    """Return the factor of the `evidence` with the least loss, to within a thousandth, and this loss."""
    optimize = require("scipy.optimize", "fit")

    def loss(log_factor: float) -> float:  # has one minimum
        return mean_loss(evidence * np.exp(log_factor), truth)

    found = optimize.minimize_scalar(loss, bounds=np.log(bounds), method="bounded", options={"xatol": 1e-3})
    return float(np.exp(found.x)), float(found.fun)


def mean_loss(evidence: Scores, truth: Labels) -> float:
    """Return the mean of `document_losses`."""
    return float(document_losses(evidence, truth).mean())


def document_losses(evidence: Scores, truth: Labels) -> Scores:
    """Return the cross-entropies [documents] of the softmax of `evidence` [documents, authors].

    They are smoothed as if one more document were wrong, so that weights stay finite.
    """
    logs = log_softmax(evidence)
    smoothing = 1.0 / (len(truth) + 1)
    return np.asarray(-((1 - smoothing) * logs[np.arange(len(truth)), truth] + smoothing * logs.mean(axis=1)))
