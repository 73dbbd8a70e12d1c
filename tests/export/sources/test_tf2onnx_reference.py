"""The reference graph computes what Keras computes."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import LENGTHS, POSITIONS, keras_logits, random_windows

from authorid.export import reference_graph
from authorid.export.graph.graph_runner import GraphRunner

pytestmark = pytest.mark.train


@pytest.mark.parametrize("name", ["bert-mean", "distilbert-first", "distilbert-funnel"])
def test_reference_equals_keras_with_and_without_padding(name, models):
    import onnxruntime

    graph = reference_graph(models[name])
    windows = random_windows(LENGTHS)
    expected = keras_logits(models[name], windows)
    np.testing.assert_allclose(GraphRunner(graph).logits(windows), expected, atol=1e-4, rtol=0)

    session = onnxruntime.InferenceSession(graph.to_bytes())
    ids = np.zeros((len(windows), POSITIONS), np.int64)
    mask = np.zeros_like(ids)
    for row, window in enumerate(windows):
        ids[row, : len(window)], mask[row, : len(window)] = window, 1
    feeds = {"input_ids": ids, "attention_mask": mask}
    if name.startswith("bert"):
        feeds["token_type_ids"] = np.zeros_like(ids)
    assert {item.name for item in session.get_inputs()} == set(feeds)
    assert [item.name for item in session.get_outputs()] == ["logits"]
    np.testing.assert_allclose(session.run(None, feeds)[0], expected, atol=1e-4, rtol=0)


def test_the_reference_graph_stores_no_weight_twice(models, weights):
    import onnx

    graph = reference_graph(models["bert-mean"]).message().graph
    floats = [np.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert sum(floats) < 1.05 * weights["bert-mean"].parameters
