"""OpenVINO's own runtime on the graph that optimum exported: f32 and bf16 hints, and NNCF's INT8."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np

from bench.peer_interface import Floats, Ints, Peer, Prepared, read_tokenizer, read_windows

_CALIBRATION, _SEED = 300, 20


def make() -> Peer:
    """The system."""
    return OpenVino()


class OpenVino(Peer):
    """`settings`: ``precision``: f32, bf16 or int8; for int8 ``calibration``, a file of training windows."""

    packages = ("openvino", "nncf", "tokenizers", "numpy")

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> None:
        """Quantize with NNCF, the way its documentation quantizes transformers."""
        graph = model.path / "optimum" / "model.onnx"
        if not graph.is_file():
            raise FileNotFoundError("the graph that optimum exports is not there")
        target = model.path / "openvino" / "model_int8.xml"
        if settings["precision"] != "int8" or target.is_file():
            return
        nncf, openvino = import_module("nncf"), import_module("openvino")

        source = openvino.Core().read_model(graph)
        names = {item.get_any_name() for item in source.inputs}
        windows = read_windows(settings["calibration"])
        # The file is in order of authors: its beginning would be a few of them.
        drawn = np.random.default_rng(_SEED).permutation(len(windows))[:_CALIBRATION]
        rows = [windows[index] for index in drawn]
        data = nncf.Dataset([_feeds(names, row[None].astype(np.int64)) for row in rows])
        quantized = nncf.quantize(
            source,
            data,
            model_type=nncf.ModelType.TRANSFORMER,
            subset_size=len(rows),
            preset=nncf.QuantizationPreset.MIXED,
        )
        target.parent.mkdir(exist_ok=True)
        openvino.save_model(quantized, target.with_suffix(".partial.xml"), compress_to_fp16=False)
        target.with_suffix(".partial.bin").replace(target.with_suffix(".bin"))
        target.with_suffix(".partial.xml").replace(target)

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Compile with one stream a session."""
        openvino = import_module("openvino")

        precision = settings["precision"]
        path = (
            model.path / "openvino" / "model_int8.xml" if precision == "int8" else model.path / "optimum" / "model.onnx"
        )
        hints: dict[str, Any] = {
            "INFERENCE_NUM_THREADS": sessions * threads,
            "NUM_STREAMS": sessions,
            "PERFORMANCE_HINT": "THROUGHPUT" if sessions > 1 else "LATENCY",
        }
        if precision != "int8":  # between its INT8 matmuls OpenVINO computes in what suits the processor
            hints["INFERENCE_PRECISION_HINT"] = precision
        compiled = openvino.Core().compile_model(str(path), "CPU", hints)
        self._requests = [compiled.create_infer_request() for _ in range(sessions)]
        self._names = {item.get_any_name() for item in compiled.inputs}
        self.tokenizer = read_tokenizer(model, settings)

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """One inference request."""
        result = self._requests[session].infer(_feeds(self._names, ids, mask))
        logits: Floats = next(iter(result.values())).copy()
        return logits


def _feeds(names: set[str], ids: Ints, mask: Ints | None = None) -> dict[str, Ints]:
    feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids) if mask is None else mask}
    feeds["token_type_ids"] = np.zeros_like(ids)
    return {name: value for name, value in feeds.items() if name in names}
