"""Run a graph over many windows, in onnxruntime on the CPU."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.encoder.fused import fused_kernels, fused_library
from authorid.encoder.session import TOKEN_INPUTS
from authorid.errors import ExportError
from authorid.export.graph.onnx_graph import OnnxGraph
from authorid.machine import available_cores

__all__ = ["BATCH_TOKENS", "GraphRunner", "Ids", "batched", "document_means"]

Ids = npt.NDArray[np.int32]

BATCH_TOKENS = 1024
"""Most tokens in one batch: their states stay in a core's cache."""


class GraphRunner:
    """An onnxruntime CPU session over a `graph`, on `threads` intra-op threads.

    It feeds graphs that take windows (``window_ids``), and those with Hugging Face's input names (masks filled with
    ones).
    Raises `ExportError` when onnxruntime refuses the graph.
    """

    def __init__(self, graph: OnnxGraph, threads: int = 1) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.log_severity_level = 3
        if fused_kernels() is not None:
            options.register_custom_ops_library(str(fused_library()))
        # onnxruntime reads them where they are, so they must live as long as the session.
        self._tensors = [onnxruntime.OrtValue.ortvalue_from_numpy(array) for array in graph.tensors.values()]
        options.add_external_initializers(list(graph.tensors), self._tensors)
        try:
            self._session: Any = onnxruntime.InferenceSession(graph.model, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # onnxruntime raises many types without a common base
            raise ExportError(f"onnxruntime cannot load the graph: {error}") from None
        self._inputs = {
            item.name: np.int64 if "int64" in item.type else np.int32 for item in self._session.get_inputs()
        }
        self.outputs: tuple[str, ...] = tuple(item.name for item in self._session.get_outputs())

    @property
    def input_names(self) -> tuple[str, ...]:
        """Names of the inputs, in order."""
        return tuple(self._inputs)

    @property
    def takes_padding(self) -> bool:
        """Whether the graph has an attention mask."""
        return "attention_mask" in self._inputs

    def run(self, ids: Ids) -> dict[str, npt.NDArray[np.float32]]:
        """All outputs for a batch of windows of equal length, int32 [b, s]."""
        feeds = {
            name: ids.astype(dtype) if name in TOKEN_INPUTS else np.full(ids.shape, name == "attention_mask", dtype)
            for name, dtype in self._inputs.items()
        }
        return dict(zip(self.outputs, self._session.run(None, feeds), strict=True))

    def padded_logits(self, windows: Sequence[Ids]) -> npt.NDArray[np.float32]:
        """Logits [n, classes] of `windows` of any lengths in one batch, padded with token 0; it needs a mask."""
        ids = np.zeros((len(windows), max(map(len, windows))), np.int32)
        mask = np.zeros(ids.shape, np.int64)
        for row, window in enumerate(windows):
            ids[row, : len(window)], mask[row, : len(window)] = window, 1
        values: dict[str, npt.NDArray[Any]] = {"input_ids": ids, "attention_mask": mask}
        values["token_type_ids"] = np.zeros_like(ids)
        feeds = {name: values[name].astype(dtype) for name, dtype in self._inputs.items()}
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits

    def logits(self, windows: Sequence[Ids]) -> npt.NDArray[np.float32]:
        """Logits [n, authors] of `windows`, in their order; each is int32 [s] of its own length."""
        batches = list(batched(windows))
        with ThreadPoolExecutor(available_cores()) as pool:
            results = list(pool.map(lambda batch: self.run(np.stack([windows[i] for i in batch]))["logits"], batches))
        if not results:
            raise ValueError("no windows")
        logits = np.empty((len(windows), results[0].shape[1]), np.float32)
        for batch, result in zip(batches, results, strict=True):
            logits[batch] = result
        return logits


def batched(windows: Sequence[Ids]) -> Iterator[list[int]]:
    """Group windows of equal length: lists of indices, each of at most `BATCH_TOKENS` tokens or one window."""
    buckets: dict[int, list[int]] = {}
    for index, ids in enumerate(windows):
        buckets.setdefault(len(ids), []).append(index)
    for length, indices in sorted(buckets.items()):
        size = max(1, BATCH_TOKENS // length)
        for start in range(0, len(indices), size):
            yield indices[start : start + size]


def document_means(logits: npt.NDArray[np.floating], documents: Sequence[Sequence[Any]]) -> npt.NDArray[np.float64]:
    """The mean over each document's windows, [documents, classes].

    `logits` [n, classes] belong to all windows of all `documents`, in order; every document has at least one window.
    """
    bounds = np.cumsum([0, *(len(windows) for windows in documents)])
    return np.stack([logits[a:b].mean(axis=0, dtype=np.float64) for a, b in itertools.pairwise(bounds)])
