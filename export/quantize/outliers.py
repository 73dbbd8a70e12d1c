"""Reduce the outliers that make eight bits coarse, without clipping them.

A few channels of a trained encoder are many times larger than all others, often for the ``[CLS]`` token alone. One
scale for all channels then leaves a handful of steps for the rest. The remedies here are exact, or nearly so, in real
numbers, and almost free at run time. Their effect is measured in docs/research/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, LayerWeights
from authorid.export.graph.int8 import Range, quantize_activation, quantize_columns, strips

__all__ = ["SplitNeurons", "divide_values", "smooth", "split_outliers", "strip_divisor"]

Integers = npt.NDArray[np.int64]

_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_MAX_ERROR_RATIO = 0.9
"""A divisor costs a node, so it is used only if it brings the error below this share of the error without it."""

_MIN_CAP = 3.0
"""GELU is zero to within 0.004 below minus this; a smaller cap would make `split_outliers` inexact."""

_NEURONS_PER_COPY = 192
"""One copy for large outputs and one twin for large weights may be added for so many neurons: 8 + 8 for 1536."""

_MAX_WEIGHT_RATIO = 0.8
"""Twins are used only if they bring the largest weight below this share of the largest weight without them."""

_MIN_STRIP_DIVISOR = 0.25
"""The smallest divisor of a strip of neurons."""


def smooth(kernel: Floats, low: Floats, high: Floats, sample: Floats) -> Range:
    """The range of a matmul input, with a divisor for each channel if that makes the quantized product better.

    The input meets `kernel` [c, n]; `low` and `high` [c] bound its channels, `sample` [t, c] are some of its rows. The
    candidates are ``high_channel ** a / largest_weight ** (1 - a)``, as in SmoothQuant (Xiao et al., 2022). The one
    whose quantized product is nearest to the exact product of the sample is taken.
    """
    exact = sample @ kernel
    size = np.maximum(np.maximum(high, -low), 1e-6)
    weight = np.maximum(np.abs(kernel).max(axis=1), 1e-6)
    best = Range(float(np.min(low)), float(np.max(high)))
    least = _error(kernel, sample, exact, best) * _MAX_ERROR_RATIO
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
    steps, scale = quantize_activation(sample, span)
    quantized, scales = quantize_columns(kernel if span.divisor is None else kernel * span.divisor[:, None])
    return float((((steps * scale) @ (quantized * scales) - exact) ** 2).mean())


def divide_values(layer: LayerWeights, divisor: Floats) -> LayerWeights:
    """Divide the channels of the attention output by `divisor` [channels]: exact, and free at run time.

    Each channel of the output is a weighted mean of that channel of the values. So the weights of the values are
    divided, and the rows of the kernel that reads the output are multiplied.
    """
    v, output = layer.v, layer.attention_output
    return replace(
        layer,
        v=Dense(v.kernel / divisor, v.bias / divisor),
        attention_output=Dense(output.kernel * divisor[:, None], output.bias),
    )


@dataclass(frozen=True, slots=True)
class SplitNeurons:
    """The neurons of an inner layer after outliers have been split, strip by strip in order of their largest output.

    Each is a copy of neuron `source` [n] with its bias lowered by `offset` [n]. Its GELU is at most `high` [n], and
    `cap` at most for all of them. Its weight in the next product is `share` [n] of the weight of its source.
    """

    source: Integers
    offset: Floats
    high: Floats
    share: Floats
    cap: float

    def outputs(self, sample: Floats) -> Floats:
        """Their outputs [t, n], saturated, where the trained neurons have the outputs `sample` [t, inner width]."""
        own: Floats = sample[:, self.source] - self.offset
        # A copy whose offset is not reached is off: its GELU is nearly 0.
        return np.minimum(np.where(self.offset > 0, np.maximum(own, 0), own), self.cap)


def split_outliers(weights: EncoderWeights, highs: Sequence[Floats]) -> tuple[EncoderWeights, list[SplitNeurons]]:
    """Split GELU neurons with far larger outputs or weights than all others, and sort neurons by their outputs.

    `highs` has the largest output [inner width] of every neuron, layer by layer.

    *Copies.* A neuron whose output exceeds the cap c gets copies whose bias is lower by c, 2c, ...; quantization
    saturates each at c. GELU(x) is nearly x above zero and nearly 0 below, so min(GELU(x), c) + min(GELU(x - c), c) +
    ... is nearly GELU(x): off by 0.17 at worst, where x is within a few units of a multiple of c. The cap is the
    lowest that the allowed number of copies can reach.

    *Twins.* The largest weights that remain, often those of the copies of one neuron that drives one channel far out,
    would make the steps of that channel's weights coarse. Such a neuron gets twins, and each has a part of the weight.

    *Order.* The order of neurons does not change the sum. Sorted by output, each strip of them can have its own scale;
    within a strip, small weights become neighbours of large ones, which makes steps finer (`quantize_columns`).
    """
    neurons = [
        _split(high, np.abs(layer.ffn_output.kernel).max(axis=1))
        for high, layer in zip(highs, weights.layers, strict=True)
    ]
    layers = [_rebuild(layer, own) for layer, own in zip(weights.layers, neurons, strict=True)]
    return replace(weights, layers=tuple(layers)), neurons


def _split(high: Floats, weight: Floats) -> SplitNeurons:
    """Split one layer's neurons by their largest outputs `high` and their largest `weight` in the next product."""
    budget = len(high) // _NEURONS_PER_COPY
    cap = _lowest_cap(high, budget, _MIN_CAP)
    source, nth = _with_copies(np.arange(len(high)), _copies(high, cap))
    offset = (nth * cap).astype(np.float32)
    own_high = np.clip(high[source] - offset, 0, max(cap, 0.0)).astype(np.float32)
    # The divisor of its strip will make each weight so much smaller, or less.
    scaled = weight[source] * np.maximum(own_high / cap, _MIN_STRIP_DIVISOR) if cap > 0 else weight[source]
    largest = float(scaled.max())
    weight_cap = _lowest_cap(scaled, budget, largest / (1 + budget))
    twins = _copies(scaled, weight_cap if weight_cap < _MAX_WEIGHT_RATIO * largest else largest)
    kept, _ = _with_copies(np.arange(len(source)), twins)
    share = (1 / (1 + twins))[kept].astype(np.float32)
    order = np.argsort(own_high[kept], kind="stable")
    for strip in strips(len(order)):
        order[strip] = _alternate(order[strip], (scaled[kept] * share)[order[strip]])
    kept, share = kept[order], share[order]
    return SplitNeurons(source[kept], offset[kept], own_high[kept], share, cap)


def _with_copies(items: Integers, copies: Integers) -> tuple[Integers, Integers]:
    """The items followed by `copies` of each, and the number of each among its copies; 0 is the item itself."""
    nth = [np.zeros(len(items), np.int64), *(np.arange(1, count + 1) for count in copies)]
    return np.concatenate([items, np.repeat(items, copies)]), np.concatenate(nth)


def _alternate(items: Integers, weight: Floats) -> Integers:
    """The items in an order where the lightest is next to the heaviest, the second lightest to the next, and so on."""
    items, half = items[np.argsort(weight, kind="stable")], len(items) // 2
    mixed = items.copy()
    mixed[0 : 2 * half : 2], mixed[1 : 2 * half : 2] = items[:half], items[len(items) - half :][::-1]
    mixed[2 * half :] = items[half : len(items) - half]
    return mixed


def _copies(high: Floats, cap: float) -> Integers:
    """How many copies each needs so that together they reach `high` and none exceeds `cap`."""
    if cap <= 0:
        return np.zeros(len(high), dtype=np.int64)
    counts: Integers = np.maximum(np.ceil(high / cap) - 1, 0).astype(np.int64)
    return counts


def _lowest_cap(high: Floats, budget: int, least: float) -> float:
    """The lowest cap from `least` on that needs at most `budget` copies, to within a thousandth."""
    top = float(np.max(high))
    if top <= least:
        return top
    for cap in np.geomspace(least, top, 1 + int(1000 * np.log(top / least))):
        if _copies(high, float(cap)).sum() <= budget:
            return float(cap)
    return top


def _rebuild(layer: LayerWeights, neurons: SplitNeurons) -> LayerWeights:
    inner, output = layer.ffn_inner, layer.ffn_output
    return replace(
        layer,
        ffn_inner=Dense(inner.kernel[:, neurons.source], inner.bias[neurons.source] - neurons.offset),
        ffn_output=Dense(output.kernel[neurons.source] * neurons.share[:, None], output.bias),
    )


def strip_divisor(neurons: SplitNeurons) -> Floats | None:
    """A divisor [n] for the outputs of the neurons: for each strip, its largest output as a share of the cap.

    None for a single strip. GELU has a minimum of -0.17, which a small divisor would magnify, so no divisor is below
    `_MIN_STRIP_DIVISOR`.
    """
    cut = strips(len(neurons.high))
    if len(cut) == 1 or neurons.cap <= 0:
        return None
    divisor = np.ones(len(neurons.high), dtype=np.float32)
    for strip in cut:
        divisor[strip] = max(float(neurons.high[strip].max()) / neurons.cap, _MIN_STRIP_DIVISOR)
    return divisor
