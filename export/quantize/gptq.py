"""Round weights so that what they give changes least, not they themselves.

Eight bits that must not saturate sixteen-bit kernels are coarse steps. The inputs of a matmul are far from independent,
so what one row loses by rounding, the rows after it can make good: OPTQ (Frantar et al., "GPTQ: Accurate Post-Training
Quantization for Generative Pre-trained Transformers", 2023). What is then left as a shift of the mean goes into the
bias (Nagel et al., "Data-Free Quantization through Weight Equalization and Bias Correction", 2019).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from authorid.export.encoder_weights import Dense, Floats
from authorid.export.graph.builder import Range, activation_scale, quantize_columns

__all__ = ["round_to_inputs"]

_DAMPING = 0.01
"""Added to the diagonal of the inputs' covariance, as a share of its mean: the sample is small."""

_MOST = 127
"""Two neighbours of one sign add up to this at most (see `quantize_columns`)."""

Doubles = npt.NDArray[np.float64]


def round_to_inputs(dense: Dense, span: Range, sample: Floats, exact: Floats) -> Dense:
    """The layer with its kernel on the grid of eight bits, and `Dense.scales` to say which grid.

    `sample` [t, inputs] are inputs as they come, before the divisor of their range `span`; `exact` [t, outputs] is what
    the layer should give for them, without its bias.
    """
    divisor = np.ones(len(dense.kernel), np.float32) if span.divisor is None else span.divisor
    kernel = (dense.kernel * divisor[:, None]).astype(np.float64)
    # One step of room: making good what others lost may need it.
    scales: Floats = (quantize_columns(kernel.astype(np.float32))[1] * np.float32(_MOST / (_MOST - 1))).astype(
        np.float32
    )
    scale, zero = activation_scale(span.low, span.high)
    steps = np.clip(np.rint(sample / (divisor * scale)), -float(zero), 255 - float(zero))
    inputs = steps.astype(np.float64) * float(scale)
    integers = _rounded(kernel, scales.astype(np.float64), inputs)
    rounded = integers * scales
    shift = (exact - inputs @ rounded).mean(axis=0)
    return Dense((rounded / divisor[:, None]).astype(np.float32), (dense.bias + shift).astype(np.float32), scales)


def _rounded(kernel: Doubles, scales: Doubles, inputs: Doubles) -> Doubles:
    """Whole numbers [k, n] for the `kernel`, row by row, each row making good what those before it lost."""
    covariance = inputs.T @ inputs / len(inputs)
    covariance[np.diag_indices_from(covariance)] += _DAMPING * max(float(np.trace(covariance)) / len(kernel), 1e-12)
    upper = np.linalg.cholesky(np.linalg.inv(covariance)).T
    left, integers = kernel.copy(), np.zeros_like(kernel)
    for row in range(len(kernel)):
        before = integers[row - 1] if row % 2 else np.zeros(kernel.shape[1])
        room = _MOST - np.maximum(before, 0), -_MOST - np.minimum(before, 0)
        integers[row] = np.clip(np.rint(left[row] / scales), room[1], room[0])
        lost = (left[row] - integers[row] * scales) / upper[row, row]
        left[row + 1 :] -= np.outer(upper[row, row + 1 :], lost)
    return integers
