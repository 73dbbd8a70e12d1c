"""Scales and integers of INT8."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.export.graph.int8 import STRIP, activation_scale, quantize_columns, strips


@pytest.mark.parametrize("rows", [384, 35, 1])
def test_quantized_weights_cannot_saturate_sixteen_bits(rows):
    rng = np.random.default_rng(0)
    kernel = rng.standard_t(3, size=(rows, 50)).astype(np.float32)
    kernel[:, 7] = 0
    quantized, scales = quantize_columns(kernel)
    wide = np.pad(quantized.astype(int), ((0, rows % 2), (0, 0)))
    for sign in (1, -1):  # worst case: inputs of 255 at weights of one sign, 0 elsewhere
        assert (255 * np.maximum(sign * wide, 0)).reshape(-1, 2, 50).sum(axis=1).max() <= np.iinfo(np.int16).max
    assert (np.abs(quantized * scales - kernel) <= scales / 2 * 1.001).all()
    assert not quantized[:, 7].any()
    assert np.abs(quantized).max() > 60  # the available range is used


@pytest.mark.parametrize("low, high", [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)])
def test_zero_is_represented_exactly(low, high):
    scale, zero = activation_scale(low, high)
    assert scale > 0 and 0 <= int(zero) <= 255
    assert (0 - int(zero)) * scale <= min(low, 0) + scale and (255 - int(zero)) * scale >= max(high, 0) - scale


@pytest.mark.parametrize("inner", [1, STRIP - 1, STRIP, 2 * STRIP - 1, 4 * STRIP])
def test_strips_cover_every_neuron_once(inner):
    assert [i for strip in strips(inner) for i in range(inner)[strip]] == list(range(inner))
    assert all(strip.stop - strip.start >= min(inner, STRIP) for strip in strips(inner))
