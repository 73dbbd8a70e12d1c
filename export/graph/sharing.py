"""One file of weights for several graphs: what they have in common is stored once."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from authorid.errors import require

__all__ = ["METADATA_WEIGHTS", "share_weights"]

METADATA_WEIGHTS = "authorid.weights"
"""Metadata key of graphs whose weights are in another file; its value is that file's SHA-256.

The digest of such a graph therefore covers its weights too.
"""

_PAGE = 4096
"""Tensors start at multiples of this, as ONNX recommends so that they can be mapped; smaller ones stay in the graph."""


def share_weights(graphs: Mapping[str, bytes], location: str) -> tuple[dict[str, bytes], bytes]:
    """Move the large tensors of serialized `graphs` to one file, called `location`, in the same directory.

    Returns the graphs under the same names, and the contents of the file. Equal tensors are stored once.
    """
    onnx = require("onnx", "train")
    models = {name: onnx.load_from_string(graph) for name, graph in graphs.items()}
    weights = bytearray()
    offsets: dict[bytes, int] = {}
    for model in models.values():
        for tensor in model.graph.initializer:
            data = tensor.raw_data
            if len(data) < _PAGE:
                continue
            if data not in offsets:
                weights += bytes(-len(weights) % _PAGE)
                offsets[data] = len(weights)
                weights += data
            tensor.ClearField("raw_data")
            tensor.data_location = onnx.TensorProto.EXTERNAL
            for key, value in (("location", location), ("offset", offsets[data]), ("length", len(data))):
                tensor.external_data.add(key=key, value=str(value))
    digest = hashlib.sha256(weights).hexdigest()
    for model in models.values():
        model.metadata_props.add(key=METADATA_WEIGHTS, value=digest)
    shared = {name: bytes(model.SerializeToString(deterministic=True)) for name, model in models.items()}
    return shared, bytes(weights)
