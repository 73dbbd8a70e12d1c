"""Pretrained encoders: Hugging Face directories of the BERT and DistilBERT families, through keras-hub."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authorid.errors import AuthoridError, require
from authorid.training.keras_setup import import_keras_hub

__all__ = ["FAMILIES", "BaseModelError", "load_backbone", "load_tokenizer", "weights_sha256"]

FAMILIES = {"bert": "BertBackbone", "distilbert": "DistilBertBackbone"}
"""``model_type`` in a Hugging Face config.json -> the keras-hub class."""

_WEIGHTS = "model.safetensors"
_INDEX = "model.safetensors.index.json"


class BaseModelError(AuthoridError):
    """A pretrained model cannot be used as the base of a classifier."""


def load_backbone(base_model: str, dtype: str = "float32") -> Any:
    """Load the encoder `base_model`: a directory in Hugging Face layout, or a Hugging Face hub id.

    `dtype` is a Keras dtype policy ("float32", "mixed_bfloat16"). Tensor names may carry the model prefix
    (``bert.``, ``distilbert.``) or not. Returns a keras-hub backbone named "backbone"; raises `BaseModelError`.
    """
    root = Path(base_model)
    if not root.is_dir():
        return _load_from_hub(base_model, dtype)
    family = _family(root)
    with tempfile.TemporaryDirectory(prefix="authorid-base-") as scratch:
        return _from_preset(str(_canonical(root, family, Path(scratch))), family, base_model, dtype)


def load_tokenizer(base_model: str) -> Any:
    """The `tokenizers.Tokenizer` of a base model directory, from tokenizer.json or else vocab.txt."""
    from tokenizers import BertWordPieceTokenizer, Tokenizer

    root = Path(base_model)
    if not root.is_dir():
        root = _hub_directory(base_model)
    try:
        if (root / "tokenizer.json").is_file():
            return Tokenizer.from_file(str(root / "tokenizer.json"))
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


def weights_sha256(base_model: str) -> str:
    """SHA-256 over the weight files of a base model directory ("" for a hub id)."""
    import hashlib

    total = hashlib.sha256()
    root = Path(base_model)
    if not root.is_dir():
        return ""
    for path in sorted(root.glob("*.safetensors")):
        with path.open("rb") as file:
            while chunk := file.read(1 << 20):
                total.update(chunk)
    return total.hexdigest()


def _load_from_hub(name: str, dtype: str) -> Any:
    root = _hub_directory(name)
    return load_backbone(str(root), dtype)


def _hub_directory(name: str) -> Path:
    """Fetch the few files needed of a hub repository, into the hub's own cache."""
    bare = name.removeprefix("hf://")
    if not bare or bare.startswith((".", "/", "~")) or bare.count("/") > 1:
        raise BaseModelError(f"{name}: no such directory")
    hub = require("huggingface_hub", "train")
    patterns = [
        "config.json",
        "*.safetensors",
        _INDEX,
        "tokenizer.json",
        "tokenizer_config.json",
        "vocab.txt",
    ]
    try:
        return Path(hub.snapshot_download(bare, allow_patterns=patterns))
    except Exception as error:  # network, not found, gated: all end here
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise BaseModelError(
            f"{name}: neither a directory nor a model that could be fetched from the Hugging Face hub ({reason}); "
            "download it and give the directory"
        ) from None


def _family(root: Path) -> str:
    if not (root / "config.json").is_file():
        raise BaseModelError(f"{root}: no config.json; a base model is a directory in Hugging Face layout")
    config = _json(root / "config.json")
    family = config.get("model_type")
    if family not in FAMILIES:
        raise BaseModelError(f"{root}: model_type {family!r} is not supported; use {' or '.join(FAMILIES)}")
    if float(config.get("layer_norm_eps", 1e-12)) != 1e-12:
        raise BaseModelError(
            f"{root}: layer_norm_eps {config['layer_norm_eps']} is not supported, only 1e-12"
        )
    position = config.get("position_embedding_type", "absolute")
    if position != "absolute":
        raise BaseModelError(
            f"{root}: position_embedding_type {position!r} is not supported, only 'absolute'"
        )
    if not (root / _WEIGHTS).is_file() and not (root / _INDEX).is_file():
        hint = "; convert pytorch_model.bin to safetensors first" if any(root.glob("*.bin")) else ""
        raise BaseModelError(f"{root}: no {_WEIGHTS}{hint}")
    return str(family)


def _canonical(root: Path, family: str, scratch: Path) -> Path:
    """A directory whose tensor names are the ones that keras-hub's loader looks for: `root` itself if it can be.

    keras-hub wants ``distilbert.embeddings...`` with the prefix, BERT names with or without it, and a pooler
    that checkpoints of some tasks lack (we never use keras-hub's; zeros do).
    """
    numpy = require("numpy", "train")
    names = _tensor_names(root)
    marks = [name for name in names if name.endswith("embeddings.word_embeddings.weight")]
    if len(marks) != 1:
        raise BaseModelError(f"{root}: no {family} word embeddings among its {len(names)} tensors")
    prefix = marks[0].removesuffix("embeddings.word_embeddings.weight")
    wanted = "distilbert." if family == "distilbert" else ""
    pooler = family != "bert" or f"{prefix}pooler.dense.weight" in names
    single = (root / _WEIGHTS).is_file()
    if single and pooler and (prefix == wanted or family == "bert"):
        return root
    safetensors = require("safetensors.numpy", "train")
    tensors: dict[str, Any] = {}
    for file in sorted(set(names.values())):
        for name, tensor in safetensors.load_file(root / file).items():
            if name.startswith(prefix):
                tensors[wanted + name.removeprefix(prefix)] = tensor
    if not pooler:
        width = tensors[f"{wanted}embeddings.word_embeddings.weight"].shape[1]
        tensors[f"{wanted}pooler.dense.weight"] = numpy.zeros((width, width), numpy.float32)
        tensors[f"{wanted}pooler.dense.bias"] = numpy.zeros(width, numpy.float32)
    safetensors.save_file(tensors, scratch / _WEIGHTS)
    shutil.copyfile(root / "config.json", scratch / "config.json")
    return scratch


def _tensor_names(root: Path) -> dict[str, str]:
    """Tensor name -> the file that holds it."""
    safetensors = require("safetensors", "train")
    if not (root / _WEIGHTS).is_file():
        index: dict[str, str] = _json(root / _INDEX).get("weight_map", {})
        for name in set(index.values()):
            if Path(name).name != name or not (root / name).is_file():
                raise BaseModelError(f"{root / _INDEX}: names {name!r}, which is not there")
        return index
    try:
        with safetensors.safe_open(root / _WEIGHTS, framework="np") as file:
            return dict.fromkeys(file.keys(), _WEIGHTS)
    except Exception as error:
        raise BaseModelError(f"{root / _WEIGHTS}: not a readable safetensors file ({error})") from None


def _from_preset(preset: str, family: str, base_model: str, dtype: str) -> Any:
    hub = import_keras_hub()
    try:
        return getattr(hub.models, FAMILIES[family]).from_preset(preset, dtype=dtype, name="backbone")
    except Exception as error:  # keras-hub raises KeyError, ValueError and safetensors' own
        raise BaseModelError(f"{base_model}: keras-hub could not load it ({error})") from error


def _json(path: Path) -> Mapping[str, Any]:
    try:
        record = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BaseModelError(f"{path}: not readable JSON ({error})") from None
    if not isinstance(record, dict):
        raise BaseModelError(f"{path}: not a JSON object")
    return record
