"""The files of an exported bundle: names and contents of graphs, provenance."""

from __future__ import annotations

import importlib.metadata
import platform
from collections.abc import Mapping
from typing import Any

from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.graph.sharing import share_weights
from authorid.export.quantize.calibration import Calibration
from authorid.version import __version__

__all__ = ["graph_files", "provenance"]

_FILES = {
    "fp32": "model.onnx",
    "int8": "model_int8.onnx",
    "openvino-fp32": "model_openvino.onnx",
    "openvino-int8": "model_int8_openvino.onnx",
}
"""File names of graphs by `graph_key`."""


def graph_files(graphs: Mapping[str, bytes]) -> tuple[dict[str, str], dict[str, bytes]]:
    """File names of serialized `graphs` by `graph_key`, and contents of these files and those that they share."""
    contents: dict[str, bytes] = {}
    for precision in ("fp32", "int8"):
        alike = {_FILES[key]: graph for key, graph in graphs.items() if key.endswith(precision)}
        if len(alike) > 1:
            weights = f"{_FILES[precision]}.data"
            alike, contents[weights] = share_weights(alike, weights)
        contents |= alike
    return {key: _FILES[key] for key in graphs}, contents


def provenance(
    record: Mapping[str, Any],
    weights: EncoderWeights,
    options: ExportOptions,
    calibration: Calibration | None,
    name: str,
) -> dict[str, Any]:
    """What the bundle called `name` was made from: the `record` of the training, and the export. No paths, no text."""
    described = record.get("corpus", {})
    corpus = {key: described.get(key) for key in ("name", "digest", "documents", "authors")}
    versions = {"python": platform.python_version(), "authorid": __version__}
    for package in ("onnx", "onnxruntime", "tf2onnx", "tensorflow", "keras", "keras-hub", "numpy"):
        versions[package] = importlib.metadata.version(package)
    return {
        "name": name,
        "base_model": dict(record.get("base_model", {})),
        "corpus": corpus,
        "recipe": record.get("recipe"),
        "funnel": weights.halved is not None,
        "parameters": weights.parameters,
        "seeds": {"training": record.get("seed"), "export": options.seed},
        "versions": {"training": dict(record.get("versions", {})), "export": versions},
        "calibration": calibration.to_json() if calibration else None,
        **({"fusion": {k: v for k, v in record["fusion"].items() if k != "decision"}} if "fusion" in record else {}),
    }
