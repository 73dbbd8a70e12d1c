"""Base models: pretrained encoders of the BERT and DistilBERT families, in Hugging Face layout.

This module reads and checks the directory, without Keras. Nothing in it is deserialized into code: a few numbers come
from ``config.json``, arrays from safetensors files, and the tokenizer from ``tokenizer.json`` or ``vocab.txt``. Other
files are never opened, and other settings never looked at. Each file is opened once, so that `BaseModel.sha256` is the
digest of exactly what is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer

from authorid.bundle.safetensors import read_tensors
from authorid.errors import AuthoridError, os_error_reason, require
from authorid.training.encoder.base_tokenizer import read_tokenizer
from authorid.training.encoder.base_weights import INDEX, WEIGHTS, Tensors, encoder_tensors
from authorid.training.encoder.classifier import FAMILIES, Geometry

__all__ = ["BaseModel", "BaseModelError", "read_base_model", "resolve_base_model"]

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

_LFS = b"version https://git-lfs.github.com/spec/"

_CONVERSION = "convert it with transformers{}: AutoModel.from_pretrained(OLD{}).save_pretrained(NEW)"
_OTHER_WEIGHTS = {
    "*.bin": _CONVERSION.format("", ""),
    "*.h5": _CONVERSION.format(" 4", ", from_tf=True"),
    "*.msgpack": _CONVERSION.format(" 4", ", from_flax=True"),
    "*.ckpt*": "convert it to safetensors with the tools of its authors",
}
"""Weights in other formats, and what to do about them."""


class BaseModelError(AuthoridError):
    """A pretrained model cannot be used as the base of a classifier."""


@dataclass(frozen=True, slots=True)
class BaseModel:
    """A checked base model. `tensors` are the encoder's, by their names in `encoder_tensors`; they stay on disk.

    `files` has the content of every file that was used.
    """

    root: Path
    geometry: Geometry
    tensors: Tensors
    tokenizer: Tokenizer
    files: Mapping[str, bytes | memoryview]

    def sha256(self) -> str:
        """SHA-256 over the names and contents of all files that were used: settings, weights and tokenizer."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()


def resolve_base_model(base_model: str) -> Path:
    """Return the directory of `base_model`; raises `BaseModelError`.

    `base_model` is a directory, or else a Hugging Face hub id (with or without ``hf://``), which is downloaded to the
    hub's cache.
    """
    root = Path(base_model)
    if root.is_dir():
        return root
    name = base_model.removeprefix("hf://")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise BaseModelError(f"{base_model}: no such directory")
    hub = require("huggingface_hub", "train")
    files = ["config.json", "*.safetensors", INDEX, "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    try:
        return Path(hub.snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such repository, gated
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BaseModelError(
            f"{base_model}: no such directory, and it could not be fetched from the Hugging Face hub "
            f"({lines[0]}); download the model and give its directory"
        ) from None


def read_base_model(root: Path) -> BaseModel:
    """Read and check the base model in the directory `root`; raises `BaseModelError`.

    Takes a fraction of a second: weights are mapped into memory, and read when they are used.
    """
    reader = _Reader(root)
    config = reader.json("config.json", "a base model is a directory in Hugging Face layout")
    family = _family(root / "config.json", config)
    geometry = _geometry(root / "config.json", family, config)
    try:
        tensors = encoder_tensors(_weights(reader), geometry)
    except ValueError as error:
        raise BaseModelError(f"{root}: {error}") from None
    return BaseModel(root, geometry, tensors, _tokenizer(reader, config), reader.files)


class _Reader:
    """Reads files of the directory `root`, and keeps their contents in `files`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes | memoryview] = {}

    def has(self, name: str) -> bool:
        return (self.root / name).is_file()

    def content(self, name: str, *, mapped: bool = False) -> bytes | memoryview:
        path = self.root / name
        try:
            # A file of no bytes cannot be mapped.
            data = np.memmap(path, np.uint8, "r").data if mapped and path.stat().st_size else path.read_bytes()
        except OSError as error:
            raise BaseModelError(f"{path}: cannot be read ({os_error_reason(error)})") from None
        if bytes(data[: len(_LFS)]) == _LFS:
            raise BaseModelError(f"{path}: is a Git LFS pointer, not the file itself; run git lfs pull in {self.root}")
        self.files[name] = data
        return data

    def json(self, name: str, advice: str) -> Mapping[str, Any]:
        path = self.root / name
        if not self.has(name):
            raise BaseModelError(f"{self.root}: no {name}; {advice}")
        try:
            record = json.loads(bytes(self.content(name)).decode("utf-8"))
        except (ValueError, RecursionError) as error:
            raise BaseModelError(f"{path}: not readable JSON ({error}); download it again") from None
        if not isinstance(record, dict):
            raise BaseModelError(f"{path}: not a JSON object; download it again")
        return record


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


def _weights(reader: _Reader) -> Tensors:
    """All tensors of model.safetensors, or else of the files that its index names."""
    if reader.has(WEIGHTS):
        return _shard(reader, WEIGHTS)
    if not reader.has(INDEX):
        raise BaseModelError(f"{reader.root}: no {WEIGHTS}{_other_weights(reader.root)}")
    index = reader.root / INDEX
    places = reader.json(INDEX, "download it").get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
        raise BaseModelError(f"{index}: has no weight_map of file names; download it again")
    tensors: dict[str, Any] = {}
    for file in sorted(set(places.values())):
        if Path(file).name != file or not file.endswith(".safetensors") or not reader.has(file):
            raise BaseModelError(f"{index}: names {file!r}, which is not there; download all files of the model")
        found = _shard(reader, file)
        wanted = [name for name, place in places.items() if place == file]
        for name in wanted:
            if name not in found:
                raise BaseModelError(f"{index}: tensor {name!r} is not in {file}; download all files again")
            tensors[name] = found[name]
    return tensors


def _shard(reader: _Reader, name: str) -> Tensors:
    try:
        return read_tensors(reader.content(name, mapped=True))[0]
    except (ValueError, RecursionError) as error:
        raise BaseModelError(
            f"{reader.root / name}: not a readable safetensors file ({error}); it may be incomplete: download it again"
        ) from None


def _other_weights(root: Path) -> str:
    for pattern, advice in _OTHER_WEIGHTS.items():
        for path in sorted(root.glob(pattern)):
            return f", only {path.name}; {advice}"
    return "; download the weights too"


def _tokenizer(reader: _Reader, config: Mapping[str, Any]) -> Tokenizer:
    for name in ("tokenizer.json", "vocab.txt"):
        if not reader.has(name):
            continue
        content = bytes(reader.content(name))
        settings: dict[str, Any] = {}
        if name == "vocab.txt":
            own = reader.json("tokenizer_config.json", "") if reader.has("tokenizer_config.json") else {}
            settings = {**config, **own}
        try:
            return read_tokenizer(name, content, settings)
        except ValueError as error:
            raise BaseModelError(f"{reader.root / name}: the tokenizer cannot be read ({error})") from None
    raise BaseModelError(f"{reader.root}: no tokenizer.json and no vocab.txt; download the tokenizer too")
