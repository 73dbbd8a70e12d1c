"""The graphs answer like Keras, whatever the shape of the model, and are built as documented."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from encoders import AUTHORS, POSITIONS, SHAPES, random_windows

from authorid.errors import ExportError
from authorid.export import Range, calibrate, emit, from_keras, reference_graph
from authorid.export.graph import builder
from authorid.export.graph.graph_runner import GraphRunner
from authorid.training.runs import predict_windows

pytestmark = pytest.mark.train

each = pytest.mark.parametrize("name", SHAPES)
LENGTHS = [3, 3, 4, 17, 33, 33, POSITIONS]


def keras_logits(model, windows):
    return np.concatenate(predict_windows(model, [[ids] for ids in windows], AUTHORS))


def nodes(graph):
    import onnx

    return Counter(node.op_type for node in onnx.load_from_string(graph).graph.node)


def expected_nodes(weights, precision, dialect=builder.CPU):
    head = weights.head
    total = Counter(builder.EMBEDDING_NODES[dialect, precision])
    for layer in weights.layers:
        total += Counter(builder.layer_nodes(dialect, precision, len(layer.ffn_inner.bias)))
    total += Counter(builder.HEAD_NODES[head.pooling])
    if head.pooling == "first":
        total["Gather"] += 2 if precision == "int8" else 1
    # Of a last layer that computes two tokens nothing is left to leave out.
    if weights.halved is not None and (weights.halved, head.pooling) != (len(weights.layers) - 1, "first"):
        total["Slice"] += 2 if precision == "int8" else 1
    if head.hidden is not None:
        total += Counter({"MatMul": 1, "Sum": 1, head.activation.capitalize(): 1})
    return total


@each
@pytest.mark.parametrize("dialect", [builder.CPU, builder.OPENVINO])
def test_emitted_float32_equals_keras(name, dialect, models, weights):
    windows = random_windows(LENGTHS)
    actual = GraphRunner(emit(weights[name], dialect=dialect)).logits(windows)
    np.testing.assert_allclose(actual, keras_logits(models[name], windows), atol=1e-4, rtol=0)


@pytest.mark.parametrize("name", ["bert-mean", "distilbert-first", "distilbert-funnel"])
def test_reference_equals_keras_with_and_without_padding(name, models):
    import onnxruntime

    graph = reference_graph(models[name])
    windows = random_windows(LENGTHS)
    expected = keras_logits(models[name], windows)
    np.testing.assert_allclose(GraphRunner(graph).logits(windows), expected, atol=1e-4, rtol=0)

    session = onnxruntime.InferenceSession(graph)
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


def test_reference_keeps_no_weight_twice(models, weights):
    import onnx

    graph = onnx.load_from_string(reference_graph(models["bert-mean"])).graph
    floats = [np.prod(tensor.dims) for tensor in graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT]
    assert sum(floats) < 1.05 * weights["bert-mean"].parameters


@each
def test_int8_stays_close_to_float32(name, weights):
    windows = random_windows([12] * 30 + [40] * 30)
    found = calibrate(weights[name], windows)
    int8 = GraphRunner(emit(found.weights, "int8", found.ranges)).logits(windows)
    plain = GraphRunner(emit(weights[name])).logits(windows)
    assert np.abs(int8 - plain).max() < 0.15 * plain.std()
    assert np.abs(int8 - plain).mean() < 0.03 * plain.std()


@each
@pytest.mark.parametrize("dialect", [builder.CPU, builder.OPENVINO])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_graph_has_exactly_the_documented_nodes(name, precision, dialect, weights):
    import onnx

    chosen = weights[name]
    ranges = dict.fromkeys(builder.sites(chosen), Range(-1.0, 1.0))
    graph = emit(chosen, precision, ranges, dialect=dialect)
    assert nodes(graph) == expected_nodes(chosen, precision, dialect)
    smoothed = replace(ranges["layer_0/input"], divisor=np.full(chosen.width, 2, np.float32))
    more = nodes(emit(chosen, precision, ranges | {"layer_0/input": smoothed}, dialect=dialect))
    assert more - nodes(graph) == (Counter(Mul=1) if precision == "int8" else Counter())
    model = onnx.load_from_string(graph)
    onnx.checker.check_model(model)
    assert {item.key: item.value for item in model.metadata_props}[builder.METADATA_DIALECT] == dialect
    assert [(item.name, item.type.tensor_type.elem_type) for item in model.graph.input] == [
        ("input_ids", onnx.TensorProto.INT32)
    ]


@pytest.mark.parametrize("disabled", [[], ["SkipLayerNormFusion", "BiasGeluFusion"]])
@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_onnxruntime_does_not_refuse_into_slow_ops(precision, disabled, weights, tmp_path):
    import onnx
    import onnxruntime

    chosen = weights["bert-mean"]
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimized.onnx")
    options.log_severity_level = 3
    graph = emit(chosen, precision, dict.fromkeys(builder.sites(chosen), Range(-1.0, 1.0)))
    onnxruntime.InferenceSession(
        graph, options, providers=["CPUExecutionProvider"], disabled_optimizers=disabled or None
    )
    optimized = Counter(node.op_type for node in onnx.load(tmp_path / "optimized.onnx").graph.node)
    assert not optimized.keys() & {"SkipLayerNormalization", "BiasGelu", "FastGelu", "DequantizeLinear"}
    assert optimized["Gelu"] == len(chosen.layers)
    assert optimized["FusedMatMul"] == 2 * len(chosen.layers)
    assert optimized["Transpose"] <= 1 + len(chosen.layers)  # the ids, and the context of each layer


def test_emission_is_reproducible(weights):
    ranges = dict.fromkeys(builder.sites(weights["bert-mean"]), Range(-1.0, 1.0))
    assert emit(weights["bert-mean"], "int8", ranges) == emit(weights["bert-mean"], "int8", ranges)


def test_int8_file_takes_a_byte_a_parameter(models):
    from authorid.training.encoder.classifier import Geometry, build_classifier

    wide = from_keras(build_classifier(Geometry("bert", 5000, 2, 4, 128, 512, 64, 2), AUTHORS))
    graph = emit(wide, "int8", dict.fromkeys(builder.sites(wide), Range(-1.0, 1.0)))
    assert len(graph) < 1.12 * wide.parameters


def test_int8_wants_a_range_for_every_matmul(weights):
    chosen = weights["bert-mean"]
    with pytest.raises(ExportError, match="layer_0/input"):
        emit(chosen, "int8")
    broken = dict.fromkeys(builder.sites(chosen), Range(-1.0, 1.0)) | {"layer_1/ffn_inner": Range(float("nan"), 1.0)}
    with pytest.raises(ExportError, match="layer_1/ffn_inner"):
        emit(chosen, "int8", broken)
    with pytest.raises(ExportError, match="float32"):
        emit(chosen, "int8", dict.fromkeys(builder.sites(chosen), Range(-1.0, 1.0)), observe=True)


@pytest.mark.parametrize("rows", [384, 35, 1])
def test_quantized_weights_cannot_saturate_sixteen_bits(rows):
    rng = np.random.default_rng(0)
    kernel = rng.standard_t(3, size=(rows, 50)).astype(np.float32)
    kernel[:, 7] = 0
    quantized, scales = builder.quantize_columns(kernel)
    wide = np.pad(quantized.astype(int), ((0, rows % 2), (0, 0)))
    for sign in (1, -1):  # the worst input meets weights of one sign with 255, the others with 0
        assert (255 * np.maximum(sign * wide, 0)).reshape(-1, 2, 50).sum(axis=1).max() <= np.iinfo(np.int16).max
    assert (np.abs(quantized * scales - kernel) <= scales / 2 * 1.001).all()
    assert not quantized[:, 7].any()
    assert np.abs(quantized).max() > 60  # and no bit is given away for nothing


@pytest.mark.parametrize("low, high", [(-1.0, 3.0), (0.5, 2.0), (-4.0, -1.0), (0.0, 0.0)])
def test_activation_scale_holds_zero_exactly(low, high):
    scale, zero = builder.activation_scale(low, high)
    assert scale > 0 and 0 <= int(zero) <= 255
    assert (0 - int(zero)) * scale <= min(low, 0) + scale and (255 - int(zero)) * scale >= max(high, 0) - scale


def test_what_is_no_classifier_of_ours_is_refused(models):
    import keras

    x = keras.Input((3,))
    with pytest.raises(ExportError, match="logits"):
        from_keras(keras.Model(x, keras.layers.Dense(2)(x)))
    with pytest.raises(ExportError, match="neither"):
        from_keras(keras.Model(x, keras.layers.Dense(2, name="logits")(x)))


def test_longer_windows_than_positions_are_an_error_not_a_wrong_answer(weights):
    runner = GraphRunner(emit(weights["bert-mean"]))
    with pytest.raises(Exception, match=r"Sum|broadcast|dimension"):
        runner.run(np.zeros((1, POSITIONS + 1), np.int32))


def test_a_broken_graph_is_an_export_error():
    with pytest.raises(ExportError, match="onnxruntime"):
        GraphRunner(b"not a graph")


def test_weights_count_their_parameters(models, weights):
    chosen = replace(weights["distilbert-mean"])
    # Keras counts the same; DistilBERT has no segment table that we fold away.
    assert chosen.parameters == models["distilbert-mean"].count_params()
