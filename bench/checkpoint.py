"""A classifier in Hugging Face layout with random weights: it is as fast as a fine-tuned one of the same sizes."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.safetensors import write_tensors
from authorid.models import default_bundle

__all__ = ["SHAPES", "write_checkpoint"]

SHAPES: dict[str, dict[str, Any]] = {
    "distilbert-base": {
        "architectures": ["DistilBertForSequenceClassification"],
        "model_type": "distilbert",
        "vocab_size": 30522,
        "max_position_embeddings": 512,
        "n_layers": 6,
        "n_heads": 12,
        "dim": 768,
        "hidden_dim": 3072,
        "activation": "gelu",
        "pad_token_id": 0,
        "dtype": "float32",
    }
}
"""The config.json of each geometry, without labels."""

SHAPES["minilm-l6"] = {**SHAPES["distilbert-base"], "dim": 384, "hidden_dim": 1536}
"""The sizes of MiniLM-L6 in DistilBERT's layout, whose computation is the same."""

_LABELS, _SEED, _SCALE = 50, 7, 0.08
"""Four times the usual standard deviation: with less, every text has nearly the same logits."""


def write_checkpoint(geometry: str, target: Path) -> Path:
    """Write the checkpoint to the directory `target`, unless it is there: the same on every machine.

    It has the embedded bundle's WordPiece tokenizer, which is that of BERT.
    """
    if (target / "config.json").is_file():
        return target
    target.mkdir(parents=True, exist_ok=True)
    config = SHAPES[geometry]
    shutil.copyfile(default_bundle() / "tokenizer.json", target / "tokenizer.json")
    tokenizer = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": config["max_position_embeddings"],
        **{f"{name}_token": f"[{name.upper()}]" for name in ("pad", "unk", "cls", "sep", "mask")},
    }
    (target / "tokenizer_config.json").write_text(json.dumps(tokenizer, indent=1) + "\n", "utf-8")
    tensors = dict(_tensors(config, np.random.default_rng(_SEED)))
    (target / "model.safetensors").write_bytes(write_tensors(tensors, {"format": "pt"}))
    names = [f"label-{index:02d}" for index in range(_LABELS)]
    labels = {
        "id2label": {str(index): name for index, name in enumerate(names)},
        "label2id": {name: index for index, name in enumerate(names)},
    }
    (target / "config.json").write_text(json.dumps({**config, **labels}, indent=1) + "\n", "utf-8")
    return target


def _tensors(config: dict[str, Any], rng: np.random.Generator) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
    """The tensors of DistilBertForSequenceClassification, by transformers' names."""
    width, inner = config["dim"], config["hidden_dim"]

    def normal(*shape: int) -> npt.NDArray[np.float32]:
        return (_SCALE * rng.standard_normal(shape, dtype=np.float32)).astype(np.float32)

    def dense(name: str, outputs: int, inputs: int) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        yield f"{name}.weight", normal(outputs, inputs)
        yield f"{name}.bias", np.zeros(outputs, np.float32)

    def norm(name: str) -> Iterator[tuple[str, npt.NDArray[np.float32]]]:
        yield f"{name}.weight", np.ones(width, np.float32)
        yield f"{name}.bias", np.zeros(width, np.float32)

    yield "distilbert.embeddings.word_embeddings.weight", normal(config["vocab_size"], width)
    yield "distilbert.embeddings.position_embeddings.weight", normal(config["max_position_embeddings"], width)
    yield from norm("distilbert.embeddings.LayerNorm")
    for index in range(config["n_layers"]):
        layer = f"distilbert.transformer.layer.{index}"
        for name in ("q_lin", "k_lin", "v_lin", "out_lin"):
            yield from dense(f"{layer}.attention.{name}", width, width)
        yield from norm(f"{layer}.sa_layer_norm")
        yield from dense(f"{layer}.ffn.lin1", inner, width)
        yield from dense(f"{layer}.ffn.lin2", width, inner)
        yield from norm(f"{layer}.output_layer_norm")
    yield from dense("pre_classifier", width, width)
    yield from dense("classifier", _LABELS, width)
