"""Directories in Hugging Face layout: found or downloaded, and read file by file.

Nothing in them is deserialized into code: JSON is parsed, and weights are arrays of safetensors files. Each file is
opened once, so that a digest of what was read is a digest of exactly what is used.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from tokenizers import Tokenizer

from authorid.bundle.safetensors import read_tensors
from authorid.errors import AuthoridError, os_error_reason, require
from authorid.training.encoder.base_tokenizer import read_tokenizer

__all__ = ["SAFETENSORS", "BaseModelError", "ModelDirectory", "Tensors", "WeightsFormat", "resolve_base_model"]

Tensors = Mapping[str, npt.NDArray[Any]]

_LFS = b"version https://git-lfs.github.com/spec/"

_CONVERSION = "convert it with transformers{}: AutoModel.from_pretrained(OLD{}).save_pretrained(NEW)"
_OTHER_WEIGHTS = {
    "*.bin": _CONVERSION.format("", ""),
    "*.h5": _CONVERSION.format(" 4", ", from_tf=True"),
    "*.msgpack": _CONVERSION.format(" 4", ", from_flax=True"),
    "*.ckpt*": "convert it to safetensors with the tools of its authors",
}
"""Weights in other formats, and what to do about them."""

_METADATA = ("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt")


class BaseModelError(AuthoridError):
    """A pretrained or fine-tuned model cannot be read."""


@dataclass(frozen=True, slots=True)
class WeightsFormat:
    """A format of weights: the file `single`, or several files with this `suffix` that the JSON file `index` names.

    `read` returns the arrays in the content of one file, by name, and raises `ValueError`. `name` is for messages.
    """

    name: str
    single: str
    index: str
    suffix: str
    read: Callable[[bytes | memoryview], Tensors]


SAFETENSORS = WeightsFormat(
    "safetensors",
    "model.safetensors",
    "model.safetensors.index.json",
    ".safetensors",
    lambda content: read_tensors(content)[0],
)


def resolve_base_model(base_model: str, formats: Sequence[WeightsFormat] = (SAFETENSORS,)) -> Path:
    """Return the directory of `base_model`; raises `BaseModelError`.

    `base_model` is a directory, or else a Hugging Face hub id (with or without ``hf://``), which is downloaded to the
    hub's cache, with weights in these `formats`.
    """
    root = Path(base_model)
    if root.is_dir():
        return root
    name = base_model.removeprefix("hf://")
    if not re.fullmatch(r"[\w-][\w.-]*(/[\w.-]+)?", name):
        raise BaseModelError(f"{base_model}: no such directory")
    hub = require("huggingface_hub", "train")
    files = [*_METADATA, *(pattern for form in formats for pattern in (f"*{form.suffix}", form.index))]
    try:
        return Path(hub.snapshot_download(name, allow_patterns=files))
    except Exception as error:  # no network, no such repository, gated
        lines = str(error).strip().splitlines() or [type(error).__name__]
        raise BaseModelError(
            f"{base_model}: no such directory, and it could not be fetched from the Hugging Face hub "
            f"({lines[0]}); download the model and give its directory"
        ) from None


class ModelDirectory:
    """Reads files of the directory `root`, and keeps their contents in `files`. Methods raise `BaseModelError`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.files: dict[str, bytes | memoryview] = {}

    def sha256(self) -> str:
        """SHA-256 over the names and contents of all files that were read."""
        digests = {name: hashlib.sha256(content).hexdigest() for name, content in self.files.items()}
        return hashlib.sha256(json.dumps(digests, sort_keys=True).encode()).hexdigest()

    def has(self, name: str) -> bool:
        """Whether there is a file `name`."""
        return (self.root / name).is_file()

    def content(self, name: str, *, mapped: bool = False) -> bytes | memoryview:
        """The content of a file, `mapped` into memory or read."""
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
        """The object in a JSON file; `advice` is what to do when there is no such file."""
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

    def optional_json(self, name: str) -> Mapping[str, Any]:
        """The object in a JSON file; an empty one where there is no such file."""
        return self.json(name, "") if self.has(name) else {}

    def weights(self, form: WeightsFormat = SAFETENSORS) -> Tensors:
        """All tensors, of one file or else of the files that the index names; they stay on disk until they are used."""
        if self.has(form.single):
            return self._shard(form, form.single)
        if not self.has(form.index):
            raise BaseModelError(f"{self.root}: no {form.single}{self._other_weights()}")
        index = self.root / form.index
        places = self.json(form.index, "download it").get("weight_map")
        if not isinstance(places, dict) or not all(isinstance(name, str) for name in places.values()):
            raise BaseModelError(f"{index}: has no weight_map of file names; download it again")
        tensors: dict[str, Any] = {}
        for file in sorted(set(places.values())):
            if Path(file).name != file or not file.endswith(form.suffix) or not self.has(file):
                raise BaseModelError(f"{index}: names {file!r}, which is not there; download all files of the model")
            found = self._shard(form, file)
            wanted = [name for name, place in places.items() if place == file]
            for name in wanted:
                if name not in found:
                    raise BaseModelError(f"{index}: tensor {name!r} is not in {file}; download all files again")
                tensors[name] = found[name]
        return tensors

    def tokenizer(self, config: Mapping[str, Any]) -> Tokenizer:
        """The tokenizer of ``tokenizer.json``, or else of ``vocab.txt``; `config` is the content of config.json."""
        for name in ("tokenizer.json", "vocab.txt"):
            if not self.has(name):
                continue
            content = bytes(self.content(name))
            settings: dict[str, Any] = {}
            if name == "vocab.txt":
                settings = {**config, **self.optional_json("tokenizer_config.json")}
            try:
                return read_tokenizer(name, content, settings)
            except ValueError as error:
                raise BaseModelError(f"{self.root / name}: the tokenizer cannot be read ({error})") from None
        raise BaseModelError(f"{self.root}: no tokenizer.json and no vocab.txt; download the tokenizer too")

    def _shard(self, form: WeightsFormat, name: str) -> Tensors:
        try:
            return form.read(self.content(name, mapped=True))
        except (ValueError, RecursionError) as error:
            raise BaseModelError(
                f"{self.root / name}: not a readable {form.name} file ({error}); it may be incomplete: "
                "download it again"
            ) from None

    def _other_weights(self) -> str:
        for pattern, advice in _OTHER_WEIGHTS.items():
            for path in sorted(self.root.glob(pattern)):
                return f", only {path.name}; {advice}"
        return "; download the weights too"
