"""The reference graph: Keras -> float32 ONNX by tf2onnx. Every emitted graph is compared with it.

tf2onnx converts the computation alone: the weights are inputs of what it converts, and become constants of its result
afterwards. As constants of what it converts, they would take fifty times their size in memory, and minutes.

Its interface is Hugging Face's: int64 [batch, sequence] inputs ``input_ids``, ``attention_mask`` and, for BERT,
``token_type_ids``; output ``logits`` float32 [batch, authors]. Tokens whose mask is 0 are padding.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError, require
from authorid.export.graph.onnx_graph import OnnxGraph, tensor_message
from authorid.export.sources.source import Reference
from authorid.training.runs import predict_windows

__all__ = ["keras_reference", "reference_graph"]

_OPSET = 17
"""tf2onnx 1.17 can write this opset, and current tools can read it."""

_INPUT_NAMES = {"token_ids": "input_ids", "padding_mask": "attention_mask", "segment_ids": "token_type_ids"}
"""keras-hub's input names -> Hugging Face's."""


def keras_reference(model: Any, windows: Sequence[npt.NDArray[np.int32]], labels: int) -> Reference:
    """The graph of a Keras classifier, and the logits [n, labels] that Keras computes for `windows`."""
    return Reference(reference_graph(model), np.concatenate(predict_windows(model, [[ids] for ids in windows], labels)))


def reference_graph(model: Any) -> OnnxGraph:
    """Convert a Keras classifier to an ONNX graph.

    `model` takes a dict of int32 [b, s] and returns float32 logits [b, authors]. Raises `ExportError` when tf2onnx
    cannot convert it.
    """
    tf = require("tensorflow", "train")
    tf2onnx = require("tf2onnx", "train")
    order = [name for name in _INPUT_NAMES if name in {tensor.name for tensor in model.inputs}]
    weights = {f"weight_{number}": variable for number, variable in enumerate(model.trainable_variables)}
    weights |= {f"fixed_{number}": variable for number, variable in enumerate(model.non_trainable_variables)}
    signature = [tf.TensorSpec([None, None], tf.int64, name=_INPUT_NAMES[name]) for name in order]
    signature += [tf.TensorSpec(value.shape, value.dtype, name=name) for name, value in weights.items()]

    def call(*tensors: Any) -> dict[str, Any]:
        inputs, values = tensors[: len(order)], tensors[len(order) :]
        feed = {name: tf.cast(tensor, tf.int32) for name, tensor in zip(order, inputs, strict=True)}
        trainable = len(model.trainable_variables)
        logits, _ = model.stateless_call(list(values[:trainable]), list(values[trainable:]), feed, training=False)
        return {"logits": logits}

    level = logging.getLogger("tf2onnx").level
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    try:
        proto, _ = tf2onnx.convert.from_function(
            tf.function(call, input_signature=signature),
            input_signature=signature,
            opset=_OPSET,
            custom_op_handlers={"Erfc": (_erfc, [])},
        )
    except Exception as error:
        raise ExportError(f"tf2onnx could not convert the Keras model ({error})") from error
    finally:
        logging.getLogger("tf2onnx").setLevel(level)
    tensors = _fill_in(proto.graph, weights)
    _rename(proto, [_INPUT_NAMES[name] for name in order])
    _fold_shapes(proto.graph)
    return OnnxGraph(bytes(proto.SerializeToString()), tensors)


def _fill_in(graph: Any, weights: Mapping[str, Any]) -> dict[str, npt.NDArray[Any]]:
    """Make the inputs that are called like `weights` constants; those that the graph does not use are left out.

    Returns the tensors that are kept outside the graph.
    """
    tensors: dict[str, npt.NDArray[Any]] = {}
    used = {name for node in graph.node for name in node.input}
    inputs = []
    for value in graph.input:
        variable = weights.get(value.name.split(":")[0])
        if variable is None:
            inputs.append(value)
        elif value.name in used:
            graph.initializer.append(tensor_message(value.name, np.asarray(variable.numpy()), tensors))
    del graph.input[:]
    graph.input.extend(inputs)
    return tensors


def _erfc(context: Any, node: Any, name: str, _args: Any) -> None:
    """Write TensorFlow's Erfc, which ONNX lacks, as ``1 - erf(x)``."""
    dtypes = [context.get_dtype(node.output[0])]
    shapes = [context.get_shape(node.output[0])]
    source = node.input[0]
    context.remove_node(node.name)
    erf = context.make_node("Erf", [source], name=f"{name}__erf")
    one = context.make_const(f"{name}__one", np.array(1, np.float32))
    context.make_node(
        "Sub", [one.output[0], erf.output[0]], name=name, outputs=node.output, shapes=shapes, dtypes=dtypes
    )


def _rename(proto: Any, inputs: list[str]) -> None:
    """Give inputs, output and axes their public names; tf2onnx chooses others."""
    graph = proto.graph
    if sorted(value.name.split(":")[0] for value in graph.input) != sorted(inputs) or len(graph.output) != 1:
        names = [value.name for value in (*graph.input, *graph.output)]
        raise ExportError(f"tf2onnx wrote a graph with unexpected inputs or outputs: {', '.join(names)}")
    renames = {value.name: value.name.split(":")[0] for value in graph.input} | {graph.output[0].name: "logits"}
    for node in graph.node:
        node.input[:] = [renames.get(name, name) for name in node.input]
        node.output[:] = [renames.get(name, name) for name in node.output]
    for value in (*graph.input, *graph.output):
        value.name = renames[value.name]
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for value in graph.input:
        value.type.tensor_type.shape.dim[1].dim_param = "sequence"


def _fold_shapes(graph: Any) -> None:
    """Replace ``Shape(weight)`` by its value, for which tf2onnx keeps a copy of the weight in the file."""
    numpy_helper = require("onnx.numpy_helper", "train")
    weights = {tensor.name: tensor for tensor in graph.initializer}
    nodes = []
    for node in graph.node:
        if node.op_type == "Shape" and node.input[0] in weights and not node.attribute:
            dims = np.array(list(weights[node.input[0]].dims), np.int64)
            graph.initializer.append(numpy_helper.from_array(dims, node.output[0]))
        else:
            nodes.append(node)
    used = {name for node in nodes for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in used]
    del graph.node[:], graph.initializer[:]
    graph.node.extend(nodes)
    graph.initializer.extend(kept)
