"""Our own operators for onnxruntime compute what numpy does, for every row alike and on any number of threads."""

from __future__ import annotations

from math import erf
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from sanitizers import run_sanitized

from authorid.encoder import fused
from authorid.encoder.fused import fused_kernels, fused_library

pytestmark = pytest.mark.skipif(fused_kernels() is None, reason="the fused kernels were not compiled")

SOURCE = Path(fused.__file__).with_name("_fused.c")
TYPES = {np.dtype("float32"): TensorProto.FLOAT, np.dtype("uint8"): TensorProto.UINT8}
few = settings(max_examples=40, deadline=None)


@pytest.fixture(scope="module", params=["best", "avx2"], autouse=True)
def kernels(request):
    """All tests run with the kernels that this processor uses, and with those for AVX2."""
    if request.param == "avx2":
        if fused_kernels() == "avx2":
            pytest.skip("AVX2 is the best here")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("AUTHORID_FUSED_KERNELS", "avx2")
            assert fused_kernels() == "avx2"
            yield
    else:
        yield


def operator(kind, inputs, constants, outputs, *, threads=1, **attributes):
    """Run one operator: `inputs` are fed, `constants` are part of the graph, `outputs` are the types of the results."""
    names = [f"input{index}" for index in range(len(inputs))], [f"constant{index}" for index in range(len(constants))]
    order = [*names[0], *names[1]]
    if kind == "Norm":  # the residual comes last
        order = [names[0][0], *names[1], *names[0][1:]]
    results = [f"output{index}" for index in range(len(outputs))]
    node = helper.make_node(kind, order, results, domain="authorid", **attributes)
    graph = helper.make_graph(
        [node],
        "one",
        [
            helper.make_tensor_value_info(n, TYPES[x.dtype], [None] * x.ndim)
            for n, x in zip(names[0], inputs, strict=True)
        ],
        [helper.make_tensor_value_info(n, TYPES[np.dtype(t)], None) for n, t in zip(results, outputs, strict=True)],
        [numpy_helper.from_array(x, n) for n, x in zip(names[1], constants, strict=True)],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("authorid", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 4
    options.register_custom_ops_library(str(fused_library()))
    session = onnxruntime.InferenceSession(onnx.ModelProto.SerializeToString(model), options)
    return session.run(None, dict(zip(names[0], inputs, strict=True)))


def kernel(rng, k, n, together):
    """Weights of which `together` products fit 16 bits."""
    limit = 127 // together
    return rng.integers(-limit, limit + 1, (k, n)).astype(np.int8)


def gelu(x, tanh):
    if tanh:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))
    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def steps(values, factors, zero):
    """Steps before they are rounded."""
    return np.clip(values * factors + zero, 0, 255)


def assert_rounded(actual, exact, tolerance):
    """`actual` is `exact` rounded, but for an error of at most `tolerance` of a step before that."""
    assert np.abs(actual - exact).max() <= 0.5 + tolerance


@few
@given(st.integers(1, 40), st.integers(1, 120), st.integers(1, 80), st.sampled_from([2, 4]), st.integers(0, 2**32 - 1))
def test_a_matrix_product_is_exact(rows, k, n, together, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (rows, 1, -(-k // 4) * 4)).astype(np.uint8)
    weights, zero = kernel(rng, k, n, together), int(rng.integers(0, 256))
    ones, bias = np.ones(n, np.float32), rng.integers(-9, 9, n).astype(np.float32)
    (actual,) = operator("Linear", [x], [weights, ones, bias], ["float32"], x_scale=1.0, x_zero=zero)
    expected = (x[..., :k].astype(np.int64) - zero) @ weights.astype(np.int64) + bias.astype(np.int64)
    assert np.array_equal(actual, expected.astype(np.float32))
    if rows > 1:
        (alone,) = operator("Linear", [x[rows // 2 :]], [weights, ones, bias], ["float32"], x_scale=1.0, x_zero=zero)
        assert np.array_equal(alone, actual[rows // 2 :])


def test_the_largest_sums_do_not_overflow_in_a_part_of_eight_rows_either():
    for rows in range(1, 20):
        x = np.full((3, -(-rows // 4) * 4), 255, np.uint8)
        weights = np.full((rows, 9), 63, np.int8)
        constants = [weights, np.ones(9, np.float32), np.zeros(9, np.float32)]
        (actual,) = operator("Linear", [x], constants, ["float32"], x_scale=1.0, x_zero=0)
        assert np.array_equal(actual, np.full((3, 9), 255 * 63 * rows, np.float32))


def test_the_largest_sums_do_not_overflow():
    x = np.full((3, 64), 255, np.uint8)
    for sign in (1, -1):
        pairs = np.tile(np.array([[127], [0]], np.int8), (32, 40)) * np.int8(sign)
        fours = np.tile(np.array([[127]] + [[0]] * 7, np.int8), (8, 40)) * np.int8(sign)
        for weights in (pairs, fours, np.full((64, 40), 63 * sign, np.int8), np.full((64, 40), 31 * sign, np.int8)):
            constants = [weights, np.ones(40, np.float32), np.zeros(40, np.float32)]
            (actual,) = operator("Linear", [x], constants, ["float32"], x_scale=1.0, x_zero=0)
            assert np.array_equal(actual, x.astype(np.float32) @ weights.astype(np.float32))


@few
@given(
    st.integers(1, 20),
    st.lists(st.integers(1, 40), min_size=1, max_size=4),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_the_inner_layer_is_at_most_one_step_off(rows, strips, tanh, seed):
    rng = np.random.default_rng(seed)
    x = rng.integers(0, 256, (rows, 16)).astype(np.uint8)
    parts = [
        (
            kernel(rng, 16, n, 2),
            rng.uniform(0.001, 0.1, n).astype(np.float32),
            rng.normal(0, 3, n).astype(np.float32),
            rng.uniform(5, 60, n).astype(np.float32),
        )
        for n in strips
    ]
    constants = [value for part in parts for value in part]
    attributes = {"x_scale": 0.05, "x_zero": 120, "out_zero": 20, "tanh": int(tanh)}
    (actual,) = operator("LinearGelu", [x], constants, ["uint8"], **attributes)
    values = [(x.astype(np.float64) - 120) * 0.05 @ (w * s.astype(np.float64)) + b for w, s, b, _ in parts]
    exact = np.hstack([steps(gelu(v, tanh), f, 20) for v, (_, _, _, f) in zip(values, parts, strict=True)])
    assert actual.shape[1] == -(-exact.shape[1] // 4) * 4
    actual = actual[:, : exact.shape[1]]
    assert_rounded(actual, exact, 0.01)
    apart = np.abs(actual - np.rint(exact))
    assert (apart > 0).mean() < 0.02 or (apart > 0).sum() <= 1


@pytest.mark.parametrize("tanh", [0, 1])
def test_gelu_is_within_a_ten_thousandth_everywhere_and_saturates(tanh):
    x = np.zeros((1, 4), np.uint8)
    bias = np.concatenate([np.linspace(-12, 12, 60001), [-1e6, 1e6]]).astype(np.float32)
    factors = np.full(len(bias), 20, np.float32)
    constants = [np.zeros((4, len(bias)), np.int8), np.ones(len(bias), np.float32), bias, factors]
    (actual,) = operator("LinearGelu", [x], constants, ["uint8"], x_scale=1.0, x_zero=0, out_zero=10, tanh=tanh)
    exact = steps(gelu(bias.astype(np.float64), tanh), factors, 10)
    assert_rounded(actual[:, : len(bias)], exact, 20 * 1.1e-4)


def attention(q, k, v, heads, factors, zero):
    t, b, width = q.shape
    q, k, v = (x.astype(np.float64).reshape(len(x), b, heads, width // heads) for x in (q, k, v))
    scores = np.einsum("tbhd,sbhd->bhts", q, k) * (width // heads) ** -0.5
    shares = np.exp(scores - scores.max(-1, keepdims=True))
    mixed = np.einsum("bhts,sbhd->tbhd", shares / shares.sum(-1, keepdims=True), v).reshape(t, b, width)
    return steps(mixed, factors, zero)


@few
@given(
    st.integers(1, 50),
    st.integers(1, 50),
    st.integers(1, 3),
    st.sampled_from([(1, 16), (2, 16), (3, 24), (4, 32), (1, 5)]),
    st.integers(0, 2**32 - 1),
)
def test_attention_is_at_most_one_step_off(queries, keys, windows, shape, seed):
    heads, width = shape[0], shape[0] * shape[1]
    rng = np.random.default_rng(seed)
    q, k, v = (rng.normal(0, 2, (n, windows, width)).astype(np.float32) for n in (queries, keys, keys))
    factors = rng.uniform(5, 40, width).astype(np.float32)
    attributes = {"heads": heads, "scale": float((width // heads) ** -0.5), "out_zero": 128}
    (actual,) = operator("Attention", [q, k, v], [factors], ["uint8"], **attributes)
    exact = attention(q, k, v, heads, factors, 128)
    assert_rounded(actual, exact, 0.1)
    if keys > 1 and exact.size >= 1000:  # with one key all rows are alike, and so are their errors
        assert (actual != np.rint(exact)).mean() < 0.02
    last = [x[:, -1:] for x in (q, k, v)]
    (alone,) = operator("Attention", [last[0][-1:], *last[1:]], [factors], ["uint8"], **attributes)
    assert np.array_equal(alone[0, 0], actual[-1, -1])
    (threaded,) = operator("Attention", [q, k, v], [factors], ["uint8"], threads=2, **attributes)
    assert np.array_equal(threaded, actual)


def test_scores_far_apart_leave_one_key():
    q = np.full((2, 1, 16), 100, np.float32)
    k = np.stack([np.full((1, 16), 100, np.float32), np.full((1, 16), -100, np.float32)])
    v = np.stack([np.full((1, 16), 3, np.float32), np.full((1, 16), -3, np.float32)])
    (actual,) = operator("Attention", [q, k, v], [np.ones(16, np.float32)], ["uint8"], heads=1, scale=0.25, out_zero=9)
    assert (actual == 12).all()


@pytest.mark.parametrize("keys", [1, 2, 31, 600, 5000])
@pytest.mark.parametrize("size", [0.0, 1e-20, 1.0, 1e6])
def test_the_largest_sums_of_attention_do_not_overflow(keys, size):
    """All keys are alike, and all values are the largest: so is the result."""
    queries = np.full((3, 1, 64), size, np.float32)
    k, v = (np.full((keys, 1, 64), value, np.float32) for value in (size, -0.5))
    attributes = {"heads": 2, "scale": 1e-9, "out_zero": 200}
    (actual,) = operator("Attention", [queries, k, v], [np.full(64, 100, np.float32)], ["uint8"], **attributes)
    assert (actual == 150).all()


def test_attention_of_a_long_window_is_at_most_one_step_off():
    rng = np.random.default_rng(0)
    q, k, v = (rng.normal(0, 1, (530, 1, 128)).astype(np.float32) for _ in range(3))
    k[7] *= 30  # one key and one value that are much larger than the others
    v[9] *= 30
    factors = np.full(128, 40, np.float32)
    attributes = {"heads": 2, "scale": 0.125, "out_zero": 128}
    (actual,) = operator("Attention", [q, k, v], [factors], ["uint8"], **attributes)
    exact = attention(q, k, v, 2, factors, 128)
    assert np.abs(actual - exact).max() <= 1
    assert (actual != np.rint(exact)).mean() < 0.02


@few
@given(st.integers(1, 40), st.integers(1, 6), st.booleans(), st.integers(0, 2**32 - 1))
def test_a_normalized_sum_is_given_in_float32_and_in_steps(rows, sixteens, residual, seed):
    width = 16 * sixteens
    rng = np.random.default_rng(seed)
    inputs = [rng.normal(1, 3, (rows, 1, width)).astype(np.float32) for _ in range(1 + residual)]
    gamma, beta = rng.normal(1, 0.2, width).astype(np.float32), rng.normal(0, 0.2, width).astype(np.float32)
    factors = rng.uniform(10, 40, width).astype(np.float32)
    actual, quantized = operator(
        "Norm", inputs, [gamma, beta, factors], ["float32", "uint8"], epsilon=1e-5, out_zero=120
    )
    total = sum(x.astype(np.float64) for x in inputs)
    apart = total - total.mean(-1, keepdims=True)
    expected = apart / np.sqrt((apart**2).mean(-1, keepdims=True) + 1e-5) * gamma + beta
    np.testing.assert_allclose(actual, expected, atol=2e-5)
    assert_rounded(quantized, steps(expected, factors, 120), 0.01)
    first = [x[:1] for x in inputs]
    alone = operator("Norm", first, [gamma, beta, factors], ["float32", "uint8"], epsilon=1e-5, out_zero=120)
    assert np.array_equal(alone[0], actual[:1])
    assert np.array_equal(alone[1], quantized[:1])


@pytest.mark.parametrize(
    ("kind", "inputs", "constants", "attributes", "reason"),
    [
        ("Linear", [(2, 6)], [(6, 3), (3,), (3,)], {"x_scale": 1.0, "x_zero": 0}, "does not fit"),
        ("Linear", [(2, 8)], [(8, 3), (2,), (3,)], {"x_scale": 1.0, "x_zero": 0}, "wrong length"),
        ("Linear", [(2, 4)], [(8, 3), (3,), (3,)], {"x_scale": 1.0, "x_zero": 0}, "does not fit"),
        ("Linear", [(2, 8)], [(8, 3), (3,), (3, 3)], {"x_scale": 1.0, "x_zero": 0}, "wrong type"),
        ("Linear", [(2, 8)], [(8, 3), (3,), (3,)], {"x_scale": 1.0, "x_zero": 256}, "no byte"),
        ("Norm", [(2, 8)], [(8,), (8,), (8,)], {"epsilon": 1.0, "out_zero": 0}, "multiple of 16"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(kind, inputs, constants, attributes, reason):
    fed = [np.zeros(shape, "float32" if kind == "Norm" else "uint8") for shape in inputs]
    weights = [np.zeros(shape, "int8" if len(shape) == 2 else "float32") for shape in constants]
    with pytest.raises(Exception, match=reason):
        operator(kind, fed, weights, ["float32", "uint8"][: 1 + (kind == "Norm")], **attributes)


@pytest.mark.slow
def test_the_operators_pass_their_tests_under_sanitizers(tmp_path):
    tests = str(Path(__file__))
    run_sanitized(tmp_path, "authorid.encoder._fused", SOURCE, "address,undefined", tests, "-k", "not sanitizers")
