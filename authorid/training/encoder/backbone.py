"""Load pretrained encoders: Hugging Face directories of the BERT and DistilBERT families, with keras-hub."""

from __future__ import annotations

import hashlib
import re
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import BertWordPieceTokenizer, Tokenizer

from authorid.bundle.strict_json import read_object
from authorid.encoder.tokenizer_file import read_tokenizer
from authorid.errors import AuthoridError, require
from authorid.training.encoder.keras_setup import import_keras_hub

__all__ = ["FAMILIES", "BaseModelError", "load_backbone", "load_tokenizer", "resolve_base_model", "weights_sha256"]

FAMILIES = {"bert": "BertBackbone", "distilbert": "DistilBertBackbone"}
"""``model_type`` in a Hugging Face config.json -> the keras-hub class."""

# keras-hub's encoders compute this whatever config.json says; other values are refused.
_SUPPORTED: Mapping[str, Mapping[str, tuple[Any, ...]]] = {
    "bert": {
        "hidden_act": ("gelu", "gelu_new", "gelu_pytorch_tanh"),
        "layer_norm_eps": (1e-12,),
        "position_embedding_type": ("absolute",),
    },
    "distilbert": {"activation": ("gelu",)},
}

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class BaseModelError(AuthoridError):
    """A pretrained model cannot be used as the base of a classifier."""


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
    files = ["config.json", "*.safetensors", _INDEX, "tokenizer.json", "tokenizer_config.json", "vocab.txt"]
    try:
        return Path(hub.snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such repository, gated
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BaseModelError(
            f"{base_model}: no such directory, and it could not be fetched from the Hugging Face hub "
            f"({lines[0]}); download the model and give its directory"
        ) from None


def load_backbone(base_model: str, dtype: str = "float32") -> Any:
    """Load the encoder `base_model`: a directory in Hugging Face layout, or a Hugging Face hub id.

    `dtype` is a Keras dtype policy ("float32", "mixed_bfloat16"). Tensor names may carry the model prefix
    (``bert.``, ``distilbert.``) or not. Returns a keras-hub backbone named "backbone"; raises
    `BaseModelError`.
    """
    root = resolve_base_model(base_model)
    family = _family(root)
    with tempfile.TemporaryDirectory(prefix="authorid-base-") as scratch:
        return _from_preset(_canonical(root, family, Path(scratch)), family, base_model, dtype)


def load_tokenizer(base_model: str) -> Any:
    """Return the `Tokenizer` of a base model, from tokenizer.json or else vocab.txt; raises `BaseModelError`."""
    root = resolve_base_model(base_model)
    try:
        if (root / "tokenizer.json").is_file():
            return read_tokenizer(root / "tokenizer.json")
        if (root / "vocab.txt").is_file():
            settings = root / "tokenizer_config.json"
            lowercase = _json(settings).get("do_lower_case", True) if settings.is_file() else True
            wordpiece = BertWordPieceTokenizer(str(root / "vocab.txt"), lowercase=bool(lowercase))
            return Tokenizer.from_str(wordpiece.to_str())
    except BaseModelError:
        raise
    except Exception as error:  # tokenizers raises bare Exception
        raise BaseModelError(f"{root}: the tokenizer cannot be read ({error})") from None
    raise BaseModelError(f"{root}: no tokenizer.json and no vocab.txt")


def weights_sha256(root: Path) -> str:
    """Return the SHA-256 over the weight files of a base model directory, in the order of their names."""
    total = hashlib.sha256()
    for path in sorted(root.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def _family(root: Path) -> str:
    if not (root / "config.json").is_file():
        raise BaseModelError(f"{root}: no config.json; a base model is a directory in Hugging Face layout")
    config = _json(root / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise BaseModelError(f"{root}: model_type {family!r} is not supported; use {' or '.join(FAMILIES)}")
    for setting, supported in _SUPPORTED[str(family)].items():
        if config.get(setting, supported[0]) not in supported:
            choices = " or ".join(map(repr, supported))
            raise BaseModelError(f"{root}: {setting} {config[setting]!r} is not supported, only {choices}")
    if not (root / _WEIGHTS).is_file() and not (root / _INDEX).is_file():
        hint = "; convert pytorch_model.bin to safetensors first" if any(root.glob("*.bin")) else ""
        raise BaseModelError(f"{root}: no {_WEIGHTS}{hint}")
    return str(family)


def _canonical(root: Path, family: str, scratch: Path) -> Path:
    """Return a directory with the tensor names that keras-hub's loader expects: `root` itself if it has them.

    keras-hub expects DistilBERT's names with a prefix (``distilbert.embeddings...``), BERT's with or without one, and a
    pooler. Checkpoints of some tasks have no pooler; it is filled with zeros, which `build_classifier` ignores.
    """
    names = _tensor_names(root)
    suffix = "embeddings.word_embeddings.weight"
    embeddings = [name for name in names if name.endswith(suffix)]
    if len(embeddings) != 1:
        raise BaseModelError(f"{root}: no {family} word embeddings among its {len(names)} tensors")
    prefix = embeddings[0].removesuffix(suffix)
    wanted = "distilbert." if family == "distilbert" else ""
    has_pooler = family != "bert" or f"{prefix}pooler.dense.weight" in names
    if has_pooler and (family == "bert" or prefix == wanted):
        return root
    numpy_format = require("safetensors.numpy", "train")
    tensors: dict[str, Any] = {}
    for file in sorted(set(names.values())):
        for name, tensor in numpy_format.load_file(root / file).items():
            if name.startswith(prefix):
                tensors[wanted + name.removeprefix(prefix)] = tensor
    if not has_pooler:
        width = tensors[wanted + suffix].shape[1]
        tensors["pooler.dense.weight"] = np.zeros((width, width), np.float32)
        tensors["pooler.dense.bias"] = np.zeros(width, np.float32)
    numpy_format.save_file(tensors, scratch / _WEIGHTS)
    shutil.copyfile(root / "config.json", scratch / "config.json")
    return scratch


def _tensor_names(root: Path) -> dict[str, str]:
    """Return tensor name -> name of the file that holds it; raises `BaseModelError`."""
    safetensors = require("safetensors", "train")
    if not (root / _WEIGHTS).is_file():
        index: dict[str, str] = _json(root / _INDEX).get("weight_map", {})
        for name in set(index.values()):
            if Path(name).name != name or not (root / name).is_file():
                raise BaseModelError(f"{root / _INDEX}: names {name!r}, which does not exist")
        return index
    try:
        with safetensors.safe_open(root / _WEIGHTS, framework="np") as file:
            return dict.fromkeys(file.keys(), _WEIGHTS)
    except Exception as error:
        raise BaseModelError(f"{root / _WEIGHTS}: not a readable safetensors file ({error})") from None


def _from_preset(preset: Path, family: str, base_model: str, dtype: str) -> Any:
    hub = import_keras_hub()
    try:
        return getattr(hub.models, FAMILIES[family]).from_preset(str(preset), dtype=dtype, name="backbone")
    except Exception as error:  # keras-hub raises KeyError, ValueError and safetensors' own
        raise BaseModelError(f"{base_model}: keras-hub could not load it ({error})") from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        return read_object(path)
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{path}: not readable JSON ({error})") from None
