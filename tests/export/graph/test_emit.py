"""Emitted graphs compute what Keras computes, for every shape of encoder, and have the documented nodes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from encoders import AUTHORS, LENGTHS, POSITIONS, SHAPES, keras_logits, random_windows

from authorid.errors import ExportError
from authorid.export import Range, calibrate, emit, from_keras
from authorid.export.graph.builder import CPU, METADATA_DIALECT, OPENVINO
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.graph.int8 import activation_names, strips

pytestmark = pytest.mark.train

each = pytest.mark.parametrize("name", SHAPES)


def nodes(graph):

    return Counter(node.op_type for node in graph.message().graph.node)


EMBEDDING = {"Gather": 1, "Shape": 1, "Slice": 1, "Sum": 1, "LayerNormalization": 1}
EMBEDDING_NODES = {
    # The ids are transposed; Cast and Mul convert int8 to float32.
    (CPU, "fp32"): {**EMBEDDING, "Transpose": 1},
    (CPU, "int8"): {**EMBEDDING, "Transpose": 1, "Gather": 2, "Cast": 1, "Mul": 1},
    (OPENVINO, "fp32"): EMBEDDING,
    (OPENVINO, "int8"): {**EMBEDDING, "Cast": 1, "Mul": 1},
}
HEAD_NODES = {
    "mean": {"ReduceMean": 1, "Concat": 1, "MatMul": 1, "Sum": 1, "Split": 1},
    "first": {"MatMul": 1, "Sum": 1, "Gather": 1},
    "layers": {"Concat": 2, "MatMul": 1, "Sum": 1, "Split": 1},
}
STATE_NODES = {"ReduceMean": 2, "Mul": 2, "Sub": 1, "Relu": 1, "Sum": 1, "Sqrt": 1}
RANDOM_NODES = {
    (CPU, "fp32"): {"MatMul": 1, "Sum": 1},
    (CPU, "int8"): {"QuantizeLinear": 1, "MatMulIntegerToFloat": 1},
    (OPENVINO, "fp32"): {"MatMul": 1, "Sum": 1},
    (OPENVINO, "int8"): {"QuantizeLinear": 1, "DequantizeLinear": 2, "MatMul": 1, "Sum": 1},
}


def layer_nodes(dialect, precision, inner):
    """Nodes of one layer with `inner` neurons between its feed-forward matmuls, where all tokens are computed."""
    nodes = {"LayerNormalization": 2, "Softmax": 1, "Gelu": 1, "Sum": 2}
    parts = len(strips(inner)) if precision == "int8" else 1
    if dialect == CPU:
        nodes |= {"Reshape": 4, "FusedMatMul": 2, "Transpose": 1}
    else:
        nodes |= {"Reshape": 4, "Transpose": 5, "Mul": 1, "MatMul": 8, "Sum": 8}
    if precision == "fp32":
        return nodes | {"MatMul": nodes.get("MatMul", 6), "Sum": 8}
    if dialect == OPENVINO:
        nodes |= {"QuantizeLinear": 4, "DequantizeLinear": 10}
    else:
        nodes |= {"QuantizeLinear": 3 + parts, "MatMulIntegerToFloat": 5 + parts, "Gelu": parts}
    return nodes | ({"Concat": 1} if parts > 1 else {})


def expected_nodes(weights, precision, dialect):
    head = weights.head
    total = Counter(EMBEDDING_NODES[dialect, precision])
    for layer in weights.layers:
        total += Counter(layer_nodes(dialect, precision, len(layer.ffn_inner.bias)))
    total += Counter(HEAD_NODES[head.pooling])
    for _ in head.states:
        total += Counter(STATE_NODES)
    for _ in head.random:
        total += Counter({**RANDOM_NODES[dialect, precision], "Relu": 1, "ReduceMean": 1})
    if head.pooling == "first":
        total["Gather"] += 2 if precision == "int8" else 1
    # A last layer that computes two tokens needs no Slice.
    if weights.halved is not None and (weights.halved, head.pooling) != (len(weights.layers) - 1, "first"):
        total["Slice"] += 2 if precision == "int8" else 1
    if head.hidden is not None:
        total += Counter({"MatMul": 1, "Sum": 1, head.activation.capitalize(): 1})
    return total


@each
@pytest.mark.parametrize("dialect", [CPU, OPENVINO])
def test_emitted_float32_equals_keras(name, dialect, models, weights):
    windows = random_windows(LENGTHS)
    actual = GraphRunner(emit(weights[name], dialect=dialect)).logits(windows)
    np.testing.assert_allclose(actual, keras_logits(models[name], windows), atol=1e-4, rtol=0)


@each
def test_int8_stays_close_to_float32(name, weights):
    windows = random_windows([12] * 30 + [40] * 30)
    found = calibrate(weights[name], windows)
    int8 = GraphRunner(emit(found.weights, "int8", found.ranges)).logits(windows)
    plain = GraphRunner(emit(weights[name])).logits(windows)
    assert np.abs(int8 - plain).max() < 0.15 * plain.std()
    assert np.abs(int8 - plain).mean() < 0.03 * plain.std()


@each
@pytest.mark.parametrize("dialect", [CPU, OPENVINO])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_graph_has_exactly_the_documented_nodes(name, precision, dialect, weights):
    import onnx

    chosen = weights[name]
    ranges = dict.fromkeys(activation_names(chosen), Range(-1.0, 1.0))
    graph = emit(chosen, precision, ranges, dialect=dialect)
    assert nodes(graph) == expected_nodes(chosen, precision, dialect)
    smoothed = replace(ranges["layer_0/input"], divisor=np.full(chosen.width, 2, np.float32))
    more = nodes(emit(chosen, precision, ranges | {"layer_0/input": smoothed}, dialect=dialect))
    assert more - nodes(graph) == (Counter(Mul=1) if precision == "int8" else Counter())
    model = graph.message()
    onnx.checker.check_model(model)
    assert {item.key: item.value for item in model.metadata_props}[METADATA_DIALECT] == dialect
    assert [(item.name, item.type.tensor_type.elem_type) for item in model.graph.input] == [
        ("window_ids", onnx.TensorProto.INT32)
    ]


@each
def test_a_graph_for_padded_batches_has_hugging_faces_interface(name, models, weights):
    """Windows of all lengths in one batch get the logits that they get alone, and that Keras computes for them."""

    graph = emit(weights[name], padding=True)
    names = [item.name for item in graph.message().graph.input]
    assert names == ["input_ids", "attention_mask", *(["token_type_ids"] if name.startswith("bert") else [])]
    windows = random_windows(LENGTHS)
    runner = GraphRunner(graph)
    expected = keras_logits(models[name], windows)
    np.testing.assert_allclose(runner.logits(windows), expected, atol=1e-4, rtol=0)
    np.testing.assert_allclose(runner.padded_logits(windows), expected, atol=1e-4, rtol=0)


def test_segments_count_in_a_graph_for_padded_batches(models, weights):
    model, ids = models["bert-first"], np.stack(random_windows([17, 17]))
    kinds = np.tile(np.arange(17) > 8, (2, 1)).astype(np.int64)
    session = GraphRunner(emit(weights["bert-first"], padding=True))._session
    feeds = {"input_ids": ids.astype(np.int64), "attention_mask": np.ones_like(kinds), "token_type_ids": kinds}
    inputs = {"token_ids": ids, "padding_mask": np.ones_like(ids), "segment_ids": kinds.astype(np.int32)}
    np.testing.assert_allclose(session.run(None, feeds)[0], np.asarray(model(inputs)), atol=1e-4, rtol=0)


@pytest.mark.parametrize("disabled", [[], ["SkipLayerNormFusion", "BiasGeluFusion"]])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnxruntime_does_not_fuse_nodes_into_slow_operators(precision, disabled, weights, tmp_path):
    import onnx
    import onnxruntime

    chosen = weights["bert-mean"]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    graph = emit(chosen, precision, dict.fromkeys(activation_names(chosen), Range(-1.0, 1.0)))
    onnxruntime.InferenceSession(
        graph.to_bytes(), options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled or None
    )
    optimized = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert not optimized.keys() & {"SkipLayerNormalization", "BiasGelu", "FastGelu", "DequantizeLinear"}
    assert optimized["Gelu"] == len(chosen.layers)
    assert optimized["FusedMatMul"] == 2 * len(chosen.layers)
    assert optimized["Transpose"] <= 1 + len(chosen.layers)  # the ids, and the context of each layer


def test_the_same_weights_give_the_same_bytes(weights):
    ranges = dict.fromkeys(activation_names(weights["bert-mean"]), Range(-1.0, 1.0))
    one, two = (emit(weights["bert-mean"], "int8", ranges).to_bytes() for _ in range(2))
    assert one == two


def test_int8_file_takes_a_byte_a_parameter(models):
    from authorid.training.encoder.classifier import Geometry, build_classifier

    wide = from_keras(build_classifier(Geometry("bert", 5000, 2, 4, 128, 512, 64, 2), AUTHORS))
    graph = emit(wide, "int8", dict.fromkeys(activation_names(wide), Range(-1.0, 1.0)))
    assert len(graph.to_bytes()) < 1.12 * wide.parameters


def test_int8_requires_a_usable_range_for_every_matmul_input(weights):
    chosen = weights["bert-mean"]
    with pytest.raises(ExportError, match="layer_0/input"):
        emit(chosen, "int8")
    broken = dict.fromkeys(activation_names(chosen), Range(-1.0, 1.0)) | {"layer_1/ffn_inner": Range(float("nan"), 1.0)}
    with pytest.raises(ExportError, match="layer_1/ffn_inner"):
        emit(chosen, "int8", broken)
    for option in ({"observe": True}, {"padding": True}):
        with pytest.raises(ExportError, match="float32"):
            emit(chosen, "int8", dict.fromkeys(activation_names(chosen), Range(-1.0, 1.0)), **option)


def test_a_window_longer_than_the_position_table_is_an_error(weights):
    runner = GraphRunner(emit(weights["bert-mean"]))
    with pytest.raises(Exception, match=r"Sum|broadcast|dimension"):
        runner.run(np.zeros((1, POSITIONS + 1), np.int32))
