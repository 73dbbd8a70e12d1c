"""Large tensors are kept outside a graph, and a graph that no single file can hold is written as two."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import LENGTHS, random_weights, random_windows

from authorid.errors import ExportError
from authorid.export import emit
from authorid.export.bundle_files import graph_files
from authorid.export.graph import onnx_graph
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.graph.onnx_graph import LARGE_TENSOR, OnnxGraph

onnx = pytest.importorskip("onnx", reason="not installed: onnx")
onnxruntime = pytest.importorskip("onnxruntime")

WINDOWS = random_windows(LENGTHS)


@pytest.fixture(scope="module")
def graph():
    return emit(random_weights("bert-first"))


def test_large_tensors_are_outside_and_one_message_has_them_all(graph):
    assert graph.tensors
    assert all(array.nbytes >= LARGE_TENSOR for array in graph.tensors.values())
    assert not any(name.tobytes() in graph.model for name in graph.tensors.values())
    whole = onnx.load_from_string(graph.to_bytes())
    onnx.checker.check_model(whole)
    found = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in whole.graph.initializer}
    assert all(np.array_equal(found[name], array) for name, array in graph.tensors.items())
    plain = GraphRunner(OnnxGraph(graph.to_bytes()))
    for ids in WINDOWS:
        assert np.array_equal(plain.run(ids[None])["logits"], GraphRunner(graph).run(ids[None])["logits"])


def test_a_graph_that_is_too_large_for_a_message_has_its_weights_beside_it(graph, tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "LARGEST_MESSAGE", len(graph.model) + 1)
    with pytest.raises(ExportError, match="larger than 2 GiB"):
        graph.to_bytes()
    names, files = graph_files({"fp32": graph})
    assert names == {"fp32": "model.onnx"}
    assert files.keys() == {"model.onnx", "model.onnx.data"}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for ids in WINDOWS:
        expected = GraphRunner(graph).run(ids[None])["logits"]
        assert np.array_equal(session.run(["logits"], {"window_ids": ids[None]})[0], expected)
