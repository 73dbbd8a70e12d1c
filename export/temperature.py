"""Temperature: the one number that turns mean log-softmaxes into calibrated probabilities."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from authorid.scoring.posterior import log_softmax

__all__ = ["fit_temperature"]


def fit_temperature(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], low: float = 0.02, high: float = 20.0
) -> float:
    """The temperature that minimises the negative log-likelihood of documents whose authors are known.

    `scores` [documents, authors] are mean log-softmaxes, `labels` [documents] the true authors. The method is from Guo
    et al., "On Calibration of Modern Neural Networks", 2017; the search is by golden sections over the logarithm of the
    temperature, because the loss has one minimum. The targets are smoothed by 1 / (documents + 2), as in Platt's
    "Probabilistic Outputs for Support Vector Machines", 1999: otherwise a few documents that are all right would give a
    temperature of zero.
    """
    documents, authors = scores.shape
    smoothing = 1 / (documents + 2)
    targets = np.full((documents, authors), smoothing / (authors - 1))
    targets[np.arange(documents), labels] = 1 - smoothing

    def loss(log_temperature: float) -> float:
        return float(-(targets * log_softmax(scores / np.exp(log_temperature))).sum(axis=1).mean())

    a, b = float(np.log(low)), float(np.log(high))
    ratio = (5**0.5 - 1) / 2
    c, d = b - ratio * (b - a), a + ratio * (b - a)
    loss_c, loss_d = loss(c), loss(d)
    while b - a > 1e-4:
        if loss_c <= loss_d:
            b, d, loss_d = d, c, loss_c
            c = b - ratio * (b - a)
            loss_c = loss(c)
        else:
            a, c, loss_c = c, d, loss_d
            d = a + ratio * (b - a)
            loss_d = loss(d)
    return float(np.exp((a + b) / 2))
