"""From trained weights to an ONNX graph: one source, two dialects.

``onnxruntime-cpu`` is made of the kernels that the stock CPU provider of onnxruntime runs fast, ``openvino`` of plain
ops that OpenVINO understands and fuses by itself. The graph has one input, ``input_ids`` int32 [batch, sequence], and
one output, ``logits`` float32 [batch, authors]. All windows of a batch must have the same length, at least
`MIN_LENGTH` tokens: there is no mask anywhere.

**Two promises** of ``onnxruntime-cpu``. *Batch invariance*: the logits of a window are the same to the last bit
whatever its neighbours, whatever the batch size and the number of intra-op threads. A float32 matrix product with a
single row may take another code path than one with several, so the head always sees two rows or more. *No surprises in
the optimizer*: additions are written ``Sum``, not ``Add``, because at its default level onnxruntime fuses Add +
LayerNormalization into SkipLayerNormalization and Add + Gelu into BiasGelu, which are four and twice as slow as the
parts.

What one layer costs in nodes: see `layer_nodes`. Everything else is in `EMBEDDING_NODES` and `HEAD_NODES`.

**INT8** means, for ``onnxruntime-cpu``: every matmul of the encoder is U8 x S8 -> float32 in one MatMulIntegerToFloat
(bias inside), activations quantized with one static scale each (from `authorid.export.quantize.calibration`), weights with one
scale a column (see `quantize_columns`); the token table is int8 with one scale a row. Norms, GELU, attention and the
head stay float32.

**What stays in the cache is fast.** Tokens come first, states are [s, b, width], so that attention is two FusedMatMul
that read their heads where the projections wrote them: nothing is transposed but the context, and that in 8 bits. The
inner layer of the feed-forward part goes strip by strip (`STRIP` neurons: matmul, GELU, quantization), so that what is
float32 of it never leaves the core's L2.

**OpenVINO** gets the same numbers in other words: attention as MatMul, Softmax, MatMul, and INT8 as MatMul of an
activation that went through QuantizeLinear and DequantizeLinear and of dequantized weights, which OpenVINO computes in
integers. Weights, scales and zero points are the same to the bit, so the two dialects can share one file
(`authorid.export.graph.sharing`); the strips are put together again by a Concat of constants, which OpenVINO does once, when
it loads the graph. The zero points of activations cost nothing, OpenVINO folds them into the bias; ranges symmetric
around zero would waste nearly half of the steps behind GELU and double the error. Nothing is promised about batches:
OpenVINO picks its kernels by shape, so the engine tries whether they change a bit before it hands over any.

Measurements behind these choices: docs/research/performance.md.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError, require
from authorid.export.encoder_weights import Dense, EncoderWeights, Floats, GeluKind, Norm

__all__ = [
    "CPU",
    "EMBEDDING_NODES",
    "HEAD_NODES",
    "METADATA_DIALECT",
    "MIN_LENGTH",
    "OPENVINO",
    "STRIP",
    "Dialect",
    "Precision",
    "Range",
    "Ranges",
    "activation_scale",
    "emit",
    "layer_nodes",
    "quantize_columns",
    "quantize_rows",
    "sites",
    "strips",
]

Precision = Literal["fp32", "int8"]

Dialect = Literal["onnxruntime-cpu", "openvino"]

CPU: Dialect = "onnxruntime-cpu"
OPENVINO: Dialect = "openvino"


@dataclass(frozen=True, slots=True)
class Range:
    """Values that a matmul input takes: `low` to `high`, after division by `divisor` [channels] if there is one.

    A divisor costs one Mul node, or nothing where an input is quantized strip by strip and all channels of a strip are
    divided alike; the rows of the weights that meet the input are multiplied by it in turn. What lies outside the range
    saturates.
    """

    low: float
    high: float
    divisor: Floats | None = None


Ranges = Mapping[str, Range]
"""Matmul input (a name from `sites`) -> its range."""

METADATA_DIALECT = "authorid.dialect"
"""Metadata key of emitted graphs; its value is their dialect."""

MIN_LENGTH = 3
"""Fewest tokens in a window: ``[CLS] token [SEP]``. Half of them are two rows still."""

STRIP = 384
"""Neurons of the inner layer that are computed together in INT8: 512 tokens of them are 0.8 MB in float32."""

_EMBEDDING = {"Gather": 1, "Shape": 1, "Slice": 1, "Sum": 1, "LayerNormalization": 1}

EMBEDDING_NODES: Mapping[tuple[Dialect, Precision], Mapping[str, int]] = {
    (CPU, "fp32"): {**_EMBEDDING, "Transpose": 1},
    (CPU, "int8"): {**_EMBEDDING, "Transpose": 1, "Gather": 2, "Cast": 1, "Mul": 1},
    (OPENVINO, "fp32"): _EMBEDDING,
    (OPENVINO, "int8"): {**_EMBEDDING, "Cast": 1, "Mul": 1},
}
"""Nodes before the first layer. Cast and Mul make int8 float32 (see `looked_up`); what is transposed are the ids."""

HEAD_NODES: Mapping[str, Mapping[str, int]] = {
    "mean": {"ReduceMean": 1, "Concat": 1, "MatMul": 1, "Sum": 1, "Split": 1},
    "first": {"MatMul": 1, "Sum": 1, "Gather": 1},
}
"""Nodes after the last layer, by pooling. A hidden layer adds a MatMul, a Sum and its activation."""


def layer_nodes(dialect: Dialect, precision: Precision, inner: int) -> dict[str, int]:
    """Nodes of one layer with `inner` neurons between its feed-forward matmuls.

    One Mul more for each range with a divisor. The last layer of a ``first`` pooling has one Gather more (two in INT8):
    from there on only the first two tokens are computed. So has the layer in which every second token is left out, a
    Slice, unless it is that last one.
    """
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


def strips(inner: int) -> list[slice]:
    """The neurons of an inner layer, `STRIP` by `STRIP`; the last strip has what is left."""
    edges = [STRIP * number for number in range(max(1, inner // STRIP))] + [inner]
    return [slice(start, stop) for start, stop in pairwise(edges)]


Kept = Literal["all", "every second", "first two"]
"""Of which tokens a layer goes on."""

_MICROSOFT = "com.microsoft"
_OPSET = 20
_IR = 10


def sites(weights: EncoderWeights) -> list[str]:
    """Names of the matmul inputs whose range INT8 needs: four for each layer."""
    return [
        f"layer_{i}/{place}"
        for i in range(len(weights.layers))
        for place in ("input", "attention", "ffn_input", "ffn_inner")
    ]


def activation_scale(low: float, high: float) -> tuple[np.float32, np.uint8]:
    """Scale and zero point that map [low, high], widened to hold 0, onto 0...255."""
    low, high = min(low, 0.0), max(high, 0.0)
    scale = np.float32((high - low) / 255) if high > low else np.float32(1)
    return scale, np.uint8(np.clip(np.rint(-low / scale), 0, 255))


def quantize_columns(kernel: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Symmetric int8 with one scale a column: [k, n] float32 -> [k, n] int8, [n] float32.

    CPUs with AVX2 or AVX-512 but without VNNI add the products u8 x s8 of rows 2i and 2i + 1 in 16 bits, with
    saturation (vpmaddubsw). So scales are such that two neighbours of one sign add up to 128 at most: 255 * 128 fits.
    Steps get a quarter coarser, and the integer part of an answer is the same on every CPU.
    """
    padded = np.pad(kernel, ((0, len(kernel) % 2), (0, 0)))
    even, odd = padded[0::2], padded[1::2]
    up = np.maximum(even, 0) + np.maximum(odd, 0)
    down = np.minimum(even, 0) + np.minimum(odd, 0)
    # 127, not 128: rounding may add half a step to each of the two.
    scales: Floats = (np.maximum(up.max(axis=0), -down.min(axis=0)) / np.float32(127)).astype(np.float32)
    scales[scales == 0] = 1
    return np.rint(kernel / scales).astype(np.int8), scales


def quantize_rows(table: Floats) -> tuple[npt.NDArray[np.int8], Floats]:
    """Symmetric int8 with one scale a row: [v, h] float32 -> [v, h] int8, [v] float32."""
    scales: Floats = (np.abs(table).max(axis=1) / np.float32(127)).astype(np.float32)
    scales[scales == 0] = 1
    return np.rint(table / scales[:, None]).astype(np.int8), scales


def emit(
    weights: EncoderWeights,
    precision: Precision = "fp32",
    ranges: Ranges | None = None,
    *,
    dialect: Dialect = CPU,
    observe: bool = False,
) -> bytes:
    """Write the graph and return it as one serialized ONNX model, weights inside.

    `ranges` gives, for INT8, the range of every matmul input (`sites`); zero is always made part of it. With `observe`
    (float32 only) the graph has one more output for each site, named after it: the matmul input itself, float32
    [s, b, channels]. That is how ranges are found. Raises `ExportError` when ranges are missing or not finite.
    """
    if precision == "int8":
        if observe:
            raise ExportError("only the float32 graph can be observed")
        _check_ranges(weights, ranges)
    kind = _OpenVINOGraph if dialect == OPENVINO else _Graph
    graph = kind(precision=precision, ranges=ranges or {}, observe=observe)
    states = _embeddings(graph, weights)
    for index in range(len(weights.layers)):
        states = _layer(graph, weights, index, states)
    _head(graph, weights, states)
    return graph.serialize(weights)


def _check_ranges(weights: EncoderWeights, ranges: Ranges | None) -> None:
    missing = [site for site in sites(weights) if site not in (ranges or {})]
    if missing:
        raise ExportError(f"INT8 needs a calibrated range for every matmul input; missing: {', '.join(missing)}")
    for site, span in (ranges or {}).items():
        if not (np.isfinite(span.low) and np.isfinite(span.high) and span.low <= span.high):
            raise ExportError(f"calibrated range of {site} is not usable: {span.low} to {span.high}")


@dataclass
class _Graph:
    """Nodes and constants as they are written, in the dialect of onnxruntime's CPU provider; values go by name."""

    dialect: ClassVar[Dialect] = CPU
    opsets: ClassVar[Mapping[str, int]] = {"": _OPSET, _MICROSOFT: 1}
    token_axis: ClassVar[int] = 0

    precision: Precision
    ranges: Ranges
    observe: bool
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    observed: list[str] = field(default_factory=list)

    def op(self, kind: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """Append a node; its first output has its `name`."""
        helper = require("onnx.helper", "train")
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def const(self, name: str, value: Any, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant, stored once under `name`."""
        if name not in self.constants:
            numpy_helper = require("onnx.numpy_helper", "train")
            array = np.ascontiguousarray(value, dtype=dtype)
            self.constants[name] = numpy_helper.from_array(array.reshape(np.shape(value)), name)
        return name

    def ids(self) -> str:
        """The token ids, with tokens on `token_axis`."""
        return self.op("Transpose", ["input_ids"], "tokens_first", perm=[1, 0])

    def looked_up(self, ids: str, table: str, scales: str) -> str:
        """Rows float32 of the int8 `table` [v, h], which has `scales` [v, 1].

        Row by row: made float32 as a whole, it would take four times the memory, and most of the time to load a graph.
        """
        rows = self.op("Cast", [self.op("Gather", [table, ids], "tokens/rows")], "tokens/floats", to=1)
        return self.op("Mul", [rows, self.op("Gather", [scales, ids], "tokens/steps")], "tokens")

    def some(self, x: str, kept: Kept, name: str) -> str:
        """Some of the tokens of `x`."""
        if kept == "first two":
            return self.op("Gather", [x, self.const("first_two", [0, 1], np.int64)], name, axis=self.token_axis)
        ends = self.const("zero", [0], np.int64), self.const("end", [np.iinfo(np.int64).max], np.int64)
        along, step = self.const("token_axis", [self.token_axis], np.int64), self.const("second", [2], np.int64)
        return self.op("Slice", [x, *ends, along, step], name)

    def matmul_input(self, x: str, site: str) -> str:
        """Make float32 `x` ready to enter the matmuls of `site`."""
        if self.observe:
            self.observed.append(self.op("Identity", [x], site))
        if self.precision == "fp32":
            return x
        divisor = self.ranges[site].divisor
        if divisor is not None:
            x = self.op("Mul", [x, self.const(f"{site}/factor", 1 / divisor)], f"{site}/divided")
        return self.quantized(x, site, f"{site}/quantized")

    def linear(self, x: str, dense: Dense, name: str, site: str = "") -> str:
        """``x @ kernel + bias`` for an `x` from `matmul_input` of `site`; in float32 when no site is given."""
        if self.precision == "fp32" or not site:
            return self.product(x, self.const(f"{name}/kernel", dense.kernel), dense, name)
        kernel, scales = self.integers(dense, site)
        weights = self.const(f"{name}/kernel", kernel, np.int8), self.const(f"{name}/scales", scales)
        return self.quantized_product(x, *weights, dense, name, site)

    def integers(self, dense: Dense, site: str) -> tuple[npt.NDArray[np.int8], Floats]:
        """The kernel that meets the matmul input of `site` in INT8, divisor multiplied in: int8 [k, n], float32 [n]."""
        divisor = self.ranges[site].divisor
        kernel = dense.kernel if divisor is None else dense.kernel * divisor[:, None]
        if dense.scales is None:
            return quantize_columns(kernel)
        return np.rint(kernel / dense.scales).astype(np.int8), dense.scales

    def hidden(self, x: str, dense: Dense, gelu: GeluKind, name: str, sites: tuple[str, str]) -> str:
        """GELU of ``x @ kernel + bias``: from the matmul input of the first of two `sites` to that of the second."""
        if self.precision == "fp32":
            return self.matmul_input(self.gelu(self.linear(x, dense, name, sites[0]), gelu, f"{name}/gelu"), sites[1])
        parts = []
        for number, columns in enumerate(cut := strips(dense.kernel.shape[1])):
            own = f"{name}/{number}" if len(cut) > 1 else name
            y = self.gelu(self.linear(x, dense.columns(columns), own, sites[0]), gelu, f"{own}/gelu")
            divisor = self.ranges[sites[1]].divisor
            share = 1.0 if divisor is None else float(divisor[columns][0])
            if divisor is not None and (divisor[columns] != share).any():
                y, share = self.op("Mul", [y, self.const(f"{own}/factor", 1 / divisor[columns])], f"{own}/divided"), 1.0
            parts.append(self.quantized(y, sites[1], f"{own}/quantized", share))
        return parts[0] if len(parts) == 1 else self.op("Concat", parts, f"{name}/quantized", axis=-1)

    def gelu(self, x: str, kind: GeluKind, name: str) -> str:
        """The activation."""
        return self.op("Gelu", [x], name, approximate="tanh" if kind == "tanh" else "none")

    def product(self, x: str, kernel: str, dense: Dense, name: str) -> str:
        """``x @ kernel + bias`` in float32."""
        product = self.op("MatMul", [x, kernel], f"{name}/product")
        return self.op("Sum", [product, self.const(f"{name}/bias", dense.bias)], name)

    def quantized(self, x: str, site: str, name: str, share: float = 1.0) -> str:
        """Quantize the float32 matmul input `x`, or a part of it that was to be divided by `share`."""
        scale, zero = self._scale(site)
        if share != 1:
            full, _ = activation_scale(self.ranges[site].low, self.ranges[site].high)
            scale = self.const(f"{name}/scale", full * np.float32(share))
        return self.op("QuantizeLinear", [x, scale, zero], name)

    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, site: str) -> str:
        """``x @ kernel + bias`` for an `x` from `quantized`; float32 again."""
        scale, zero = self._scale(site)
        operands = [x, kernel, scale, scales, zero, "", self.const(f"{name}/bias", dense.bias)]
        return self.op("MatMulIntegerToFloat", operands, name, domain=_MICROSOFT)

    def attention(self, queries: str, keys: str, values: str, heads: int, width: int, name: str, site: str) -> str:
        """Attention without a mask: queries [t, b, width], keys and values [s, b, width] -> matmul input of `site`."""
        split = self.const("split_heads", [0, 0, heads, width // heads], np.int64)
        parts = {"q": queries, "k": keys, "v": values}
        q, k, v = (self.op("Reshape", [x, split], f"{name}/{part}") for part, x in parts.items())
        # [t, b, heads, d] and [s, b, heads, d], read as [b, heads, t, d] and [b, heads, d, s]
        flags = {"transBatchA": 1, "transBatchB": 1, "transB": 1, "alpha": (width // heads) ** -0.5}
        scores = self.op("FusedMatMul", [q, k], f"{name}/scores", domain=_MICROSOFT, **flags)
        shares = self.op("Softmax", [scores], f"{name}/shares", axis=-1)
        mixed = self.op("FusedMatMul", [shares, v], f"{name}/mixed", domain=_MICROSOFT, transBatchB=1)
        if self.precision == "int8" and self.ranges[site].divisor is None:
            return self._join(self.quantized(mixed, site, f"{site}/quantized"), width, name)
        return self.matmul_input(self._join(mixed, width, name), site)

    def _join(self, x: str, width: int, name: str) -> str:
        """[b, heads, t, d] -> [t, b, width]."""
        joined = self.op("Transpose", [x], f"{name}/joined", perm=[2, 0, 1, 3])
        return self.op("Reshape", [joined, self.const("join_heads", [0, 0, width], np.int64)], name)

    def norm(self, x: str, norm: Norm, name: str, epsilon: float) -> str:
        """Layer normalisation over the last axis."""
        operands = [x, self.const(f"{name}/gamma", norm.gamma), self.const(f"{name}/beta", norm.beta)]
        return self.op("LayerNormalization", operands, name, axis=-1, epsilon=epsilon)

    def _scale(self, site: str) -> tuple[str, str]:
        scale, zero = activation_scale(self.ranges[site].low, self.ranges[site].high)
        return self.const(f"{site}/scale", scale), self.const(f"{site}/zero_point", zero, np.uint8)

    def serialize(self, weights: EncoderWeights) -> bytes:
        """The finished model as bytes."""
        helper, onnx = require("onnx.helper", "train"), require("onnx", "train")
        ids = helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT32, ["batch", "sequence"])
        outputs = [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", weights.authors])]
        outputs += [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in self.observed]
        graph = helper.make_graph(self.nodes, "authorid", [ids], outputs, list(self.constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.opsets.items()],
            ir_version=_IR,
            producer_name="authorid",
        )
        helper.set_model_props(model, {METADATA_DIALECT: self.dialect, "authorid.precision": self.precision})
        return bytes(model.SerializeToString(deterministic=True))


@dataclass
class _OpenVINOGraph(_Graph):
    """The same in plain ops."""

    dialect: ClassVar[Dialect] = OPENVINO
    opsets: ClassVar[Mapping[str, int]] = {"": _OPSET}
    token_axis: ClassVar[int] = 1

    def ids(self) -> str:
        """As they come."""
        return "input_ids"

    def looked_up(self, ids: str, table: str, scales: str) -> str:
        """From the whole table in float32, which OpenVINO makes when it loads the graph: its lookup of int8 is slow."""
        rows = self.op("Cast", [table], "tokens/rows", to=1)
        return self.op("Gather", [self.op("Mul", [rows, scales], "tokens/floats"), ids], "tokens")

    def quantized(self, x: str, site: str, name: str, share: float = 1.0) -> str:
        """Quantize and dequantize `x`: OpenVINO moves the two to where they cost least."""
        return self.op(
            "DequantizeLinear", [super().quantized(x, site, name, share), *self._scale(site)], f"{name}/float"
        )

    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, site: str) -> str:
        """The float32 product of two dequantized matrices, which OpenVINO computes in integers."""
        dequantized = self.op("DequantizeLinear", [kernel, scales], f"{name}/dequantized", axis=1)
        return self.product(x, dequantized, dense, name)

    def hidden(self, x: str, dense: Dense, gelu: GeluKind, name: str, sites: tuple[str, str]) -> str:
        """In one piece; only its integers come as strips, to be the same tensors as in the other dialect."""
        cut = strips(dense.kernel.shape[1])
        if self.precision == "fp32" or len(cut) == 1:
            y = self.linear(x, dense, name, sites[0])
        else:
            integers, scales = self.integers(dense, sites[0])
            stored = [
                self.const(f"{name}/{number}/kernel", integers[:, columns], np.int8)
                for number, columns in enumerate(cut)
            ]
            kernel = self.op("Concat", stored, f"{name}/kernel", axis=1)
            y = self.quantized_product(x, kernel, self.const(f"{name}/scales", scales), dense, name, sites[0])
        return self.matmul_input(self.gelu(y, gelu, f"{name}/gelu"), sites[1])

    def gelu(self, x: str, kind: GeluKind, name: str) -> str:
        """In INT8 always the exact one, which OpenVINO computes faster: the two are 0.0005 apart, steps are 0.02."""
        return super().gelu(x, kind if self.precision == "fp32" else "erf", name)

    def attention(self, queries: str, keys: str, values: str, heads: int, width: int, name: str, site: str) -> str:
        """The parts that OpenVINO fuses again; tokens are on axis 1.

        It takes the transpositions by head into the fused kernel, and that of the keys too if that is a second one.
        """
        split = self.const("split_heads", [0, 0, heads, width // heads], np.int64)

        def by_head(x: str, part: str, *order: int) -> str:
            x = self.op("Reshape", [x, split], f"{name}/{part}_split")
            return self.op("Transpose", [x], f"{name}/{part}", perm=order)

        transposed = self.op("Transpose", [by_head(keys, "k", 0, 2, 1, 3)], f"{name}/k_transposed", perm=(0, 1, 3, 2))
        scores = self.op("MatMul", [by_head(queries, "q", 0, 2, 1, 3), transposed], f"{name}/scores")
        scale = self.const("attention_scale", (width // heads) ** -0.5)
        shares = self.op("Softmax", [self.op("Mul", [scores, scale], f"{name}/scaled")], f"{name}/shares", axis=-1)
        mixed = self.op("MatMul", [shares, by_head(values, "v", 0, 2, 1, 3)], f"{name}/mixed")
        joined = self.op("Transpose", [mixed], f"{name}/joined", perm=[0, 2, 1, 3])
        joined = self.op("Reshape", [joined, self.const("join_heads", [0, 0, width], np.int64)], name)
        return self.matmul_input(joined, site)


def _embeddings(graph: _Graph, weights: EncoderWeights) -> str:
    """Token ids -> states float32 [s, b, h], or [b, s, h] where tokens are on axis 1."""
    ids = graph.ids()
    if graph.precision == "fp32":
        tokens = graph.op("Gather", [graph.const("tokens/table", weights.token_embedding), ids], "tokens")
    else:
        integers, scales = quantize_rows(weights.token_embedding)
        table = graph.const("tokens/table", integers, np.int8)
        tokens = graph.looked_up(ids, table, graph.const("tokens/scales", scales[:, None]))
    length = graph.op("Shape", ["input_ids"], "length", start=1, end=2)
    axis = graph.token_axis
    places = graph.const("positions/table", np.expand_dims(weights.position_embedding, 1 - axis))
    zero, along = graph.const("zero", [0], np.int64), graph.const("token_axis", [axis], np.int64)
    positions = graph.op("Slice", [places, zero, length, along], "positions")
    summed = graph.op("Sum", [tokens, positions], "embeddings/sum")
    return graph.norm(summed, weights.embedding_norm, "embeddings/norm", weights.epsilon)


def _kept(weights: EncoderWeights, index: int) -> Kept:
    """Of which of its tokens a layer computes the states."""
    if index == len(weights.layers) - 1 and weights.head.pooling == "first":
        return "first two"
    return "every second" if index == weights.halved else "all"


def _layer(graph: _Graph, weights: EncoderWeights, index: int, x: str) -> str:
    """One transformer layer: states of its tokens, or of those that are used from there on (`_kept`)."""
    layer, name = weights.layers[index], f"layer_{index}"
    states = graph.matmul_input(x, f"{name}/input")
    keys = graph.linear(states, layer.k, f"{name}/k", f"{name}/input")
    values = graph.linear(states, layer.v, f"{name}/v", f"{name}/input")
    kept = _kept(weights, index)
    if kept != "all":
        quantized = states != x
        rows = graph.some(x, kept, f"{name}/{kept}")
        states = graph.some(states, kept, f"{name}/input/{kept}") if quantized else rows
        x = rows
    queries = graph.linear(states, layer.q, f"{name}/q", f"{name}/input")
    y = graph.attention(queries, keys, values, weights.heads, weights.width, f"{name}/context", f"{name}/attention")
    y = graph.linear(y, layer.attention_output, f"{name}/attention_output", f"{name}/attention")
    y = graph.op("Sum", [x, y], f"{name}/attention_residual")
    x = graph.norm(y, layer.attention_norm, f"{name}/attention_norm", weights.epsilon)
    y = graph.matmul_input(x, f"{name}/ffn_input")
    y = graph.hidden(y, layer.ffn_inner, weights.gelu, f"{name}/ffn", (f"{name}/ffn_input", f"{name}/ffn_inner"))
    y = graph.linear(y, layer.ffn_output, f"{name}/ffn_output", f"{name}/ffn_inner")
    y = graph.op("Sum", [x, y], f"{name}/ffn_residual")
    return graph.norm(y, layer.ffn_norm, f"{name}/ffn_norm", weights.epsilon)


def _head(graph: _Graph, weights: EncoderWeights, x: str) -> None:
    """States -> logits [b, authors]. Between them are always two rows or more, of which the first half counts."""
    head, axis = weights.head, graph.token_axis
    if head.pooling == "mean":
        mean = graph.op("ReduceMean", [x, graph.const("token_axis", [axis], np.int64)], "pooling", keepdims=0)
        x = graph.op("Concat", [mean, mean], "pooling/twice", axis=0)
    if head.hidden is not None:
        x = graph.linear(x, head.hidden, "head_hidden")
        x = graph.op("Relu" if head.activation == "relu" else "Tanh", [x], "head_hidden/activation")
    x = graph.linear(x, head.logits, "head_logits")
    if head.pooling == "mean":
        helper = require("onnx.helper", "train")
        graph.nodes.append(
            helper.make_node("Split", [x], ["logits", "logits/again"], name="logits", axis=0, num_outputs=2)
        )
    else:
        graph.op("Gather", [x, graph.const("first", 0, np.int64)], "logits", axis=axis)
