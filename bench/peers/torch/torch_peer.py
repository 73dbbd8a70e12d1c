"""transformers on PyTorch: the text-classification pipeline for documents, the model itself for windows."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.peer_interface import Floats, Ints, Peer, Prepared
from bench.peers.head import load_classifier


def make() -> Peer:
    """The system."""
    return Transformers()


class Transformers(Peer):
    """`settings`: ``dtype``, float32 or bfloat16."""

    packages = ("transformers", "torch", "tokenizers", "numpy")

    def load(self, model: Prepared, settings: dict[str, Any], sessions: int, threads: int) -> None:
        """Load the model in its dtype."""
        import torch

        torch.set_num_threads(threads)
        self._torch = torch
        self._model = load_classifier(model.huggingface).to(getattr(torch, settings["dtype"]))
        self._pipeline: Any = None

    def forward(self, session: int, ids: Ints, mask: Ints) -> Floats:
        """The model's forward pass."""
        torch = self._torch
        with torch.inference_mode():
            output = self._model(input_ids=torch.from_numpy(ids), attention_mask=torch.from_numpy(mask))
            logits: Floats = output.logits.float().numpy()
        return logits

    def score(self, paths: Sequence[str], out: Path, batch: int) -> None:
        """The pipeline, as its documentation has it, over the texts in order of length."""
        from transformers import AutoTokenizer, pipeline

        if self._pipeline is None:
            tokenizer = AutoTokenizer.from_pretrained(self.model.huggingface)
            self._pipeline = pipeline("text-classification", model=self._model, tokenizer=tokenizer, device="cpu")
        texts = [Path(path).read_text("utf-8", "replace") for path in paths]
        order = sorted(range(len(texts)), key=lambda index: -len(texts[index]))
        answers = self._pipeline(
            [texts[index] for index in order], batch_size=batch, truncation=True, max_length=self.settings["truncate"]
        )
        by_place = dict(zip(order, answers, strict=True))
        with out.open("w", encoding="utf-8", newline="") as stream:
            rows = csv.writer(stream)
            rows.writerow(("path", "author", "probability"))
            for index, path in enumerate(paths):
                rows.writerow((path, by_place[index]["label"], f"{by_place[index]['score']:.6f}"))
