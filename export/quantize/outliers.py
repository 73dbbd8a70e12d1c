"""Taming the outliers that make eight bits coarse, without giving any of them up.

A few channels of a trained encoder are many times larger than all others, often for the ``[CLS]`` token alone, and one
scale for all channels leaves the rest a handful of steps. The remedies are exact or nearly so in real numbers, and
almost free at run time. What they give: docs/research/performance.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, LayerWeights
from authorid.export.graph.builder import Range, activation_scale, quantize_columns, strips

__all__ = ["Neurons", "by_strip", "divide_values", "smooth", "split_outliers"]

Counts = npt.NDArray[np.int64]

_EXPONENTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_WORTH = 0.9
"""A divisor costs a node: it must bring the error below this share of what it is without."""

_LEAST_CAP = 3.0
"""GELU is zero to within 0.004 below minus this; a smaller cap would make `split_outliers` inexact."""

_ROOM = 192
"""For so many neurons one may be added to those that reach too far, and one to those that weigh too much: to MiniLM's
1536, 8 and 8."""

_WORTH_TWINS = 0.8
"""Twins must bring the heaviest weight below this share of what it is without."""

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
    """What stands for the neurons of an inner layer once outliers are split, strip by strip in order of their `reach`.

    Each is neuron `source` [n] with its bias lowered by `offset` [n]; its GELU reaches `reach` [n], `cap` at most. It
    takes the share `share` [n] in what the neuron weighs in the next product.
    """

    source: Counts
    offset: Floats
    reach: Floats
    share: Floats
    cap: float

    def outputs(self, sample: Floats) -> Floats:
        """What they give [t, n], saturated, where the neurons as they were trained give `sample` [t, inner width]."""
        own: Floats = sample[:, self.source] - self.offset
        # A copy whose turn has not come is off: GELU is nearly 0 there.
        return np.minimum(np.where(self.offset > 0, np.maximum(own, 0), own), self.cap)


def split_outliers(weights: EncoderWeights, highs: Sequence[Floats]) -> tuple[EncoderWeights, list[Neurons]]:
    """Split GELU neurons that reach, or weigh, far more than all others, and put those together that reach equally far.

    `highs` has the largest output [inner width] of every neuron, layer by layer. A neuron that reaches beyond the cap
    c gets copies whose bias is lower by c, 2c, ...; quantization saturates each at c, and because GELU(x) is nearly x
    above and nearly 0 below, min(GELU(x), c) + min(GELU(x - c), c) + ... is nearly GELU(x): off by 0.17 at worst, where
    x is within a few units of a multiple of c. The cap is the lowest that a few more neurons can pay for.

    What is then heaviest, often the copies of a single neuron that drives one channel far out, would make the steps of
    that channel's weights coarse. So those get twins, and each weighs a part. The order of neurons changes nothing in
    the sum; it lets a strip of them have a scale of its own and, within the strip, the light be neighbours of the
    heavy, which makes steps finer (see `quantize_columns`).
    """
    neurons = [
        _neurons(high, np.abs(layer.ffn_output.kernel).max(axis=1))
        for high, layer in zip(highs, weights.layers, strict=True)
    ]
    layers = [_rebuilt(layer, own) for layer, own in zip(weights.layers, neurons, strict=True)]
    return replace(weights, layers=tuple(layers)), neurons


def _neurons(high: Floats, heavy: Floats) -> Neurons:
    room = len(high) // _ROOM
    cap = _cap(high, room, _LEAST_CAP)
    all_of_them = np.arange(len(high))
    source, nth = _with_copies(all_of_them, _copies(high, cap))
    offset = (nth * cap).astype(np.float32)
    reach = np.clip(high[source] - offset, 0, max(cap, 0.0)).astype(np.float32)
    # As heavy as its strip will make it, or less.
    weight = heavy[source] * np.maximum(reach / cap, _LEAST_SHARE) if cap > 0 else heavy[source]
    heaviest = float(weight.max())
    most = _cap(weight, room, heaviest / (1 + room))
    twins = _copies(weight, most if most < _WORTH_TWINS * heaviest else heaviest)
    kept, _ = _with_copies(np.arange(len(source)), twins)
    share = (1 / (1 + twins))[kept].astype(np.float32)
    order = np.argsort(reach[kept], kind="stable")
    for strip in strips(len(order)):
        order[strip] = _heavy_beside_light(order[strip], (weight[kept] * share)[order[strip]])
    kept, share = kept[order], share[order]
    return Neurons(source[kept], offset[kept], reach[kept], share, cap)


def _with_copies(items: Counts, copies: Counts) -> tuple[Counts, Counts]:
    """The items, behind them `copies` of each, and which copy each is; 0: the item itself."""
    nth = [np.zeros(len(items), np.int64), *(np.arange(1, count + 1) for count in copies)]
    return np.concatenate([items, np.repeat(items, copies)]), np.concatenate(nth)


def _heavy_beside_light(items: Counts, weight: Floats) -> Counts:
    """The items in an order in which the heaviest and the lightest are neighbours, the next two, and so on."""
    items, half = items[np.argsort(weight, kind="stable")], len(items) // 2
    mixed = items.copy()
    mixed[0 : 2 * half : 2], mixed[1 : 2 * half : 2] = items[:half], items[len(items) - half :][::-1]
    mixed[2 * half :] = items[half : len(items) - half]
    return mixed


def _copies(high: Floats, cap: float) -> Counts:
    """How many copies each needs so that together they reach `high`, none more than `cap`."""
    if cap <= 0:
        return np.zeros(len(high), dtype=np.int64)
    counts: Counts = np.maximum(np.ceil(high / cap) - 1, 0).astype(np.int64)
    return counts


def _cap(high: Floats, room: int, least: float) -> float:
    """The lowest cap from `least` on for which at most `room` copies are needed, to within a thousandth."""
    top = float(np.max(high))
    if top <= least:
        return top
    for cap in np.geomspace(least, top, 1 + int(1000 * np.log(top / least))):
        if _copies(high, float(cap)).sum() <= room:
            return float(cap)
    return top


def _rebuilt(layer: LayerWeights, neurons: Neurons) -> LayerWeights:
    inner, output = layer.ffn_inner, layer.ffn_output
    return replace(
        layer,
        ffn_inner=Dense(inner.kernel[:, neurons.source], inner.bias[neurons.source] - neurons.offset),
        ffn_output=Dense(output.kernel[neurons.source] * neurons.share[:, None], output.bias),
    )


def by_strip(neurons: Neurons) -> Floats | None:
    """A divisor [n] for the outputs of the neurons, the same within each strip: its reach as a share of the cap.

    None for a single strip. GELU is down to -0.17 everywhere, which small divisors would blow up; so none is below
    `_LEAST_SHARE`.
    """
    cut = strips(len(neurons.reach))
    if len(cut) == 1 or neurons.cap <= 0:
        return None
    divisor = np.ones(len(neurons.reach), dtype=np.float32)
    for strip in cut:
        divisor[strip] = max(float(neurons.reach[strip].max()) / neurons.cap, _LEAST_SHARE)
    return divisor
