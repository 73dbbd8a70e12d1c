"""INT8 by onnxruntime, for graphs that the emitter did not build: ranges of activations are found at run time."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory

from authorid.errors import ExportError, first_line, require
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.libraries import without_messages

__all__ = ["dynamic_int8"]

_CHOICES: Mapping[str, bool] = {"one scale for each column": True, "one scale for each kernel": False}


def dynamic_int8(graph: OnnxGraph) -> dict[str, OnnxGraph]:
    """INT8 versions of the float32 `graph`, by a description of how they differ.

    Weights have seven bits: with eight, CPUs without VNNI saturate. Raises `ExportError` when onnxruntime cannot
    quantize the graph.
    """
    quantization = require("onnxruntime.quantization", "train")
    made = {}
    with TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "float32.onnx", Path(scratch) / "int8.onnx"
        source.write_bytes(graph.to_bytes())
        for name, per_channel in _CHOICES.items():
            try:
                with without_messages():
                    quantization.quantize_dynamic(
                        str(source),
                        str(target),
                        per_channel=per_channel,
                        reduce_range=True,
                        weight_type=quantization.QuantType.QInt8,
                        # What operators of other domains return, whose types cannot be inferred.
                        extra_options={"DefaultTensorType": require("onnx", "train").TensorProto.FLOAT},
                    )
            except Exception as error:  # onnxruntime raises many types without a common base
                raise ExportError(f"onnxruntime cannot quantize the graph: {first_line(error)}") from None
            made[name] = OnnxGraph(target.read_bytes())
    return made
