"""Taming the outliers that make eight bits coarse, without giving any of them up.

A few channels of a trained encoder are many times larger than all others, often for the ``[CLS]`` token alone, and one
scale for all channels leaves the rest a handful of steps. Two remedies, each exact or nearly so in real numbers, each
almost free at run time (1.01 of the time without, within noise). On a MiniLM-L6 fine-tuned on Reuters C50, INT8 then
gives 99.36 % of the 2,500 unseen documents the author that float32 gives them, instead of 98.68 %, and the mean
difference of their scores falls from 0.084 to 0.035.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from authorid.export.emitter import Range, activation_scale, quantize_columns
from authorid.export.weights import Dense, EncoderWeights, Floats, LayerWeights

__all__ = ["divide_values", "smooth", "split_outliers"]

Counts = npt.NDArray[np.int64]

_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_WORTH = 0.9
"""A divisor costs a node: it must bring the error below this share of what it is without."""

_LEAST_CAP = 3.0
"""GELU is zero to within 0.004 below minus this; a smaller cap would make `split_outliers` inexact."""

_ROOM = 96
"""One neuron may be added for so many there are: 16 to MiniLM's 1536."""


def smooth(kernel: Floats, low: Floats, high: Floats, sample: Floats) -> Range:
    """The range of a matmul input, with a divisor for each channel if that makes the quantized product better.

    `kernel` [c, n] is what the input meets, `low` and `high` [c] bound its channels, `sample` [t, c] are some of its
    rows. Candidates are ``high_channel ** a / largest_weight ** (1 - a)`` as in SmoothQuant (Xiao et al., 2022); the
    one whose quantized product is nearest to the real one on the sample is taken.
    """
    exact = sample @ kernel
    size = np.maximum(np.maximum(high, -low), 1e-6)
    weight = np.maximum(np.abs(kernel).max(axis=1), 1e-6)
    best = Range(float(np.min(low)), float(np.max(high)))
    least = _error(kernel, sample, exact, best) * _WORTH
    for exponent in _EXPONENTS:
        divisor = size**exponent / weight ** (1 - exponent)
        divisor = (divisor / np.exp(np.log(divisor).mean())).astype(np.float32)
        candidate = Range(float((low / divisor).min()), float((high / divisor).max()), divisor)
        error = _error(kernel, sample, exact, candidate)
        if error < least:
            best, least = candidate, error
    return best


def _error(kernel: Floats, sample: Floats, exact: Floats, span: Range) -> float:
    """Mean squared error of the quantized product over a sample."""
    divisor = np.ones(len(kernel), np.float32) if span.divisor is None else span.divisor
    scale, zero = activation_scale(span.low, span.high)
    steps = np.clip(np.rint(sample / (divisor * scale)), -float(zero), 255 - float(zero))
    quantized, scales = quantize_columns(kernel * divisor[:, None])
    return float((((steps * scale) @ (quantized * scales) - exact) ** 2).mean())


def divide_values(layer: LayerWeights, divisor: Floats) -> LayerWeights:
    """Divide the channels of what attention gives by `divisor` [channels], at no cost and exactly.

    A channel of it is a mean of that channel of the values, so their weights are divided, and the rows of the weights
    that it meets next are multiplied.
    """
    v, output = layer.v, layer.attention_output
    return replace(
        layer,
        v=Dense(v.kernel / divisor, v.bias / divisor),
        attention_output=Dense(output.kernel * divisor[:, None], output.bias),
    )


def split_outliers(weights: EncoderWeights, highs: Sequence[Floats]) -> tuple[EncoderWeights, list[float]]:
    """Split the GELU neurons that reach far beyond all others; returns the new weights and a cap for each layer.

    `highs` has the largest output [inner width] of every neuron, layer by layer. A neuron that reaches beyond the cap
    c gets copies whose bias is lower by c, 2c, ...; quantization saturates each at c, and because GELU(x) is nearly x
    above and nearly 0 below, min(GELU(x), c) + min(GELU(x - c), c) + ... is nearly GELU(x): off by 0.17 at worst, where
    x is within a few units of a multiple of c. The cap is the lowest that a few more neurons can pay for.
    """
    layers, caps = [], []
    for layer, high in zip(weights.layers, highs, strict=True):
        cap = _cap(high, len(high) // _ROOM)
        layers.append(_split(layer, _copies(high, cap), cap))
        caps.append(cap)
    return replace(weights, layers=tuple(layers)), caps


def _copies(high: Floats, cap: float) -> Counts:
    """How many copies each neuron needs so that together they reach `high`."""
    counts: Counts = np.maximum(np.ceil(high / cap) - 1, 0).astype(np.int64)
    return counts


def _cap(high: Floats, room: int) -> float:
    """The lowest cap for which at most `room` copies are needed, to within a thousandth."""
    top = float(np.max(high))
    if top <= _LEAST_CAP:
        return top
    for cap in np.geomspace(_LEAST_CAP, top, 1 + int(1000 * np.log(top / _LEAST_CAP))):
        if _copies(high, float(cap)).sum() <= room:
            return float(cap)
    return top


def _split(layer: LayerWeights, copies: Counts, cap: float) -> LayerWeights:
    """Append the copies: columns of the inner layer with lowered biases, rows of the output layer."""
    source = np.repeat(np.arange(len(copies)), copies)
    nth = np.concatenate([np.arange(1, count + 1) for count in copies])
    inner, output = layer.ffn_inner, layer.ffn_output
    biases = inner.bias[source] - (nth * cap).astype(np.float32)
    return replace(
        layer,
        ffn_inner=Dense(np.hstack([inner.kernel, inner.kernel[:, source]]), np.concatenate([inner.bias, biases])),
        ffn_output=Dense(np.vstack([output.kernel, output.kernel[source]]), output.bias),
    )
