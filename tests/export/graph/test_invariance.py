"""The logits of a window are the same to the last bit in any batch and with any number of threads."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import POSITIONS, SHAPES, VOCABULARY
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def runners(weights):
    """(name, precision) -> the graph on one thread and on two."""
    from authorid.export import calibrate, emit
    from authorid.export.graph.graph_runner import GraphRunner

    rng = np.random.default_rng(0)
    windows = [rng.integers(0, VOCABULARY, 30, dtype=np.int32) for _ in range(20)]
    made = {}
    for name in SHAPES:
        found = calibrate(weights[name], windows)
        for precision in ("fp32", "int8"):
            graph = emit(found.weights, precision, found.ranges)
            made[name, precision] = [GraphRunner(graph, threads) for threads in (1, 2)]
    return made


@pytest.mark.parametrize("precision", ["fp32", "int8"])
@pytest.mark.parametrize("name", SHAPES)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(length=st.integers(3, POSITIONS), batch=st.sampled_from([2, 3, 7, 16, 32, 33]), seed=st.integers(0, 2**32 - 1))
def test_a_window_has_the_same_logits_in_any_batch(name, precision, runners, length, batch, seed):
    single, double = runners[name, precision]
    rng = np.random.default_rng(seed)
    ids = rng.integers(0, VOCABULARY, (batch, length), dtype=np.int32)
    alone = np.concatenate([single.run(row[None])["logits"] for row in ids])
    order = rng.permutation(batch)
    for runner in (single, double):
        assert np.array_equal(runner.run(ids)["logits"], alone)
        assert np.array_equal(runner.run(ids[order])["logits"], alone[order])
    assert np.array_equal(np.concatenate([double.run(row[None])["logits"] for row in ids]), alone)


@pytest.fixture(scope="module")
def realistic():
    """Graphs of an encoder as wide as MiniLM, with two layers: tiny widths do not use all code paths."""
    from authorid.export import calibrate, emit, from_keras
    from authorid.export.graph.graph_runner import GraphRunner
    from authorid.training.encoder.classifier import Geometry, build_classifier

    weights = from_keras(build_classifier(Geometry("bert", 500, 2, 12, 384, 1536, 512, 2), 50))
    rng = np.random.default_rng(0)
    windows = [rng.integers(0, 500, 64, dtype=np.int32) for _ in range(4)]
    found = calibrate(weights, windows)
    graphs = [emit(weights), emit(found.weights, "int8", found.ranges)]
    return [[GraphRunner(graph, threads) for threads in (1, 2)] for graph in graphs]


@pytest.mark.parametrize("length, batch", [(3, 2), (3, 33), (13, 7), (127, 3), (128, 8), (129, 2), (511, 2), (512, 3)])
def test_the_same_holds_at_the_width_of_a_real_encoder(length, batch, realistic):
    ids = np.random.default_rng(length).integers(0, 500, (batch, length), dtype=np.int32)
    for single, double in realistic:
        alone = np.concatenate([single.run(row[None])["logits"] for row in ids])
        for runner in (single, double):
            assert np.array_equal(runner.run(ids)["logits"], alone)
            assert np.array_equal(runner.run(ids[::-1].copy())["logits"], alone[::-1])
        assert np.array_equal(double.run(ids[:1])["logits"], alone[:1])
