"""optimum: ORTModelForSequenceClassification, float32 and its documented INT8."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from bench.peer_interface import Floats, Ints, Peer, Prepared, read_tokenizer
from bench.peers.head import load_classifier


def make() -> Peer:
    """The system."""
    return Optimum()


class Optimum(Peer):
    """`settings`: ``precision``, fp32 or int8."""

    packages = ("optimum", "optimum-onnx", "transformers", "torch", "onnxruntime", "tokenizers", "numpy")

    def prepare(self, model: Prepared, settings: dict[str, Any]) -> None:
        """Export the graph with optimum, and quantize it as optimum's documentation does for AVX512-VNNI."""
        plain = model.path / "optimum"
        if not (plain / "model.onnx").is_file():
            from optimum.exporters.onnx import onnx_export_from_model

            classifier = load_classifier(model.huggingface)
            # The exporter asks where a class comes from before it looks at what it is.
            type(classifier).__module__ = "transformers"
            with tempfile.TemporaryDirectory(dir=model.path) as scratch:
                onnx_export_from_model(
                    model=classifier,
                    output=Path(scratch) / "optimum",
                    task="text-classification",
                    opset=settings["opset"],
                    do_validation=False,
                )
                (Path(scratch) / "optimum").rename(plain)
        if settings["precision"] == "int8" and not (plain / "model_quantized.onnx").is_file():
            from optimum.onnxruntime import ORTQuantizer
            from optimum.onnxruntime.configuration import AutoQuantizationConfig

            ORTQuantizer.from_pretrained(plain, file_name="model.onnx").quantize(
                save_dir=plain,
                quantization_config=AutoQuantizationConfig.avx512_vnni(is_static=False, per_channel=True),
            )

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """One ORTModel for each session."""
        import onnxruntime
        from optimum.onnxruntime import ORTModelForSequenceClassification

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        if sessions > 1:  # spinning threads would take the other session's core
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        name = "model_quantized.onnx" if settings["precision"] == "int8" else "model.onnx"
        self._models = [
            ORTModelForSequenceClassification.from_pretrained(
                model.path / "optimum", file_name=name, session_options=options, provider="CPUExecutionProvider"
            )
            for _ in range(sessions)
        ]
        self._segments = "token_type_ids" in self._models[0].input_names
        self.tokenizer = read_tokenizer(model)

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """The model's call, with numpy arrays."""
        extra = {"token_type_ids": np.zeros_like(ids)} if self._segments else {}
        logits: Floats = self._models[session](input_ids=ids, attention_mask=mask, **extra).logits
        return logits
