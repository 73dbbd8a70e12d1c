"""Taming the outliers that make eight bits coarse, without giving any of them up.

A few channels of a trained encoder are many times larger than all others, often for the ``[CLS]`` token alone, and one
scale for all channels leaves the rest a handful of steps. The remedies are exact or nearly so in real numbers, and
almost free at run time. What they give: docs/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from authorid.export.emitter import Range, activation_scale, quantize_columns
from authorid.export.weights import Dense, EncoderWeights, Floats, LayerWeights

__all__ = ["Neurons", "by_strip", "divide_values", "smooth", "split_outliers"]

Counts = npt.NDArray[np.int64]

_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_WORTH = 0.9
"""A divisor costs a node: it must bring the error below this share of what it is without."""

_LEAST_CAP = 3.0
"""GELU is zero to within 0.004 below minus this; a smaller cap would make `split_outliers` inexact."""

_ROOM = 96
"""One neuron may be added for so many there are: 16 to MiniLM's 1536."""

_LEAST_SHARE = 0.25
"""The least divisor of a strip of neurons."""


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


@dataclass(frozen=True, slots=True)
class Neurons:
    """What stands for the neurons of an inner layer once outliers are split, in order of their `reach`.

    Each is neuron `source` [n] with its bias lowered by `offset` [n]; its GELU reaches `reach` [n], `cap` at most.
    """

    source: Counts
    offset: Floats
    reach: Floats
    cap: float

    def outputs(self, sample: Floats) -> Floats:
        """What they give [t, n], saturated, where the neurons as they were trained give `sample` [t, inner width]."""
        own: Floats = sample[:, self.source] - self.offset
        # A copy whose turn has not come is off: GELU is nearly 0 there.
        return np.minimum(np.where(self.offset > 0, np.maximum(own, 0), own), self.cap)


def split_outliers(weights: EncoderWeights, highs: Sequence[Floats]) -> tuple[EncoderWeights, list[Neurons]]:
    """Split the GELU neurons that reach far beyond all others, and put those together that reach equally far.

    `highs` has the largest output [inner width] of every neuron, layer by layer. A neuron that reaches beyond the cap
    c gets copies whose bias is lower by c, 2c, ...; quantization saturates each at c, and because GELU(x) is nearly x
    above and nearly 0 below, min(GELU(x), c) + min(GELU(x - c), c) + ... is nearly GELU(x): off by 0.17 at worst, where
    x is within a few units of a multiple of c. The cap is the lowest that a few more neurons can pay for. The order of
    neurons changes nothing in the sum; it lets a strip of them have a scale of its own.
    """
    neurons = [_neurons(high) for high in highs]
    layers = [_rebuilt(layer, own) for layer, own in zip(weights.layers, neurons, strict=True)]
    return replace(weights, layers=tuple(layers)), neurons


def _neurons(high: Floats) -> Neurons:
    cap = _cap(high, len(high) // _ROOM)
    copies = _copies(high, cap)
    all_of_them = np.arange(len(high))
    source = np.concatenate([all_of_them, np.repeat(all_of_them, copies)])
    nth = np.concatenate([0 * all_of_them, *(np.arange(1, count + 1) for count in copies)])
    offset = (nth * cap).astype(np.float32)
    reach = np.clip(high[source] - offset, 0, max(cap, 0.0)).astype(np.float32)
    order = np.argsort(reach, kind="stable")
    return Neurons(source[order], offset[order], reach[order], cap)


def _copies(high: Floats, cap: float) -> Counts:
    """How many copies each neuron needs so that together they reach `high`."""
    if cap <= 0:
        return np.zeros(len(high), dtype=np.int64)
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


def _rebuilt(layer: LayerWeights, neurons: Neurons) -> LayerWeights:
    inner, output = layer.ffn_inner, layer.ffn_output
    return replace(
        layer,
        ffn_inner=Dense(inner.kernel[:, neurons.source], inner.bias[neurons.source] - neurons.offset),
        ffn_output=Dense(output.kernel[neurons.source], output.bias),
    )


def by_strip(neurons: Neurons, strips: Sequence[slice]) -> Floats | None:
    """A divisor [n] for the outputs of the neurons, the same within each of `strips`: its reach as a share of the cap.

    None for a single strip. GELU is down to -0.17 everywhere, which small divisors would blow up; so none is below
    `_LEAST_SHARE`.
    """
    if len(strips) == 1 or neurons.cap <= 0:
        return None
    divisor = np.ones(len(neurons.reach), dtype=np.float32)
    for strip in strips:
        divisor[strip] = max(float(neurons.reach[strip].max()) / neurons.cap, _LEAST_SHARE)
    return divisor
