"""INT8 arithmetic: ranges, scales and zero points of activations, scales and integers of weights.

Activations are unsigned (0 to 255) with one static scale and one zero point for each matmul input. Weights are signed
(-127 to 127) and symmetric, with one scale for each column of a kernel or each row of a table.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError
from authorid.export.encoder_weights import Dense, EncoderWeights, Floats

__all__ = [
    "LAYER_INPUTS",
    "MAX_SUM",
    "RANDOM_INPUT",
    "STRIP",
    "Range",
    "Ranges",
    "Together",
    "activation_names",
    "activation_scale",
    "added_with",
    "check_ranges",
    "column_scales",
    "quantize_activation",
    "quantize_columns",
    "quantize_kernel",
    "quantize_rows",
    "strips",
]

STRIP = 384
"""Neurons of the inner layer that are computed together in INT8: for 512 tokens they take 0.8 MB in float32."""


LAYER_INPUTS = ("input", "attention", "ffn_input", "ffn_inner")
"""The matmul inputs of one layer that INT8 quantizes."""

RANDOM_INPUT = "random_{}/input"
"""The matmul input of the random features of a state."""


@dataclass(frozen=True, slots=True)
class Range:
    """Values that a matmul input takes: `low` to `high`, after division by `divisor` [channels] if there is one.

    Values outside the range saturate. A divisor costs one Mul node, or nothing where an input is quantized strip by
    strip and all channels of a strip have the same divisor. The weights are multiplied by the divisor in turn.
    """

    low: float
    high: float
    divisor: Floats | None = None


Ranges = Mapping[str, Range]
"""Matmul input (a name from `activation_names`) -> its range."""


def activation_names(weights: EncoderWeights) -> list[str]:
    """Names of the matmul inputs that INT8 quantizes: `LAYER_INPUTS` of every layer, then those of random features."""
    names = [f"layer_{index}/{name}" for index in range(len(weights.layers)) for name in LAYER_INPUTS]
    return names + [RANDOM_INPUT.format(number) for number in range(len(weights.head.random))]


def check_ranges(weights: EncoderWeights, ranges: Ranges) -> None:
    """Raise `ExportError` unless every matmul input has a range with finite ends in order."""
    missing = [name for name in activation_names(weights) if name not in ranges]
    if missing:
        raise ExportError(f"INT8 needs a calibrated range for every matmul input; missing: {', '.join(missing)}")
    for name, span in ranges.items():
        if not (np.isfinite(span.low) and np.isfinite(span.high) and span.low <= span.high):
            raise ExportError(f"the calibrated range of {name} is not usable: {span.low} to {span.high}")


def activation_scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point that map [low, high], widened to hold 0, onto 0...255."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def quantize_activation(values: Floats, span: Range) -> tuple[Floats, np.float32]:
    """Quantize `values` [t, channels] of a matmul input: whole steps from zero [t, channels], and the size of a step.

    Steps times their size are the values divided by the divisor of `span`, rounded and saturated.
    """
    divisor = np.ones(values.shape[-1], np.float32) if span.divisor is None else span.divisor
    scale, zero = activation_scale(span.low, span.high)
    steps: Floats = np.clip(np.rint(values / (divisor * scale)), -float(zero), 255 - float(zero))
    return steps, scale


Together = Literal[2, 4]
"""How many u8 x s8 products of a column a kernel adds in 16 bits."""

MAX_SUM = 127
"""Weights of one sign whose products are added in 16 bits add up to this at most (and one more, if two are rounded)."""


def added_with(row: int, together: Together) -> list[int]:
    """The rows of a kernel whose products are added to those of `row` in 16 bits, `row` itself among them.

    CPUs with AVX2 or AVX-512 but without VNNI add the products of rows 2i and 2i + 1 with saturation (vpmaddubsw). Our
    own kernels for AVX2 (``authorid/encoder/_fused_kernels.h``) can add two such sums, those of rows 8i to 8i + 3 to
    those of rows 8i + 4 to 8i + 7, before they go on in 32 bits. That is faster, but all four must fit.
    """
    if together == 2:
        return [row - row % 2, row - row % 2 + 1]
    first = row - row % 8 + row % 4 // 2 * 2
    return [first, first + 1, first + 4, first + 5]


def column_scales(kernel: Floats, together: Together = 2) -> Floats:
    """One scale for each column of `kernel` [k, n], at which no sum of `together` products overflows: [n] float32.

    `MAX_SUM` times 255 fits 16 bits. Steps get a quarter coarser for two products, and three quarters for four.
    """
    padded = np.pad(kernel, ((0, -len(kernel) % 8), (0, 0)))
    groups = sorted({tuple(added_with(row, together)) for row in range(len(padded))})
    up, down = np.zeros(kernel.shape[1], np.float32), np.zeros(kernel.shape[1], np.float32)
    for members in zip(*groups, strict=True):
        rows = padded[list(members)]
        up, down = up + np.maximum(rows, 0), down + np.minimum(rows, 0)
    # Rounding may add half a step to each of the products.
    scales: Floats = (np.maximum(up.max(axis=0), -down.min(axis=0)) / np.float32(MAX_SUM)).astype(np.float32)
    scales[scales == 0] = 1
    return scales


def quantize_columns(kernel: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Quantize symmetrically with one scale for each column (`column_scales`): [k, n] -> [k, n] int8, [n] float32.

    Integer products are then the same on every CPU.
    """
    scales = column_scales(kernel)
    return np.rint(kernel / scales).astype(np.int8), scales


def quantize_kernel(dense: Dense, span: Range) -> tuple[npt.NDArray[np.int8], Floats]:
    """The integers [k, n] and scales [n] of a kernel whose input has the range `span`; its divisor is multiplied in.

    A kernel that has been rounded already (`Dense.scales`) keeps its scales.
    """
    kernel = dense.kernel if span.divisor is None else dense.kernel * span.divisor[:, None]
    if dense.scales is None:
        return quantize_columns(kernel)
    return np.rint(kernel / dense.scales).astype(np.int8), dense.scales


def quantize_rows(table: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Quantize symmetrically with one scale for each row: [v, h] float32 -> [v, h] int8, [v] float32."""
    scales: Floats = (np.abs(table).max(axis=1) / np.float32(127)).astype(np.float32)
    scales[scales == 0] = 1
    return np.rint(table / scales[:, None]).astype(np.int8), scales


def strips(inner: int) -> list[slice]:
    """Slices of `STRIP` neurons that cover an inner layer of `inner` neurons; the last one has the remainder too."""
    bounds = [STRIP * number for number in range(max(1, inner // STRIP))] + [inner]
    return [slice(start, stop) for start, stop in pairwise(bounds)]
