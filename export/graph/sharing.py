"""One file of weights for several graphs: what they have in common is stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

import numpy as np

from authorid.errors import require
from authorid.export.graph.onnx_graph import OnnxGraph

__all__ = ["METADATA_WEIGHTS", "share_weights"]

METADATA_WEIGHTS = "authorid.weights"
"""Metadata key of graphs whose weights are in another file; its value is that file's SHA-256.

The digest of such a graph therefore covers its weights too.
"""

_PAGE = 4096
"""Tensors start at multiples of this, as ONNX recommends so that they can be mapped."""


def share_weights(graphs: Mapping[str, OnnxGraph], location: str) -> tuple[dict[str, bytes], bytes]:
    """Serialize `graphs`, with their large tensors in one file, called `location`, in the same directory.

    Returns the graphs under the same names, and the contents of the file. Equal tensors are stored once.
    """
    onnx = require("onnx", "train")
    models = {name: onnx.load_from_string(graph.model) for name, graph in graphs.items()}
    parts: list[bytes | memoryview] = []
    size = 0
    offsets: dict[bytes, int] = {}
    for name, model in models.items():
        for tensor in model.graph.initializer:
            if tensor.name not in graphs[name].tensors:
                continue
            data = graphs[name].tensors[tensor.name].reshape(-1).view(np.uint8).data
            digest = hashlib.sha256(data).digest()
            if digest not in offsets:
                gap = bytes(-size % _PAGE)
                offsets[digest] = size + len(gap)
                parts += [gap, data]
                size += len(gap) + len(data)
            tensor.ClearField("external_data")
            for key, value in (("location", location), ("offset", offsets[digest]), ("length", len(data))):
                tensor.external_data.add(key=key, value=str(value))
    weights = b"".join(parts)
    for model in models.values():
        model.metadata_props.add(key=METADATA_WEIGHTS, value=hashlib.sha256(weights).hexdigest())
    return {name: bytes(model.SerializeToString(deterministic=True)) for name, model in models.items()}, weights
