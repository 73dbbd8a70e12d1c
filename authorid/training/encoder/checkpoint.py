"""The checkpoint of an unfinished training: one safetensors file, replaced as a whole after every epoch.

It holds every variable of the model and of the optimizer. The metadata in its header holds the plan (options, corpus
digest, authors, base model, split), the history so far, and the SHA-256 of the whole file with zeros in its own place.
No pickle.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from authorid.errors import RunError, os_error_reason, require
from authorid.outputs import atomic
from authorid.training.corpus import Corpus
from authorid.training.recipes import TrainingOptions

__all__ = ["Checkpoint", "check_plan", "read_checkpoint", "restore", "save", "training_plan"]

_FILE = "checkpoint.safetensors"
_UNKNOWN = "0" * 64
"""Stands for the digest while it is computed."""


def training_plan(
    options: TrainingOptions, base_sha256: str, corpus: Corpus, split: tuple[Sequence[int], Sequence[int]]
) -> dict[str, Any]:
    """Return what must stay the same when a training is resumed, as plain values.

    `base_sha256` is the digest of the base model; `split` holds training and validation documents.
    """
    training, validation = split
    return {
        "options": options.to_json(),
        "corpus": corpus.digest,
        **({"reading": dict(corpus.reading)} if corpus.reading else {}),
        "authors": list(corpus.authors),
        "base_model_sha256": base_sha256,
        "training": [corpus.documents[index].path for index in training],
        "validation": [corpus.documents[index].path for index in validation],
    }


def check_plan(plan: Mapping[str, Any], past: Mapping[str, Any], out: str) -> None:
    """Raise `RunError`, with what differs, unless `plan` is that of the unfinished training of `out`, `past`."""
    now, then = (TrainingOptions.from_json(each["options"]) for each in (plan, past))
    differences = [line for line in now.differences(then) if not line.startswith("base_model ")]
    if plan["base_model_sha256"] != past["base_model_sha256"]:
        differences.append("the base model has changed")
    if plan["corpus"] != past["corpus"] or plan["authors"] != past["authors"]:
        differences.append("the corpus has changed")
    elif plan.get("reading") != past.get("reading"):
        differences.append("the corpus is read with other options")
    elif not differences and (plan["training"], plan["validation"]) != (past["training"], past["validation"]):
        differences.append("the corpus is split differently (another version of Keras or numpy?)")
    if differences:
        raise RunError(
            f"{out}: cannot resume: {'; '.join(differences)}. Pass --force instead of --resume to start over"
        )


def save(state: Path, model: Any, plan: Mapping[str, Any], history: Mapping[str, Any]) -> None:
    """Write the checkpoint in the directory `state`; an interruption leaves either the old file or the new one."""
    numpy_format = require("safetensors.numpy", "train")
    tensors = {name: np.asarray(variable.value.numpy()) for name, variable in _variables(model).items()}
    metadata = {"plan": json.dumps(plan, sort_keys=True), "history": json.dumps(history), "digest": _UNKNOWN}
    atomic.write_file(state / _FILE, _with_digest(numpy_format.save(tensors, metadata)))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The metadata of a checkpoint: the plan of the training, and its history so far."""

    plan: Mapping[str, Any]
    history: Mapping[str, Sequence[float]]


def read_checkpoint(state: Path) -> Checkpoint | None:
    """Read the metadata of the checkpoint in `state`; returns None if there is none, raises `RunError` if damaged."""
    path = state / _FILE
    if not path.is_file():
        return None
    data = _read(path)
    try:
        metadata = json.loads(_header(data))["__metadata__"]
        return Checkpoint(json.loads(metadata["plan"]), json.loads(metadata["history"]))
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise _damaged(path, str(error)) from None


def restore(state: Path, model: Any) -> None:
    """Load the checkpoint in `state` into `model` and its optimizer; raises `RunError` when it does not fit."""
    numpy_format = require("safetensors.numpy", "train")
    path = state / _FILE
    tensors = numpy_format.load(_read(path))
    variables = _variables(model)
    if set(tensors) != set(variables):
        raise RunError(f"{path}: made for another model; pass --force to start over")
    for name, variable in variables.items():
        if tuple(variable.shape) != tensors[name].shape:
            raise RunError(f"{path}: {name} has shape {tensors[name].shape}, not {tuple(variable.shape)}")
        variable.assign(tensors[name])


def _read(path: Path) -> bytes:
    """The content of the checkpoint at `path`; raises `RunError` if it cannot be read, or its digest differs."""
    try:
        data = path.read_bytes()
        header = json.loads(_header(data))
        recorded = header["__metadata__"]["digest"]
        place = data.index(_digest_field(recorded))
    except OSError as error:
        raise RunError(f"{path}: cannot be read: {os_error_reason(error)}") from None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise _damaged(path, str(error)) from None
    field = _digest_field(_UNKNOWN)
    unsealed = (memoryview(data)[:place], field, memoryview(data)[place + len(field) :])
    if recorded != _sha256(unsealed):
        raise _damaged(path, "its content does not match its digest")
    return data


def _with_digest(data: bytes) -> bytes:
    """A checkpoint with its digest in the place of the zeros."""
    return data.replace(_digest_field(_UNKNOWN), _digest_field(_sha256((data,))), 1)


def _digest_field(digest: str) -> bytes:
    """How the header holds the digest. Quotes in the plan and in the history are escaped: there is only one."""
    return f'"digest":"{digest}"'.encode()


def _header(data: bytes) -> bytes:
    """The JSON header of a safetensors file."""
    return data[8 : 8 + int.from_bytes(data[:8], "little")]


def _sha256(parts: Iterable[bytes | memoryview]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


def _damaged(path: Path, reason: str) -> RunError:
    return RunError(f"{path}: the checkpoint is damaged ({reason}); pass --force to start over")


def _variables(model: Any) -> dict[str, Any]:
    """Return every variable that training changes or dropout draws from, under names that are stable."""
    named = {f"model/{index}": variable for index, variable in enumerate(model.variables)}
    named |= {f"optimizer/{index}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named
