"""The state of an unfinished training: one safetensors file, replaced whole after every epoch.

It holds every variable of the model and of the optimizer; the header's metadata carries the plan (options,
corpus digest, authors, base model) and the history so far. No pickle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from authorid.errors import RunError, require

__all__ = ["Checkpoint", "read_checkpoint", "restore", "save", "write_atomically"]

_FILE = "state.safetensors"


def save(root: Path, model: Any, plan: Mapping[str, Any], history: Mapping[str, Any]) -> None:
    """Write ``root/checkpoint/state.safetensors``; a kill at any moment leaves the old one or the new one."""
    numpy_format = require("safetensors.numpy", "train")
    tensors = {name: np.asarray(variable.value.numpy()) for name, variable in _variables(model).items()}
    metadata = {"plan": json.dumps(plan, sort_keys=True), "history": json.dumps(history)}
    write_atomically(root / "checkpoint" / _FILE, numpy_format.save(tensors, metadata))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint says besides its tensors: the plan it follows, and the history by its end."""

    plan: Mapping[str, Any]
    history: Mapping[str, Sequence[float]]


def read_checkpoint(root: Path) -> Checkpoint | None:
    """Read the header of the checkpoint in `root`; None where there is none, `RunError` if it is damaged."""
    path = root / "checkpoint" / _FILE
    if not path.is_file():
        return None
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata()
        return Checkpoint(json.loads(metadata["plan"]), json.loads(metadata["history"]))
    except Exception as error:  # safetensors raises its own, which need not be importable
        raise RunError(f"{path}: the checkpoint is not readable ({error}); use force to start over") from None


def restore(root: Path, model: Any) -> None:
    """Put the checkpoint's values into `model` and its optimizer; raises `RunError` when they do not fit."""
    numpy_format = require("safetensors.numpy", "train")
    path = root / "checkpoint" / _FILE
    tensors = numpy_format.load_file(path)
    variables = _variables(model)
    if set(tensors) != set(variables):
        raise RunError(f"{path}: made for another model; use force to start over")
    for name, variable in variables.items():
        if tuple(variable.shape) != tensors[name].shape:
            raise RunError(f"{path}: {name} has shape {tensors[name].shape}, not {tuple(variable.shape)}")
        variable.assign(tensors[name])


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` beside `path`, flush it to the disk, and rename it into place."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    descriptor = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _variables(model: Any) -> dict[str, Any]:
    """Name every variable that training changes or dropout draws from, the same in each process."""
    named = {f"model/{index}": variable for index, variable in enumerate(model.variables)}
    named |= {f"optimizer/{index}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named
