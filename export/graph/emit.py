"""From encoder weights to a serialized ONNX graph, in any dialect: embeddings, layers, head."""

from __future__ import annotations

import numpy as np

from authorid.bundle.manifest import Precision
from authorid.errors import ExportError, require
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.graph.builder import CPU, Dialect, GraphBuilder, TokenSubset
from authorid.export.graph.fused_operators import FusedGraphBuilder
from authorid.export.graph.int8 import RANDOM_INPUT, Ranges, check_ranges, quantize_rows
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.graph.openvino import OpenVinoGraphBuilder
from authorid.export.graph.ort import OrtGraphBuilder
from authorid.training.encoder.layer_classifier import EPSILON

__all__ = ["emit"]

_BUILDERS: dict[Dialect, type[GraphBuilder]] = {
    builder.dialect: builder for builder in (OrtGraphBuilder, OpenVinoGraphBuilder, FusedGraphBuilder)
}


def emit(
    weights: EncoderWeights,
    precision: Precision = "fp32",
    ranges: Ranges | None = None,
    *,
    dialect: Dialect = CPU,
    observe: bool = False,
    padding: bool = False,
) -> OnnxGraph:
    """Build the graph of `weights`.

    `ranges` has, for INT8, the range of every matmul input (`activation_names`); each is widened to hold zero. With
    `observe` (float32 only) the graph has one more output for each matmul input, named after it: its values, float32
    [s, b, channels]. Calibration finds the ranges there. With `padding` (float32 only) it has Hugging Face's interface
    (`authorid.export.graph.builder`). Raises `ExportError` when a range is missing or not finite.
    """
    if precision == "int8":
        if observe or padding:
            raise ExportError("only the float32 graph can be observed or take padded batches")
        check_ranges(weights, ranges or {})
    builder = _BUILDERS[dialect](weights, precision, ranges or {}, observe, padding)
    states = [_embeddings(builder)]
    for index in range(len(weights.layers)):
        states.append(_layer(builder, index, *states[-1]))
    if weights.head.pooling == "layers":
        _head(builder, _pooled_layers(builder, [x for x, _ in states]))
    else:
        _head(builder, states[-1][0])
    return builder.finish()


def _embeddings(builder: GraphBuilder) -> tuple[str, str]:
    """Token ids -> states float32 [s, b, h], or [b, s, h] where tokens are on axis 1; and the first matmul input."""
    weights, axis = builder.weights, builder.token_axis
    builder.read_mask()
    names = builder.input_names()
    ids = builder.tokens_on_axis(names[0], "tokens_first")
    if builder.precision == "fp32":
        tokens = builder.op("Gather", [builder.const("tokens/table", weights.token_embedding), ids], "tokens")
    else:
        integers, scales = quantize_rows(weights.token_embedding)
        table = builder.const("tokens/table", integers, np.int8)
        tokens = builder.look_up(ids, table, builder.const("tokens/scales", scales[:, None]))
    length = builder.op("Shape", names[:1], "length", start=1, end=2)
    table = builder.const("positions/table", np.expand_dims(weights.position_embedding, 1 - axis))
    zero, along = builder.const("zero", [0], np.int64), builder.const("token_axis", [axis], np.int64)
    positions = builder.op("Slice", [table, zero, length, along], "positions")
    parts = [tokens, positions]
    if "token_type_ids" in names:
        segments = builder.tokens_on_axis("token_type_ids", "segments_first")
        parts.append(builder.op("Gather", [builder.const("segments/table", weights.segments), segments], "segments"))
    total, first = builder.op("Sum", parts, "embeddings/sum"), "layer_0/input"
    if weights.projection is None:
        return builder.normalized([total], weights.embedding_norm, "embeddings", first)
    states, _ = builder.normalized([total], weights.embedding_norm, "embeddings", None)
    states = builder.linear(states, weights.projection, "embeddings/projection")
    return states, builder.matmul_input(states, first)


def _computed_tokens(weights: EncoderWeights, index: int) -> TokenSubset:
    """The tokens whose states layer `index` computes; later layers see no others."""
    if index == len(weights.layers) - 1 and weights.head.pooling == "first":
        return "first two"
    return "every second" if index == weights.halved else "all"


def _layer(builder: GraphBuilder, index: int, x: str, states: str) -> tuple[str, str]:
    """One transformer layer: from float32 `x`, and `x` as a matmul input, to those that the next layer reads.

    It computes the states of all tokens, or of those that later layers need (`_computed_tokens`).
    """
    layer, name = builder.weights.layers[index], f"layer_{index}"
    keys = builder.linear(states, layer.k, f"{name}/k", f"{name}/input")
    values = builder.linear(states, layer.v, f"{name}/v", f"{name}/input")
    subset = _computed_tokens(builder.weights, index)
    if subset != "all":
        quantized = states != x
        x = builder.select_tokens(x, subset, f"{name}/{subset}")
        states = builder.select_tokens(states, subset, f"{name}/input/{subset}") if quantized else x
    queries = builder.linear(states, layer.q, f"{name}/q", f"{name}/input")
    y = builder.attention(queries, keys, values, f"{name}/context", f"{name}/attention")
    if subset == "every second":
        builder.halve_mask()
    y = builder.linear(y, layer.attention_output, f"{name}/attention_output", f"{name}/attention")
    x, y = builder.normalized([x, y], layer.attention_norm, f"{name}/attention", f"{name}/ffn_input")
    y = builder.hidden(y, layer.ffn_inner, f"{name}/ffn", (f"{name}/ffn_input", f"{name}/ffn_inner"))
    y = builder.linear(y, layer.ffn_output, f"{name}/ffn_output", f"{name}/ffn_inner")
    following = f"layer_{index + 1}/input" if index + 1 < len(builder.weights.layers) else None
    return builder.normalized([x, y], layer.ffn_norm, f"{name}/ffn", following)


def _pooled_layers(builder: GraphBuilder, states: list[str]) -> str:
    """Means and deviations of the `states` that the head reads, and means of random features: [b, size]."""
    head = builder.weights.head
    parts: list[str] = []
    for number in head.states:
        parts += builder.mean_and_deviation(states[number], f"pooling/{number}", EPSILON)
    of_layers = [states[number] for number in head.states if number]
    for number, (state, random) in enumerate(zip(of_layers, head.random, strict=False)):
        name, activation = f"random_{number}", RANDOM_INPUT.format(number)
        x = builder.linear(builder.matmul_input(state, activation), random, name, activation)
        parts.append(builder.mean_of_tokens(builder.op("Relu", [x], f"{name}/activation"), f"pooling/{name}"))
    return builder.op("Concat", parts, "pooling", axis=-1)


def _head(builder: GraphBuilder, x: str) -> None:
    """States, or what was pooled of them, -> logits [b, authors].

    The head computes two rows or more and returns the first half of them.
    """
    head, axis = builder.weights.head, builder.token_axis
    if head.pooling != "first":
        mean = builder.mean_of_tokens(x, "pooling") if head.pooling == "mean" else x
        x = builder.op("Concat", [mean, mean], "pooling/twice", axis=0)
    if head.hidden is not None:
        x = builder.linear(x, head.hidden, "head_hidden")
        operator = {"relu": "Relu", "tanh": "Tanh", "gelu": "Gelu", None: "Identity"}[head.activation]
        x = builder.op(operator, [x], "head_hidden/activation")
    x = builder.linear(x, head.logits, "head_logits")
    if head.pooling != "first":
        helper = require("onnx.helper", "train")
        builder.nodes.append(
            helper.make_node("Split", [x], ["logits", "logits/again"], name="logits", axis=0, num_outputs=2)
        )
    else:
        builder.op("Gather", [x, builder.const("first", 0, np.int64)], "logits", axis=axis)
