"""ONNX graphs that other tools made: read into one piece, and checked for inputs and outputs that scoring knows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from authorid.bundle.onnx_scan import external_files
from authorid.errors import BundleCorruptError, ExportError, first_line, require
from authorid.export.graph.onnx_graph import LARGEST_MESSAGE, OnnxGraph

__all__ = ["is_quantized", "output_width", "read_graph"]

_INPUTS = {"input_ids", "attention_mask", "token_type_ids"}

_INTEGER_OPERATORS = {
    "MatMulInteger",
    "QLinearMatMul",
    "DynamicQuantizeMatMul",
    "MatMulIntegerToFloat",
    "QGemm",
    "QAttention",
}


def read_graph(path: Path, labels: int) -> OnnxGraph:
    """The graph at `path`, with its weights inside; its only output is called ``logits``.

    Raises `ExportError` when it is no graph of a text classifier with so many `labels`, or larger than 2 GiB.
    """
    onnx = require("onnx", "train")
    model = _load(path)
    graph = model.graph
    initial = {tensor.name for tensor in graph.initializer}
    inputs = [item.name for item in graph.input if item.name not in initial]
    if "input_ids" not in inputs or not _INPUTS.issuperset(inputs):
        raise ExportError(
            f"{path}: has the inputs {', '.join(inputs)}; a text classifier has {', '.join(sorted(_INPUTS))}"
        )
    width = output_width(model)
    if len(graph.output) != 1 or (width is not None and width != labels):
        raise ExportError(
            f"{path}: has {len(graph.output)} outputs of {width} numbers, but config.json has {labels} labels"
        )
    _call_logits(graph)
    data: bytes = model.SerializeToString()
    onnx.checker.check_model(onnx.load_from_string(data))
    return OnnxGraph(data)


def output_width(model: Any) -> int | None:
    """The number of logits of a loaded graph; None where it does not say."""
    dims = model.graph.output[0].type.tensor_type.shape.dim if model.graph.output else []
    return int(dims[1].dim_value) or None if len(dims) == 2 else None


def is_quantized(graph: OnnxGraph) -> bool:
    """Whether a graph multiplies integers, or dequantizes weights."""
    model = require("onnx", "train").load_from_string(graph.model)
    kinds = {node.op_type for node in model.graph.node}
    return bool(kinds & (_INTEGER_OPERATORS | {"DequantizeLinear"}))


def _load(path: Path) -> Any:
    onnx = require("onnx", "train")
    try:
        names = list(external_files(path))
    except BundleCorruptError as error:
        raise ExportError(str(error)) from None
    for name in names:
        if Path(name).name != name or (path.parent / name).is_symlink() or not (path.parent / name).is_file():
            raise ExportError(f"{path}: its weights should be in {name!r} beside it, which is not there")
    if path.stat().st_size + sum((path.parent / name).stat().st_size for name in set(names)) > LARGEST_MESSAGE:
        raise ExportError(f"{path}: larger than 2 GiB, which one ONNX graph cannot hold")
    try:
        return onnx.load(str(path))
    except Exception as error:  # protobuf's and onnx's own errors
        raise ExportError(f"{path}: not a readable ONNX graph: {first_line(error)}") from None


def _call_logits(graph: Any) -> None:
    """Rename the only output."""
    name = graph.output[0].name
    if name == "logits":
        return
    for node in graph.node:
        node.input[:] = ["logits" if each == name else each for each in node.input]
        node.output[:] = ["logits" if each == name else each for each in node.output]
    graph.output[0].name = "logits"
