"""The files of an exported bundle: names and contents of graphs, provenance."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from authorid.encoder.windows import Windower
from authorid.export.encoder_weights import EncoderWeights
from authorid.export.export_options import ExportOptions
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.graph.sharing import share_weights
from authorid.export.quantize.calibration import Calibration
from authorid.version import __version__

__all__ = ["graph_files", "provenance", "tokenizer_files"]

_FILES = {
    "fp32": "model.onnx",
    "int8": "model_int8.onnx",
    "fused-int8": "model_int8_fused.onnx",
    "openvino-fp32": "model_openvino.onnx",
    "openvino-int8": "model_int8_openvino.onnx",
}
"""File names of graphs by `graph_key`."""


def graph_files(graphs: Mapping[str, OnnxGraph]) -> tuple[dict[str, str], dict[str, bytes]]:
    """File names of `graphs` by `graph_key`, and contents of these files and of those with their weights."""
    contents: dict[str, bytes] = {}
    for precision in ("fp32", "int8"):
        alike = {_FILES[key]: graph for key, graph in graphs.items() if key.endswith(precision)}
        if len(alike) > 1 or not all(graph.fits_one_file for graph in alike.values()):
            weights = f"{_FILES[precision]}.data"
            shared, contents[weights] = share_weights(alike, weights)
            contents |= shared
        else:
            contents |= {name: graph.to_bytes() for name, graph in alike.items()}
    return {key: _FILES[key] for key in graphs}, contents


def tokenizer_files(windower: Windower, special: Mapping[str, str], inputs: Sequence[str]) -> dict[str, str]:
    """The files of the tokenizer, with which other tools give a text the same window as `windower`.

    `special` are the special tokens by their roles, `inputs` the names of a graph's inputs.
    """
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": windower.content + windower.special_tokens,
        "model_input_names": list(inputs),
        "padding_side": "right",
        "truncation_side": "right",
        "clean_up_tokenization_spaces": False,
        **special,
    }
    return {
        "tokenizer.json": windower.with_template().to_str(),
        "tokenizer_config.json": _json(settings),
        "special_tokens_map.json": _json(special),
    }


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=2, ensure_ascii=False) + "\n"


def provenance(
    record: Mapping[str, Any],
    weights: EncoderWeights | None,
    options: ExportOptions,
    calibration: Calibration | None,
    name: str,
) -> dict[str, Any]:
    """What the bundle called `name` was made from: the `record` of the model, and the export. No paths, no text.

    `weights` are None where the graph was not emitted.
    """
    versions = {"python": platform.python_version(), "authorid": __version__}
    for package in ("onnx", "onnxruntime", "tf2onnx", "tensorflow", "keras", "keras-hub", "optimum-onnx", "numpy"):
        with suppress(importlib.metadata.PackageNotFoundError):
            versions[package] = importlib.metadata.version(package)
    described = record.get("corpus", {})
    trained = {
        "base_model": dict(record.get("base_model", {})),
        "corpus": {key: described.get(key) for key in ("name", "digest", "documents", "authors")},
        "recipe": record.get("recipe"),
    }
    return {
        "name": name,
        **({"source": dict(record["source"])} if "source" in record else trained),
        "funnel": weights is not None and weights.halved is not None,
        "emitted": weights is not None,
        **({} if weights is None else {"parameters": weights.parameters}),
        "seeds": {"training": record.get("seed"), "export": options.seed},
        "versions": {"training": dict(record.get("versions", {})), "export": versions},
        "calibration": calibration.to_json() if calibration else None,
        **({"fusion": {k: v for k, v in record["fusion"].items() if k != "decision"}} if "fusion" in record else {}),
    }
