"""An ONNX graph of a text classifier that somebody already has, with its tokenizer beside it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Precision
from authorid.errors import ExportError, require
from authorid.export.export_options import ExportOptions
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.sources.classifier_config import read_config
from authorid.export.sources.given_graph import is_quantized, output_width, read_graph
from authorid.export.sources.huggingface import HuggingFaceClassifier, has_weights
from authorid.export.sources.huggingface_tokenizer import read_classifier_tokenizer
from authorid.export.sources.source import Reference
from authorid.training.encoder.model_directory import ModelDirectory

__all__ = ["OnnxFile"]


@dataclass(frozen=True)
class OnnxFile(HuggingFaceClassifier):
    """A `Source`: the graph `file`, in the directory that has its config.json and tokenizer, or one level below it."""

    description: ClassVar[str] = "an ONNX file with its tokenizer"

    file: Path = Path()
    framework: str = "onnxruntime"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether it is an ONNX file, or a directory that has one and no other weights."""
        return path.suffix == ".onnx" or (path.is_dir() and not has_weights(path) and bool(_graphs(path)))

    @classmethod
    def open(cls, path: Path, options: ExportOptions) -> OnnxFile:
        """Read configuration and tokenizer; raises `ExportError` and `BaseModelError`."""
        file = path if path.suffix == ".onnx" else _only_graph(path)
        if options.openvino:
            raise ExportError(f"{file}: a graph of another tool gets no graph for OpenVINO; leave out --openvino")
        root = file.parent if (file.parent / "tokenizer.json").is_file() else file.parent.parent
        directory = ModelDirectory(root if (root / "tokenizer.json").is_file() else file.parent)
        record = directory.optional_json("config.json") or _unlabelled(file)
        config = read_config(directory.root / "config.json", record)
        tokenizer = read_classifier_tokenizer(directory, record)
        about = "a graph of another tool is used as it is: slower than one that authorid builds from the weights"
        return cls(directory, config, tokenizer, options, more_warnings=(about,), file=file)

    @property
    def precision(self) -> Precision:
        """``int8`` for a graph that is quantized already."""
        return "int8" if is_quantized(self._graph) else "fp32"

    def require_packages(self) -> None:
        """Import onnx; raises `MissingExtraError`."""
        require("onnx", "train")

    def weights(self) -> None:
        """None: there is only the graph."""
        return

    def reference(self, windows: Sequence[npt.NDArray[np.int32]]) -> Reference:
        """The graph as it is; nothing else computes its logits."""
        return Reference(self._graph)

    @cached_property
    def _graph(self) -> OnnxGraph:
        return read_graph(self.file, len(self.labels))


def _graphs(path: Path) -> list[Path]:
    return sorted([*path.glob("*.onnx"), *path.glob("onnx/*.onnx")])


def _only_graph(path: Path) -> Path:
    found = _graphs(path)
    usual = [file for file in found if file.name == "model.onnx"]
    if len(usual) != 1 and len(found) != 1:
        names = ", ".join(str(file.relative_to(path)) for file in found)
        raise ExportError(f"{path}: has several graphs ({names}); name one of them")
    return (usual or found)[0]


def _unlabelled(file: Path) -> Mapping[str, Any]:
    """A configuration for a graph without one: labels as transformers numbers them."""
    onnx = require("onnx", "train")
    width = output_width(onnx.load(str(file), load_external_data=False))
    if width is None:
        raise ExportError(
            f"{file}: has no config.json beside it and does not say how many logits it has; add a config.json"
        )
    return {"model_type": "onnx", "num_labels": width}
