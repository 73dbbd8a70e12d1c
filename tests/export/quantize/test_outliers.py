"""Outliers no longer make the steps of other values coarse, and are not clipped."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from encoders import random_weights, random_windows
from hypothesis import given
from hypothesis import strategies as st

from authorid.export import calibrate, emit
from authorid.export.encoder_weights import Dense
from authorid.export.graph.builder import CPU, OPENVINO
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.graph.int8 import Range, activation_scale, quantize_columns
from authorid.export.quantize import outliers
from authorid.export.quantize.outliers import smooth, split_outliers


def channels(outlier: float):
    """A sample [2000, 64] in which one channel is sometimes as large as `outlier`, and a kernel [64, 32]."""
    rng = np.random.default_rng(0)
    sample = rng.normal(size=(2000, 64)).astype(np.float32)
    sample[::100, 9] = outlier
    return sample, rng.normal(0, 0.1, (64, 32)).astype(np.float32)


def quantized_error(sample, kernel, span):
    divisor = np.ones(len(kernel)) if span.divisor is None else span.divisor
    scale, zero = activation_scale(span.low, span.high)
    steps = np.clip(np.rint(sample / divisor / scale), -float(zero), 255 - float(zero))
    return np.abs(steps * scale * divisor @ kernel - sample @ kernel).mean()


def test_a_channel_much_larger_than_the_others_is_divided():
    sample, kernel = channels(60.0)
    span = smooth(kernel, sample.min(axis=0), sample.max(axis=0), sample)
    assert span.divisor is not None and span.divisor.argmax() == 9
    plain = Range(float(sample.min()), float(sample.max()))
    assert quantized_error(sample, kernel, span) < 0.4 * quantized_error(sample, kernel, plain)
    # Nothing is clipped.
    assert span.high >= (sample / span.divisor).max() and span.low <= (sample / span.divisor).min()


def test_channels_of_equal_size_are_not_divided():
    rng = np.random.default_rng(0)
    sample = rng.uniform(-1, 1, (2000, 64)).astype(np.float32)
    kernel = rng.uniform(-0.1, 0.1, (64, 32)).astype(np.float32)
    span = smooth(kernel, sample.min(axis=0), sample.max(axis=0), sample)
    assert span.divisor is None
    assert (span.low, span.high) == (sample.min(), sample.max())


def one_layer(weights, inner, output):
    """The encoder ``bert-first`` with one layer, whose feed-forward part has the kernels and biases given."""
    layer = weights["bert-first"].layers[0]
    dense = [Dense(kernel.astype(np.float32), bias.astype(np.float32)) for kernel, bias in (inner, output)]
    return replace(weights["bert-first"], layers=(replace(layer, ffn_inner=dense[0], ffn_output=dense[1]),))


def signs(*shape):
    """Weights of 0.1 or -0.1: all have the same size."""
    return 0.1 * np.sign(np.random.default_rng(1).normal(size=shape))


@pytest.fixture
def large_output(weights):
    """An encoder with 384 inner neurons, one of which has outputs of about 40."""
    kernel, bias = np.random.default_rng(0).normal(0, 0.1, (48, 384)), np.zeros(384)
    kernel[:, 5], bias[5] = 0.02, 40.0
    return one_layer(weights, (kernel, bias), (signs(384, 48), np.zeros(48)))


@pytest.mark.train
def test_a_neuron_with_a_much_larger_output_is_split(large_output):
    windows = random_windows([20] * 40)
    found = calibrate(large_output, windows)
    # Two more neurons are allowed: three share the output of one.
    assert found.split_neurons == 2
    assert found.ranges["layer_0/ffn_inner"].high == pytest.approx(40 / 3, rel=0.1)
    assert found.weights.layers[0].ffn_inner.kernel.shape == (48, 386)
    assert found.weights.layers[0].ffn_output.kernel.shape == (386, 48)
    exact = GraphRunner(emit(large_output)).logits(windows)
    split = GraphRunner(emit(found.weights, "int8", found.ranges)).logits(windows)
    assert np.abs(split - exact).mean() < 0.05 * exact.std()


@pytest.fixture
def large_weight(weights):
    """An encoder with 384 inner neurons; the weight of number 5 for channel 7 is fifty times as large as all others."""
    inner, output = np.random.default_rng(0).normal(0, 0.05, (48, 384)), signs(384, 48)
    output[5, 7] = 5.0
    return one_layer(weights, (inner, np.zeros(384)), (output, np.zeros(48)))


@pytest.mark.train
def test_a_neuron_with_a_much_larger_weight_gets_twins(large_weight):
    windows = random_windows([20] * 40)
    found = calibrate(large_weight, windows)
    assert found.split_neurons == 2
    kernel, before = found.weights.layers[0].ffn_output.kernel, large_weight.layers[0].ffn_output.kernel
    lighter, *three = np.sort(kernel[:, 7])[-4:]
    assert lighter < 0.2 and three == pytest.approx([5 / 3] * 3, rel=0.05)
    # The steps of that channel are a third of what they were, and so are its rounding errors.
    assert quantize_columns(kernel)[1][7] < 0.36 * quantize_columns(before)[1][7]
    exact = GraphRunner(emit(large_weight)).logits(windows)
    twins = GraphRunner(emit(found.weights, "int8", found.ranges)).logits(windows)
    assert np.abs(twins - exact).mean() < 0.05 * exact.std()


def test_two_neurons_with_large_weights_are_not_neighbours(weights):
    output = 0.01 * signs(64, 48)
    output[10:12] = 0.1
    chosen = one_layer(weights, (signs(48, 64), np.zeros(64)), (output, np.zeros(48)))
    split, _ = split_outliers(chosen, [np.full(64, 2.5, np.float32)])
    after = split.layers[0].ffn_output.kernel
    assert np.array_equal(np.sort(after, axis=0), np.sort(chosen.layers[0].ffn_output.kernel, axis=0))
    assert (quantize_columns(after)[1] < 0.51 * quantize_columns(chosen.layers[0].ffn_output.kernel)[1]).all()


@given(st.integers(1, 800), st.integers(0, 2**32 - 1), st.floats(1.1, 6))
def test_splitting_neurons_does_not_change_the_sum_of_their_outputs(width, seed, tail):
    rng = np.random.default_rng(seed)
    high, heavy = (rng.pareto(tail, width).astype(np.float32) for _ in range(2))
    kernel = np.sign(rng.normal(size=width)) * heavy
    own = outliers._split(high, heavy)
    assert len(own.source) <= width + 2 * (width // 192)
    sample = (rng.random((50, width)) * high).astype(np.float32)
    split = own.outputs(sample) @ (kernel[own.source] * own.share)
    assert split == pytest.approx(sample @ kernel, rel=1e-3, abs=1e-3 * float((sample @ heavy).mean()))


@pytest.mark.train
def test_neurons_of_equal_size_are_not_split(weights):
    chosen = weights["bert-mean"]
    same, neurons = split_outliers(chosen, [np.full(72, 2.5, np.float32) for _ in chosen.layers])
    assert [own.cap for own in neurons] == [2.5] * len(chosen.layers)
    assert all(
        a.ffn_inner.bias.shape == b.ffn_inner.bias.shape for a, b in zip(same.layers, chosen.layers, strict=True)
    )


@pytest.mark.train
def test_strips_of_neurons_with_smaller_outputs_get_finer_steps():
    weights = random_weights("bert-strips")
    layers = []
    for layer in weights.layers:  # every other neuron has small outputs
        quiet = np.where(np.arange(781) % 2, 1.0, 0.05).astype(np.float32)
        inner = Dense(layer.ffn_inner.kernel * quiet, layer.ffn_inner.bias * quiet)
        layers.append(replace(layer, ffn_inner=inner))
    weights = replace(weights, layers=tuple(layers))
    windows = random_windows([20] * 60)
    found = calibrate(weights, windows)
    span = found.ranges["layer_0/ffn_inner"]
    assert span.divisor is not None and sorted(set(span.divisor.tolist())) == [0.25, 1.0]
    alike = {site: replace(r, low=r.low / 4, divisor=None) if site.endswith("ffn_inner") else r
             for site, r in found.ranges.items()}  # fmt: skip
    exact = GraphRunner(emit(weights)).logits(windows)
    errors = [
        np.abs(GraphRunner(emit(found.weights, "int8", ranges, dialect=dialect)).logits(windows) - exact).mean()
        for dialect in (CPU, OPENVINO)
        for ranges in (found.ranges, alike)
    ]
    assert errors[0] < errors[1] and errors[2] < errors[3]
