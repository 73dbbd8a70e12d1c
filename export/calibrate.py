"""Two calibrations: static ranges for INT8 activations, and a temperature for probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.attribution import log_softmax
from authorid.export.emitter import Range, Ranges, emit, sites
from authorid.export.outliers import smooth, split_outliers
from authorid.export.scoring import GraphRunner, Ids, batched
from authorid.export.weights import EncoderWeights, Floats

__all__ = ["Calibration", "calibrate", "fit_temperature"]


@dataclass(frozen=True, slots=True)
class Calibration:
    """What INT8 needs to know: `weights` to quantize and `ranges` of their matmul inputs.

    The weights are the trained ones, but for outlier neurons that were split (`split_outliers`): emit these, not the
    trained ones, with these ranges. `windows` and `tokens` count what was looked at.
    """

    weights: EncoderWeights
    ranges: Ranges
    windows: int
    tokens: int
    split: int
    method: str = "min-max, smoothed, outliers split"

    def to_json(self) -> dict[str, Any]:
        """What provenance records; the ranges themselves are in the graph."""
        smoothed = sum(span.divisor is not None for span in self.ranges.values())
        return {
            "method": self.method,
            "windows": self.windows,
            "tokens": self.tokens,
            "smoothed_inputs": smoothed,
            "split_neurons": self.split,
        }


def calibrate(weights: EncoderWeights, windows: Sequence[Ids], seed: int = 0) -> Calibration:
    """Run the float32 graph over `windows` (int32 [s] each) and find the range of every matmul input.

    Ranges are from the smallest to the largest value seen, never clipped: an encoder's outliers carry meaning. They
    are tamed instead, where they are and as cheaply as can be: outputs of layer normalisations by dividing channels
    (`smooth`), outputs of GELU by splitting neurons (`split_outliers`).
    """
    if not windows:
        raise ValueError("no windows to calibrate on")
    seen = _observe(weights, windows, np.random.default_rng(seed))
    split, caps = split_outliers(weights, [seen[f"layer_{i}/ffn_inner"].high for i in range(len(weights.layers))])
    ranges = {site: Range(float(np.min(values.low)), float(np.max(values.high))) for site, values in seen.items()}
    for index, (layer, cap) in enumerate(zip(weights.layers, caps, strict=True)):
        name = f"layer_{index}"
        ranges[f"{name}/ffn_inner"] = Range(ranges[f"{name}/ffn_inner"].low, cap)
        attention = np.hstack([layer.q.kernel, layer.k.kernel, layer.v.kernel])
        for site, kernel in ((f"{name}/input", attention), (f"{name}/ffn_input", layer.ffn_inner.kernel)):
            ranges[site] = smooth(kernel, seen[site].low, seen[site].high, seen[site].sample)
    before, after = (sum(len(layer.ffn_inner.bias) for layer in w.layers) for w in (weights, split))
    return Calibration(split, ranges, len(windows), sum(len(ids) for ids in windows), after - before)


@dataclass(slots=True)
class _Seen:
    """Smallest and largest value of each channel [c], and a sample of rows [n, c]."""

    low: Floats
    high: Floats
    sample: Floats


_SAMPLE = 1024
"""Tokens in a sample, about."""


def _observe(weights: EncoderWeights, windows: Sequence[Ids], rng: np.random.Generator) -> dict[str, _Seen]:
    runner = GraphRunner(emit(weights, "fp32", observe=True))
    groups = list(batched(windows))
    quota = -(-_SAMPLE // len(groups))
    seen: dict[str, _Seen] = {}
    for rows in groups:
        outputs = runner.run(np.stack([windows[i] for i in rows]))
        for site in sites(weights):
            values = outputs[site].reshape(-1, outputs[site].shape[-1])
            kept = rng.permutation(len(values))[:quota]
            part = _Seen(values.min(axis=0), values.max(axis=0), values[kept])
            if site in seen:
                past = seen[site]
                part.low, part.high = np.minimum(past.low, part.low), np.maximum(past.high, part.high)
                part.sample = np.concatenate([past.sample, part.sample])
            seen[site] = part
    return seen


def fit_temperature(
    scores: npt.NDArray[np.float64], labels: npt.NDArray[np.int64], low: float = 0.02, high: float = 20.0
) -> float:
    """The temperature that minimises the negative log-likelihood of documents whose authors are known.

    `scores` [documents, authors] are mean log-softmaxes, `labels` [documents] the true authors. Golden-section
    search over the logarithm of the temperature; the loss has one minimum. Guo et al., "On Calibration of Modern
    Neural Networks", 2017. The targets are smoothed by 1 / (documents + 2), as in Platt's "Probabilistic Outputs for
    Support Vector Machines", 1999: without that, a handful of documents that are all answered rightly would ask for
    a temperature of zero.
    """
    documents, authors = scores.shape
    doubt = 1 / (documents + 2)
    targets = np.full((documents, authors), doubt / (authors - 1))
    targets[np.arange(documents), labels] = 1 - doubt

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
