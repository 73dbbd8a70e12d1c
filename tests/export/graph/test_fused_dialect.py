"""The dialect of our own operators computes the same as onnxruntime's INT8, from the same weights."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import SHAPES, random_weights, random_windows

from authorid.encoder.fused import fused_kernels
from authorid.errors import ExportError
from authorid.export.graph.builder import CPU, FUSED, METADATA_DIALECT
from authorid.export.graph.emit import emit
from authorid.export.graph.fused_operators import can_be_fused
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.quantize.calibration import calibrate

WINDOWS = random_windows([3, 3, 4, 17, 33, 33, 64] * 5)
FUSABLE = [name for name in SHAPES if can_be_fused(random_weights(name))]
needs_kernels = pytest.mark.skipif(fused_kernels() is None, reason="the fused kernels were not compiled")


@pytest.fixture(scope="module", params=[(name, together) for name in FUSABLE for together in (2, 4)], ids=str)
def graphs(request):
    """Both INT8 graphs of one encoder, and the float32 one."""
    name, together = request.param
    weights = random_weights(name)
    found = calibrate(weights, WINDOWS, together=together)
    graphs = {dialect: emit(found.weights, "int8", found.ranges, dialect=dialect) for dialect in (CPU, FUSED)}
    return {**graphs, "fp32": emit(weights)}


@needs_kernels
def test_answers_are_the_same_but_for_rounding(graphs):
    cpu, other, exact = (GraphRunner(graphs[name]).logits(WINDOWS) for name in (CPU, FUSED, "fp32"))
    size = np.sqrt((exact**2).mean())
    assert np.sqrt(((other - cpu) ** 2).mean()) < 0.05 * size
    assert np.sqrt(((other - exact) ** 2).mean()) < 1.3 * np.sqrt(((cpu - exact) ** 2).mean()) + 0.01 * size


@needs_kernels
def test_a_window_has_the_same_logits_in_any_batch_and_on_any_number_of_threads(graphs):
    one, two = GraphRunner(graphs[FUSED]), GraphRunner(graphs[FUSED], threads=2)
    alone = np.concatenate([one.run(ids[None])["logits"] for ids in WINDOWS])
    assert np.array_equal(one.logits(WINDOWS), alone)
    assert np.array_equal(two.logits(WINDOWS), alone)


def test_the_weights_are_those_of_the_other_graph(graphs):
    cpu, other = (graphs[dialect].message() for dialect in (CPU, FUSED))
    assert {item.key: item.value for item in other.metadata_props}[METADATA_DIALECT] == FUSED
    tensors = [{t.name: t.raw_data for t in model.graph.initializer} for model in (cpu, other)]
    matrices = {name for name in tensors[0] if name.endswith(("kernel", "table"))}
    assert matrices == {name for name in tensors[1] if name.endswith(("kernel", "table"))}
    assert all(tensors[0][name] == tensors[1][name] for name in matrices)


def test_there_is_no_float32(graphs):
    with pytest.raises(ExportError, match="no fused operators for float32"):
        emit(random_weights(FUSABLE[0]), dialect=FUSED)
