"""A fine-tuned text classifier of any other family, exported by optimum (extra ``optimum``).

Its graph is used as it is: with a mask, one window at a time, and quantized by onnxruntime. It is slower than a graph
that the emitter builds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt

from authorid.errors import ExportError, first_line, require
from authorid.export.export_options import ExportOptions
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.export.libraries import without_messages
from authorid.export.sources.given_graph import read_graph
from authorid.export.sources.huggingface import HuggingFaceClassifier, has_weights, read_classifier
from authorid.export.sources.huggingface_weights import obstacle
from authorid.export.sources.source import Reference
from authorid.training.encoder.model_directory import SAFETENSORS

__all__ = ["OptimumDirectory"]

_RESERVED_POSITIONS = 2
"""Rows at the beginning of a position table that some families leave out."""


@dataclass(frozen=True)
class OptimumDirectory(HuggingFaceClassifier):
    """A `Source`: any sequence classifier that optimum can export."""

    description: ClassVar[str] = "a fine-tuned classifier of another family (extra optimum)"

    framework: str = "transformers"

    @classmethod
    def recognises(cls, path: Path) -> bool:
        """Whether there is a config.json with weights."""
        return (path / "config.json").is_file() and has_weights(path)

    @classmethod
    def open(cls, path: Path, options: ExportOptions) -> OptimumDirectory:
        """Read all but the weights; raises `ExportError` and `BaseModelError`."""
        directory, config, tokenizer = read_classifier(path)
        if not any(directory.has(name) for name in (SAFETENSORS.single, SAFETENSORS.index)):
            raise ExportError(f"{path}: {obstacle(config)} needs weights in safetensors files; save the model again")
        if options.openvino:
            raise ExportError(f"{path}: {obstacle(config)} has no graph for OpenVINO; leave out --openvino")
        rows = config.record.get("max_position_embeddings")
        positions = rows - _RESERVED_POSITIONS if isinstance(rows, int) and tokenizer.longest is None else None
        about = f"{obstacle(config)} is exported through optimum: slower than the families that authorid builds itself"
        return cls(directory, config, tokenizer, options, positions, more_warnings=(about,))

    def require_packages(self) -> None:
        """Import the exporter; raises `MissingExtraError`."""
        for module in ("optimum.exporters.onnx", "torch", "transformers", "onnx"):
            require(module, "optimum")

    def weights(self) -> None:
        """None: the emitter cannot build this family."""
        return

    def reference(self, windows: Sequence[npt.NDArray[np.int32]]) -> Reference:
        """The graph that optimum makes, and the logits of transformers; raises `ExportError` when it cannot."""
        return Reference(self._graph(), self._logits(windows))

    def _graph(self) -> OnnxGraph:
        exporter = require("optimum.exporters.onnx", "optimum")
        with TemporaryDirectory() as scratch, without_messages():
            try:
                exporter.main_export(
                    str(self.path),
                    scratch,
                    task="text-classification",
                    framework="pt",
                    library_name="transformers",
                    local_files_only=True,
                    trust_remote_code=False,
                    do_validation=False,
                )
            except Exception as error:  # it raises many types without a common base
                raise ExportError(f"{self.path}: optimum cannot export this model: {first_line(error)}") from None
            return read_graph(Path(scratch) / "model.onnx", len(self.labels))

    def _logits(self, windows: Sequence[npt.NDArray[np.int32]]) -> npt.NDArray[np.float32]:
        torch = require("torch", "optimum")
        with torch.no_grad():
            rows = [self._model(input_ids=torch.tensor(ids[None].astype(np.int64))).logits for ids in windows]
        return np.concatenate([row.numpy() for row in rows]).astype(np.float32)

    @cached_property
    def _model(self) -> Any:
        transformers = require("transformers", "optimum")
        try:
            return (
                transformers.AutoModelForSequenceClassification.from_pretrained(
                    self.path, local_files_only=True, trust_remote_code=False, use_safetensors=True
                )
                .float()
                .eval()
            )
        except Exception as error:  # whatever is wrong with the checkpoint
            raise ExportError(f"{self.path}: transformers cannot load this model: {first_line(error)}") from None
