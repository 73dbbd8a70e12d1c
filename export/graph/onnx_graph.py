"""An ONNX graph and its large tensors beside it: protobuf, in which a graph is stored, has no messages over 2 GiB."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError, require

__all__ = ["LARGEST_MESSAGE", "LARGE_TENSOR", "OnnxGraph", "tensor_message"]

LARGEST_MESSAGE = (1 << 31) - 1
"""The most bytes that a protobuf message can have."""

LARGE_TENSOR = 4096
"""Tensors of at least so many bytes are kept outside the graph."""


@dataclass(frozen=True, slots=True)
class OnnxGraph:
    """A graph in two parts: the serialized `model`, and those of its `tensors` that it lacks, by name.

    The model describes them as external data without a file. A graph that another tool made may have all of its tensors
    inside.
    """

    model: bytes
    tensors: Mapping[str, npt.NDArray[Any]] = field(default_factory=dict)

    @property
    def fits_one_file(self) -> bool:
        """Whether one message can hold the graph with all of its tensors."""
        return len(self.model) + sum(array.nbytes for array in self.tensors.values()) <= LARGEST_MESSAGE

    def message(self) -> Any:
        """The graph as an `onnx.ModelProto` with all tensors inside. Raises `ExportError` where they do not fit."""
        if not self.fits_one_file:
            raise ExportError("larger than 2 GiB, which one ONNX graph cannot hold")
        model = require("onnx", "train").load_from_string(self.model)
        for tensor in model.graph.initializer:
            if tensor.name in self.tensors:
                tensor.ClearField("external_data")
                tensor.ClearField("data_location")
                tensor.raw_data = self.tensors[tensor.name].tobytes()
        return model

    def to_bytes(self) -> bytes:
        """One serialized graph with all tensors inside. Raises `ExportError` where they do not fit."""
        return bytes(self.message().SerializeToString(deterministic=True)) if self.tensors else self.model


def tensor_message(name: str, array: npt.NDArray[Any], tensors: dict[str, npt.NDArray[Any]]) -> Any:
    """An `onnx.TensorProto` for a graph. The data of a large `array` go to `tensors`."""
    if array.nbytes < LARGE_TENSOR:
        return require("onnx.numpy_helper", "train").from_array(array, name)
    onnx, helper = require("onnx", "train"), require("onnx.helper", "train")
    tensors[name] = np.ascontiguousarray(array)
    kind = helper.np_dtype_to_tensor_dtype(array.dtype)
    tensor = onnx.TensorProto(name=name, data_type=kind, dims=array.shape, data_location=onnx.TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value="beside this graph")
    return tensor
