"""optimum: ORTModelForSequenceClassification, float32, and INT8 by whichever of its presets is the fastest."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_interface import Floats, Ints, Peer, Prepared, read_tokenizer
from bench.peers.head import load_classifier

_PRESETS = ("avx512_vnni", "avx2")
"""Of `AutoQuantizationConfig`. Dynamic graphs of ``arm64`` and ``avx512`` are the same as those of ``avx512_vnni``."""

_ROUNDS, _SLOW = 3, 1.25


def make() -> Peer:
    """The system."""
    return Optimum()


class Optimum(Peer):
    """`settings`: ``precision``, fp32 or int8; for int8 ``graph``, a preset and whether it is per channel."""

    packages = ("optimum", "optimum-onnx", "transformers", "torch", "onnxruntime", "tokenizers", "numpy")

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> dict[str, float] | None:
        """Export the graph with optimum, quantize it with each preset, and measure how fast these are."""
        plain = model.path / "optimum"
        if not (plain / "model.onnx").is_file():
            from optimum.exporters.onnx import onnx_export_from_model

            with tempfile.TemporaryDirectory(dir=model.path) as scratch:
                onnx_export_from_model(
                    model=load_classifier(model.huggingface),
                    output=Path(scratch) / "optimum",
                    task="text-classification",
                    opset=settings["opset"],
                    do_validation=False,
                )
                (Path(scratch) / "optimum").rename(plain)
        if settings["precision"] != "int8":
            return None
        names = [
            _quantized(plain, preset, per_channel=per_channel) for preset in _PRESETS for per_channel in (False, True)
        ]
        return _rates(model, settings, names)

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """One ORTModel for each session."""
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSequenceClassification

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if sessions > 1:  # spinning threads would take the other session's core
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        name = _file(settings["graph"]) if settings["precision"] == "int8" else "model.onnx"
        self._models = [
            ORTModelForSequenceClassification.from_pretrained(
                model.path / "optimum", file_name=name, session_options=options, provider="CPUExecutionProvider"
            )
            for _ in range(sessions)
        ]
        self._segments = "token_type_ids" in self._models[0].input_names
        self.tokenizer = read_tokenizer(model, settings)

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """The model's call, with numpy arrays."""
        extra = {"token_type_ids": np.zeros_like(ids)} if self._segments else {}
        logits: Floats = self._models[session](input_ids=ids, attention_mask=mask, **extra).logits
        return logits


def _file(name: str) -> str:
    return f"model_{name.replace(' ', '_')}.onnx"


def _quantized(directory: Path, preset: str, *, per_channel: bool) -> str:
    """The name of the dynamically quantized graph that `preset` makes; it is made unless it is there."""
    from optimum.onnxruntime import ORTQuantizer
    from optimum.onnxruntime.configuration import AutoQuantizationConfig

    name = f"{preset} per channel" if per_channel else preset
    if not (directory / _file(name)).is_file():
        with tempfile.TemporaryDirectory(dir=directory) as scratch:
            ORTQuantizer.from_pretrained(directory, file_name="model.onnx").quantize(
                save_dir=scratch,
                quantization_config=getattr(AutoQuantizationConfig, preset)(is_static=False, per_channel=per_channel),
            )
            (Path(scratch) / "model_quantized.onnx").rename(directory / _file(name))
    return name


def _rates(model: Prepared, settings: dict[str, Any], names: list[str]) -> dict[str, float]:
    """Tokens per second of graphs by name, by turns and with a session on every core; slow ones have one turn."""
    rows = [row[: settings["length"]] for row in model.golden()[0]][-2 * settings["threads"] :]
    peers = {}
    for name in names:
        peer = Optimum()
        peer.model, peer.sessions = model, settings["threads"]
        peer.load(model, {**settings, "graph": name}, peer.sessions, 1)
        peer.run(rows, 1)
        peers[name] = peer
    least = dict.fromkeys(names, float("inf"))
    for number in range(_ROUNDS):
        for name, peer in peers.items():
            if number == 0 or least[name] <= _SLOW * min(least.values()):
                started = time.perf_counter()
                peer.run(rows, 1)
                least[name] = min(least[name], time.perf_counter() - started)
    return {name: round(sum(map(len, rows)) / seconds, 1) for name, seconds in least.items()}
