"""Base models: pretrained encoders of the BERT and DistilBERT families, in Hugging Face layout.

This module reads and checks the directory, without Keras: a few numbers come from ``config.json``, arrays from
safetensors files, and the tokenizer from ``tokenizer.json`` or ``vocab.txt``. Other files are never opened, and other
settings never looked at.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from authorid.training.encoder.base_weights import encoder_tensors
from authorid.training.encoder.classifier import FAMILIES, Geometry
from authorid.training.encoder.model_directory import BaseModelError, ModelDirectory, Tensors

__all__ = ["BaseModel", "read_base_model"]

# The encoders compute this whatever config.json says; other values are refused.
_SUPPORTED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "bert": {
        "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_eps": (1e-12,),
        "position_embedding_type": ("absolute",),
    },
    "distilbert": {"activation": ("gelu",)},
}

_SIZES = {
    "bert": {
        "vocabulary_size": "vocab_size",
        "num_layers": "num_hidden_layers",
        "num_heads": "num_attention_heads",
        "hidden_dim": "hidden_size",
        "intermediate_dim": "intermediate_size",
        "max_sequence_length": "max_position_embeddings",
    },
    "distilbert": {
        "vocabulary_size": "vocab_size",
        "num_layers": "n_layers",
        "num_heads": "n_heads",
        "hidden_dim": "dim",
        "intermediate_dim": "hidden_dim",
        "max_sequence_length": "max_position_embeddings",
    },
}
"""Field of `Geometry` -> what config.json calls it."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A checked base model. `tensors` are the encoder's, by their names in `encoder_tensors`; they stay on disk."""

    directory: ModelDirectory
    geometry: Geometry
    tensors: Tensors
    tokenizer: Tokenizer

    @property
    def root(self) -> Path:
        """Where it is."""
        return self.directory.root

    def sha256(self) -> str:
        """SHA-256 over the names and contents of all files that were used: settings, weights and tokenizer."""
        return self.directory.sha256()


def read_base_model(root: Path) -> BaseModel:
    """Read and check the base model in the directory `root`; raises `BaseModelError`.

    Takes a fraction of a second: weights are mapped into memory, and read when they are used.
    """
    directory = ModelDirectory(root)
    config = directory.json("config.json", "a base model is a directory in Hugging Face layout")
    family = _family(root / "config.json", config)
    geometry = _geometry(root / "config.json", family, config)
    try:
        tensors = encoder_tensors(directory.weights(), geometry)
    except ValueError as error:
        raise BaseModelError(f"{root}: {error}") from None
    return BaseModel(directory, geometry, tensors, directory.tokenizer(config))


def _family(path: Path, config: Mapping[str, Any]) -> str:
    choices = " or ".join(FAMILIES)
    if "model_type" not in config:
        raise BaseModelError(f"{path}: has no model_type; add it if the model is of the family {choices}")
    family = config["model_type"]
    if not isinstance(family, str) or family not in FAMILIES:
        raise BaseModelError(f"{path}: model_type {family!r} is not supported; use a model of the family {choices}")
    for setting, supported in _SUPPORTED[family].items():
        if config.get(setting, supported[0]) not in supported:
            values = " or ".join(map(repr, supported))
            raise BaseModelError(
                f"{path}: {setting} {config[setting]!r} is not supported, only {values}; use another model"
            )
    return family


def _geometry(path: Path, family: str, config: Mapping[str, Any]) -> Geometry:
    sizes: dict[str, Any] = {field: config.get(name) for field, name in _SIZES[family].items()}
    # keras-hub's dropout for BERT is 0.1 whatever config.json says.
    sizes["dropout"] = config.get("dropout", 0.1) if family == "distilbert" else 0.1
    sizes["num_segments"] = config.get("type_vocab_size", 2) if family == "bert" else 0
    names = {**_SIZES[family], "num_segments": "type_vocab_size"}
    for field, name in names.items():
        size, least = sizes[field], 0 if (family, field) == ("distilbert", "num_segments") else 1
        if not isinstance(size, int) or isinstance(size, bool) or size < least:
            raise BaseModelError(f"{path}: {name} must be a whole number from {least}, got {size!r}")
    if sizes["hidden_dim"] % sizes["num_heads"]:
        raise BaseModelError(f"{path}: {names['hidden_dim']} must be a multiple of {names['num_heads']}")
    dropout = sizes["dropout"]
    if not isinstance(dropout, int | float) or isinstance(dropout, bool) or not 0 <= dropout < 1:
        raise BaseModelError(f"{path}: dropout must be in [0, 1), got {dropout!r}")
    return Geometry.from_json({"family": family, **sizes})
