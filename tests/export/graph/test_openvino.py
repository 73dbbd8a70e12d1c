"""OpenVINO's dialect computes the same as onnxruntime's, in onnxruntime and in OpenVINO."""

from __future__ import annotations

import numpy as np
import pytest
from encoders import SHAPES, random_weights, random_windows

from authorid.export import calibrate, emit
from authorid.export.graph.builder import CPU, METADATA_DIALECT, OPENVINO
from authorid.export.graph.graph_runner import GraphRunner

onnx = pytest.importorskip("onnx", reason="not installed: onnx")

each = pytest.mark.parametrize("name", SHAPES)
WINDOWS = random_windows([3, 3, 4, 17, 33, 33, 64] * 5)


@pytest.fixture(scope="module")
def graphs():
    """(shape, dialect, precision) -> serialized graph."""
    made = {}
    for name in SHAPES:
        weights = random_weights(name)
        found = calibrate(weights, WINDOWS)
        for dialect in (CPU, OPENVINO):
            made[name, dialect, "fp32"] = emit(weights, dialect=dialect)
            made[name, dialect, "int8"] = emit(found.weights, "int8", found.ranges, dialect=dialect)
    return made


@pytest.fixture(scope="module")
def compiled(graphs, tmp_path_factory):
    """Compiles one of these graphs in OpenVINO: ids int32 [b, s] -> logits."""
    openvino = pytest.importorskip("openvino", reason="not installed: openvino")
    core = openvino.Core()
    directory = tmp_path_factory.mktemp("graphs")

    def compile_graph(name, precision, hint="f32", threads=1):
        path = directory / f"{name}-{precision}.onnx"
        path.write_bytes(graphs[name, OPENVINO, precision])
        config = {"INFERENCE_PRECISION_HINT": hint, "INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1}
        return core.compile_model(path, "CPU", config)

    return compile_graph


def logits(model, windows):
    return np.concatenate([model([ids[None]])[0].copy() for ids in windows])


def relative_error(actual, expected):
    """RMS of the difference, as a share of the RMS of the logits."""
    return np.sqrt(((actual - expected) ** 2).mean() / (expected**2).mean())


@each
def test_float32_is_the_same_in_both_dialects(name, graphs):
    cpu, other = (GraphRunner(graphs[name, dialect, "fp32"]).logits(WINDOWS) for dialect in (CPU, OPENVINO))
    np.testing.assert_allclose(other, cpu, atol=1e-4, rtol=0)


@each
def test_int8_is_the_same_in_both_dialects_but_for_rounding(name, graphs):
    cpu, other = (GraphRunner(graphs[name, dialect, "int8"]).logits(WINDOWS) for dialect in (CPU, OPENVINO))
    assert relative_error(other, cpu) < 0.05
    assert (other.argmax(axis=1) == cpu.argmax(axis=1)).mean() > 0.9


@each
def test_openvinos_dialect_has_standard_operators_only(name, graphs):
    for precision in ("fp32", "int8"):
        model = graphs[name, OPENVINO, precision].message()
        onnx.checker.check_model(model)
        assert [(item.domain, item.version) for item in model.opset_import] == [("", 20)]
        assert {node.domain for node in model.graph.node} == {""}
        assert [item.name for item in model.graph.input] == ["window_ids"]
        assert {item.key: item.value for item in model.metadata_props}[METADATA_DIALECT] == OPENVINO


@each
def test_both_int8_dialects_have_the_same_matrices(name, graphs):
    cpu, other = (
        {t.name: t.raw_data for t in graphs[name, dialect, "int8"].message().graph.initializer}
        for dialect in (CPU, OPENVINO)
    )
    matrices = {tensor for tensor in cpu if tensor.endswith(("kernel", "table"))}
    assert matrices == {tensor for tensor in other if tensor.endswith(("kernel", "table"))}
    assert all(cpu[tensor] == other[tensor] for tensor in matrices)


@each
def test_openvino_computes_the_same_in_float32(name, graphs, compiled):
    expected = GraphRunner(graphs[name, CPU, "fp32"]).logits(WINDOWS)
    np.testing.assert_allclose(logits(compiled(name, "fp32"), WINDOWS), expected, atol=1e-4, rtol=0)


@each
@pytest.mark.parametrize("hint", ["f32", "bf16"])
def test_openvino_computes_nearly_the_same_in_int8(name, hint, graphs, compiled):
    expected = GraphRunner(graphs[name, CPU, "int8"]).logits(WINDOWS)
    actual = logits(compiled(name, "int8", hint), WINDOWS)
    assert relative_error(actual, expected) < 0.1
    assert (actual.argmax(axis=1) == expected.argmax(axis=1)).mean() > 0.8


@pytest.mark.parametrize("name", ["bert-mean", "bert-strips"])
def test_openvino_computes_the_matmuls_of_the_encoder_in_integers(name, compiled):
    model = compiled(name, "int8")
    logits(model, WINDOWS[:1])
    kinds = []
    for op in model.get_runtime_model().get_ops():
        info = {key: str(getattr(value, "value", value)) for key, value in op.get_rt_info().items()}
        if info["layerType"] == "FullyConnected":
            kinds.append(info["runtimePrecision"])
    assert sorted(kinds) == ["f32", *["u8"] * 6 * SHAPES[name][1]]  # the head, and six in each layer


def test_openvino_gives_the_same_window_the_same_logits(compiled):
    one, again = compiled("bert-mean", "int8"), compiled("bert-mean", "int8")
    first = logits(one, WINDOWS)
    assert np.array_equal(logits(one, WINDOWS[::-1])[::-1], first)
    assert np.array_equal(logits(again, WINDOWS), first)
