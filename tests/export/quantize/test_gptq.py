"""GPTQ changes the outputs of a layer less than rounding each weight to its nearest step does."""

from __future__ import annotations

import numpy as np

from authorid.export.encoder_weights import Dense
from authorid.export.graph.int8 import Range, quantize_kernel
from authorid.export.quantize.gptq import gptq


def test_outputs_change_less_than_with_nearest_rounding():
    rng = np.random.default_rng(0)
    mixing = rng.normal(size=(16, 64))
    sample = (rng.normal(size=(2000, 16)) @ mixing).astype(np.float32)  # channels depend on each other
    dense = Dense(rng.normal(0, 0.1, (64, 32)).astype(np.float32), np.zeros(32, np.float32))
    span = Range(float(sample.min()), float(sample.max()))
    exact = sample @ dense.kernel
    rounded = gptq(dense, span, sample, exact)
    integers, scales = quantize_kernel(dense, span)
    nearest = np.abs(sample @ (integers * scales) - exact).mean()
    assert np.abs(sample @ rounded.kernel + rounded.bias - exact).mean() < 0.8 * nearest


def test_four_products_fit_sixteen_bits_where_they_are_added():
    rng = np.random.default_rng(2)
    sample = rng.normal(size=(500, 20)).astype(np.float32)
    dense = Dense(rng.normal(size=(20, 7)).astype(np.float32), np.zeros(7, np.float32))
    span = Range(float(sample.min()), float(sample.max()))
    integers, _ = quantize_kernel(gptq(dense, span, sample, sample @ dense.kernel, together=4), span)
    padded = np.pad(integers.astype(int), ((0, 4), (0, 0)))
    for first in (0, 2, 8, 10, 16, 18):
        four = padded[[first, first + 1, first + 4, first + 5]]
        assert (np.maximum(four, 0).sum(axis=0) <= 127).all()
        assert (np.minimum(four, 0).sum(axis=0) >= -127).all()
    assert np.abs(integers).max() > 60


def test_a_rounded_kernel_is_emitted_with_its_own_scales():
    rng = np.random.default_rng(1)
    sample = rng.normal(size=(500, 8)).astype(np.float32)
    divisor = rng.uniform(0.5, 2, 8).astype(np.float32)
    dense = Dense(rng.normal(size=(8, 5)).astype(np.float32), rng.normal(size=5).astype(np.float32))
    span = Range(float((sample / divisor).min()), float((sample / divisor).max()), divisor)
    rounded = gptq(dense, span, sample, sample @ dense.kernel)
    integers, scales = quantize_kernel(rounded, span)
    assert scales is rounded.scales
    np.testing.assert_allclose(integers * scales, rounded.kernel * divisor[:, None], rtol=1e-5)
    for even, odd in zip(integers[0::2].astype(int), integers[1::2].astype(int), strict=True):
        assert (np.maximum(even, 0) + np.maximum(odd, 0) <= 127).all()
        assert (np.minimum(even, 0) + np.minimum(odd, 0) >= -127).all()
