"""GPTQ: round weights so that the outputs of a layer change least, not the weights themselves.

Eight bits that must not saturate sums of sixteen bits (`added_with`) are coarse steps. The inputs of a matmul are far
from independent, so later rows of a kernel can compensate for what rounding changed in earlier ones: Frantar et al.,
"GPTQ: Accurate Post-Training Quantization for Generative Pre-trained Transformers", 2023. The shift of the mean that
remains goes into the bias: Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction",
2019.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from authorid.export.encoder_weights import Dense, Floats
from authorid.export.graph.int8 import MAX_SUM, Range, Together, added_with, column_scales, quantize_activation

__all__ = ["gptq"]

_DAMPING = 0.01
"""Share of the mean of the covariance's diagonal that is added to it, because the sample is small."""

_BLOCK = 64
"""Rows after which later ones are compensated for all of them at once: a matrix product instead of a pass for each."""

Doubles = npt.NDArray[np.float64]


def gptq(dense: Dense, span: Range, sample: Floats, exact: Floats, together: Together = 2) -> Dense:
    """Round the kernel of `dense` to eight bits; `Dense.scales` of the result has the scale of each column.

    `sample` [t, inputs] are inputs before they are divided by the divisor of their range `span`; `exact` [t, outputs]
    is what the layer should return for them, without its bias. `together` products of a column are added in 16 bits.
    """
    divisor = np.ones(len(dense.kernel), np.float32) if span.divisor is None else span.divisor
    kernel = (dense.kernel * divisor[:, None]).astype(np.float64)
    # One step of headroom: compensation may need it.
    scales: Floats = (column_scales(kernel.astype(np.float32), together) * np.float32(MAX_SUM / (MAX_SUM - 1))).astype(
        np.float32
    )
    steps, scale = quantize_activation(sample, span)
    inputs = steps.astype(np.float64) * float(scale)
    integers = _round_rows(kernel, scales.astype(np.float64), inputs, together)
    rounded = integers * scales
    shift = (exact - inputs @ rounded).mean(axis=0)
    return Dense((rounded / divisor[:, None]).astype(np.float32), (dense.bias + shift).astype(np.float32), scales)


def _round_rows(kernel: Doubles, scales: Doubles, inputs: Doubles, together: Together) -> Doubles:
    """Integers [k, n] for the `kernel`, row by row; each row compensates for the rounding of those before it."""
    covariance = inputs.T @ inputs / len(inputs)
    covariance[np.diag_indices_from(covariance)] += _DAMPING * max(float(np.trace(covariance)) / len(kernel), 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(covariance)).T
    remaining, integers = kernel.copy(), np.zeros_like(kernel)
    for first in range(0, len(kernel), _BLOCK):
        block = slice(first, min(first + _BLOCK, len(kernel)))
        own, errors = remaining[block], np.empty((block.stop - first, kernel.shape[1]))
        for row in range(first, block.stop):
            before = integers[[other for other in added_with(row, together) if other < row]]
            highest, lowest = MAX_SUM - np.maximum(before, 0).sum(axis=0), -MAX_SUM - np.minimum(before, 0).sum(axis=0)
            place = row - first
            integers[row] = np.clip(np.rint(own[place] / scales), lowest, highest)
            errors[place] = (own[place] - integers[row] * scales) / upper[row, row]
            own[place + 1 :] -= np.outer(upper[row, row + 1 : block.stop], errors[place])
        remaining[block.stop :] -= upper[block, block.stop :].T @ errors
    return integers
