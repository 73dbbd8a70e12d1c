"""The parts of an ONNX graph that all dialects share: nodes, constants, dense layers, serialization.

The graph has one output, ``logits`` float32 [batch, classes], and one of two interfaces:

- *windows*: the input ``window_ids`` int32 [batch, sequence]. All windows of a batch must have the same length, at
  least three tokens (``[CLS] token [SEP]``): there is no attention mask. The name is not Hugging Face's, so that no
  other tool takes the graph for one that may be padded.
- *padding*: Hugging Face's int64 inputs ``input_ids``, ``attention_mask`` and, where there is a segment table,
  ``token_type_ids``. Tokens whose mask is 0 have no effect on the others.

A dialect is a subclass of `GraphBuilder` that chooses the operators for token lookup, attention, the inner layer of the
feed-forward part and quantized products. `authorid.export.graph.emit` walks through the encoder with it.

Additions are written ``Sum``, not ``Add``. At its default level onnxruntime fuses Add + LayerNormalization into
SkipLayerNormalization and Add + Gelu into BiasGelu, which are four times and twice as slow as their parts.
Measurements behind this and other choices: docs/research/performance.md.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Precision
from authorid.encoder.session import WINDOW_INPUT
from authorid.errors import require
from authorid.export.encoder_weights import Dense, EncoderWeights, Norm
from authorid.export.graph.int8 import Ranges, activation_scale, quantize_kernel
from authorid.export.graph.onnx_graph import OnnxGraph, tensor_message

__all__ = ["CPU", "FUSED", "METADATA_DIALECT", "OPENVINO", "OPSET", "Dialect", "GraphBuilder", "TokenSubset"]

Dialect = Literal["onnxruntime-cpu", "openvino", "authorid"]

CPU: Dialect = "onnxruntime-cpu"
OPENVINO: Dialect = "openvino"
FUSED: Dialect = "authorid"

METADATA_DIALECT = "authorid.dialect"
"""Metadata key of emitted graphs; its value is their dialect."""

TokenSubset = Literal["all", "every second", "first two"]
"""The tokens whose states a layer computes."""

OPSET = 20
_IR_VERSION = 10

_MASKED = float(np.finfo(np.float32).min)
"""Added to the attention scores of padding: its share becomes exactly 0."""


@dataclass
class GraphBuilder(ABC):
    """Collects the nodes and constants of one graph. Values are known by name; methods return the name of their result.

    `ranges` has the range of every matmul input and is used in INT8 only. With `observe` the graph gets every matmul
    input as an additional output. With `padding` it has the interface for padded batches. `mask` and `present` are then
    names: what is added to attention scores, float32 [b, 1, 1, s], and 1 or 0 for each token, float32 [b, s].
    """

    dialect: ClassVar[Dialect]
    opsets: ClassVar[Mapping[str, int]]
    token_axis: ClassVar[int]
    """The axis of states that counts tokens; the other one of the first two counts windows."""

    weights: EncoderWeights
    precision: Precision
    ranges: Ranges
    observe: bool
    padding: bool = False
    mask: str = ""
    present: str = ""
    nodes: list[Any] = field(default_factory=list)
    constants: dict[str, Any] = field(default_factory=dict)
    tensors: dict[str, npt.NDArray[Any]] = field(default_factory=dict)
    observed: list[str] = field(default_factory=list)

    @abstractmethod
    def tokens_on_axis(self, x: str, name: str) -> str:
        """The input `x` [b, s], with tokens on `token_axis`."""

    @abstractmethod
    def look_up(self, ids: str, table: str, scales: str) -> str:
        """Rows of the int8 `table` [v, h], which has `scales` [v, 1], as float32."""

    @abstractmethod
    def hidden(self, x: str, dense: Dense, name: str, activations: tuple[str, str]) -> str:
        """GELU of ``x @ kernel + bias``: from the first of two `activations` (matmul inputs) to the second."""

    @abstractmethod
    def quantized_product(self, x: str, kernel: str, scales: str, dense: Dense, name: str, activation: str) -> str:
        """``x @ kernel + bias`` in float32, for an `x` from `quantize` and an int8 `kernel` with its `scales`."""

    @abstractmethod
    def attention(self, queries: str, keys: str, values: str, name: str, activation: str) -> str:
        """Attention without a mask, for queries of t tokens and keys and values of s: the next matmul input."""

    def input_names(self) -> list[str]:
        """Names of the inputs: the token ids, then the others."""
        if not self.padding:
            return [WINDOW_INPUT]
        return ["input_ids", "attention_mask", *(["token_type_ids"] if self.weights.segments is not None else [])]

    def op(self, kind: str, inputs: Sequence[str], name: str, *, domain: str = "", **attributes: Any) -> str:
        """Append a node called `name`; its first output has the same name."""
        helper = require("onnx.helper", "train")
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=name, domain=domain, **attributes))
        return name

    def const(self, name: str, value: Any, dtype: npt.DTypeLike = np.float32) -> str:
        """A constant, stored once under `name`."""
        if name not in self.constants:
            array = np.ascontiguousarray(value, dtype=dtype).reshape(np.shape(value))
            self.constants[name] = tensor_message(name, array, self.tensors)
        return name

    def select_tokens(self, x: str, subset: TokenSubset, name: str) -> str:
        """The states of a `subset` of the tokens of `x`."""
        if subset == "first two":
            return self.op("Gather", [x, self.const("first_two", [0, 1], np.int64)], name, axis=self.token_axis)
        return self._every_second(x, self.const("token_axis", [self.token_axis], np.int64), name)

    def _every_second(self, x: str, along: str, name: str) -> str:
        ends = self.const("zero", [0], np.int64), self.const("end", [np.iinfo(np.int64).max], np.int64)
        return self.op("Slice", [x, *ends, along, self.const("second", [2], np.int64)], name)

    def read_mask(self) -> None:
        """Find out which tokens are padding; without `padding`, none are."""
        if self.padding:
            self.present = self.op("Cast", ["attention_mask"], "present", to=1)
            self._mask_scores("mask")

    def halve_mask(self) -> None:
        """From now on only every second token is there."""
        if self.padding:
            self.present = self._every_second(self.present, self.const("one", [1], np.int64), "present/halved")
            self._mask_scores("mask/halved")

    def _mask_scores(self, name: str) -> None:
        absent = self.op("Sub", [self.const("all_present", 1.0), self.present], f"{name}/absent")
        lowest = self.op("Mul", [absent, self.const("lowest", _MASKED)], f"{name}/lowest")
        self.mask = self.op("Unsqueeze", [lowest, self.const("heads_and_queries", [1, 2], np.int64)], name)

    def masked(self, scores: str, name: str) -> str:
        """Attention `scores` [b, heads, t, s], as low as can be where the key is padding."""
        return self.op("Sum", [scores, self.mask], f"{name}/masked") if self.mask else scores

    def mean_of_tokens(self, x: str, name: str) -> str:
        """The mean of the values `x` of all tokens but padding: [b, channels]."""
        axis = self.const("token_axis", [self.token_axis], np.int64)
        if not self.padding:
            return self.op("ReduceMean", [x, axis], name, keepdims=0)
        present = self.tokens_on_axis(self.present, f"{name}/present")
        shares = self.op("Unsqueeze", [present, self.const("last_axis", [-1], np.int64)], f"{name}/shares")
        total = self.op("ReduceSum", [self.op("Mul", [x, shares], f"{name}/kept"), axis], f"{name}/total", keepdims=0)
        count = self.op("ReduceSum", [shares, axis], f"{name}/count", keepdims=0)
        return self.op("Div", [total, count], name)

    def mean_and_deviation(self, x: str, name: str, epsilon: float) -> tuple[str, str]:
        """Mean and standard deviation of the values `x` over all tokens but padding, both [b, channels].

        The deviation is the root of the mean square, less the square of the mean, plus `epsilon`.
        """
        mean = self.mean_of_tokens(x, f"{name}/mean")
        square = self.mean_of_tokens(self.op("Mul", [x, x], f"{name}/square"), f"{name}/mean_square")
        excess = self.op("Sub", [square, self.op("Mul", [mean, mean], f"{name}/square_mean")], f"{name}/excess")
        variance = self.op("Sum", [self.op("Relu", [excess], f"{name}/variance"), self.const("epsilon", epsilon)], name)
        return mean, self.op("Sqrt", [variance], f"{name}/deviation")

    def matmul_input(self, x: str, activation: str) -> str:
        """Prepare float32 `x` to enter the matmuls that read `activation`; in INT8 that quantizes it."""
        if self.observe:
            self.observed.append(self.op("Identity", [x], activation))
        if self.precision == "fp32":
            return x
        divisor = self.ranges[activation].divisor
        if divisor is not None:
            x = self.op("Mul", [x, self.const(f"{activation}/factor", 1 / divisor)], f"{activation}/divided")
        return self.quantize(x, activation, f"{activation}/quantized")

    def quantize(self, x: str, activation: str, name: str, divisor: float = 1.0) -> str:
        """Quantize float32 `x`, which is `activation` or a part of it that is still to be divided by `divisor`."""
        scale, zero = self.scale_and_zero(activation)
        if divisor != 1:
            full, _ = activation_scale(self.ranges[activation].low, self.ranges[activation].high)
            scale = self.const(f"{name}/scale", full * np.float32(divisor))
        return self.op("QuantizeLinear", [x, scale, zero], name)

    def scale_and_zero(self, activation: str) -> tuple[str, str]:
        """Constants: the scale and the zero point of a matmul input."""
        scale, zero = activation_scale(self.ranges[activation].low, self.ranges[activation].high)
        return self.const(f"{activation}/scale", scale), self.const(f"{activation}/zero_point", zero, np.uint8)

    def linear(self, x: str, dense: Dense, name: str, activation: str = "") -> str:
        """``x @ kernel + bias`` for an `x` from `matmul_input`; always in float32 when no `activation` is given."""
        if self.precision == "fp32" or not activation:
            return self.product(x, self.const(f"{name}/kernel", dense.kernel), dense, name)
        kernel, scales = quantize_kernel(dense, self.ranges[activation])
        integers = self.const(f"{name}/kernel", kernel, np.int8)
        return self.quantized_product(x, integers, self.const(f"{name}/scales", scales), dense, name, activation)

    def product(self, x: str, kernel: str, dense: Dense, name: str) -> str:
        """``x @ kernel + bias`` in float32."""
        product = self.op("MatMul", [x, kernel], f"{name}/product")
        return self.op("Sum", [product, self.const(f"{name}/bias", dense.bias)], name)

    def gelu(self, x: str, name: str) -> str:
        """GELU of the kind that the encoder was trained with."""
        return self.op("Gelu", [x], name, approximate="tanh" if self.weights.gelu == "tanh" else "none")

    def normalized(self, parts: Sequence[str], norm: Norm, name: str, activation: str | None) -> tuple[str, str]:
        """The normalized sum of `parts`: in float32, and as the matmul input `activation` if there is one."""
        total = self.op("Sum", parts, f"{name}_residual") if len(parts) > 1 else parts[0]
        x = self.norm(total, norm, f"{name}_norm")
        return x, x if activation is None else self.matmul_input(x, activation)

    def norm(self, x: str, norm: Norm, name: str) -> str:
        """Layer normalisation over the last axis."""
        operands = [x, self.const(f"{name}/gamma", norm.gamma), self.const(f"{name}/beta", norm.beta)]
        return self.op("LayerNormalization", operands, name, axis=-1, epsilon=self.weights.epsilon)

    def split_heads(self) -> str:
        """Constant: the shape that divides the last axis into heads."""
        return self.const("split_heads", [0, 0, self.weights.heads, self.weights.width // self.weights.heads], np.int64)

    def join_heads(self) -> str:
        """Constant: the shape that puts the heads side by side again."""
        return self.const("join_heads", [0, 0, self.weights.width], np.int64)

    def attention_scale(self) -> float:
        """The factor of the products of queries and keys."""
        return float((self.weights.width // self.weights.heads) ** -0.5)

    def finish(self) -> OnnxGraph:
        """The finished graph; the same nodes and constants give the same bytes."""
        helper, onnx = require("onnx.helper", "train"), require("onnx", "train")
        kind = onnx.TensorProto.INT64 if self.padding else onnx.TensorProto.INT32
        inputs = [helper.make_tensor_value_info(name, kind, ["batch", "sequence"]) for name in self.input_names()]
        outputs = [helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", self.weights.authors])]
        outputs += [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None) for name in self.observed]
        graph = helper.make_graph(self.nodes, "authorid", inputs, outputs, list(self.constants.values()))
        model = helper.make_model(
            graph,
            opset_imports=[helper.make_opsetid(domain, version) for domain, version in self.opsets.items()],
            ir_version=_IR_VERSION,
            producer_name="authorid",
        )
        helper.set_model_props(model, {METADATA_DIALECT: self.dialect, "authorid.precision": self.precision})
        return OnnxGraph(bytes(model.SerializeToString(deterministic=True)), self.tensors)
