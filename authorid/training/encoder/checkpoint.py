"""The checkpoint of an unfinished training: one safetensors file, replaced as a whole after every epoch.

It holds every variable of the model and of the optimizer. The metadata in its header holds the plan (options, corpus
digest, authors, base model, split) and the history so far. No pickle.
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
from authorid.training.corpus import Corpus
from authorid.training.recipes import TrainingOptions

__all__ = ["Checkpoint", "check_plan", "read_checkpoint", "restore", "save", "training_plan", "write_atomically"]

_FILE = "state.safetensors"


def training_plan(
    options: TrainingOptions, base_sha256: str, corpus: Corpus, split: tuple[Sequence[int], Sequence[int]]
) -> dict[str, Any]:
    """Return what must stay the same when a training is resumed, as plain values.

    `base_sha256` is the digest of the base model's weights; `split` holds training and validation documents.
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


def check_plan(plan: Mapping[str, Any], past: Mapping[str, Any], out: Path) -> None:
    """Raise `RunError`, with what differs, unless `plan` is the one of the checkpoint in `out`, `past`."""
    now, then = (TrainingOptions.from_json(each["options"]) for each in (plan, past))
    differences = [line for line in now.differences(then) if not line.startswith("base_model ")]
    if plan["base_model_sha256"] != past["base_model_sha256"]:
        differences.append("the base model has other weights")
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


def save(root: Path, model: Any, plan: Mapping[str, Any], history: Mapping[str, Any]) -> None:
    """Write ``root/checkpoint/state.safetensors``; an interruption leaves either the old file or the new one."""
    numpy_format = require("safetensors.numpy", "train")
    tensors = {name: np.asarray(variable.value.numpy()) for name, variable in _variables(model).items()}
    metadata = {"plan": json.dumps(plan, sort_keys=True), "history": json.dumps(history)}
    write_atomically(root / "checkpoint" / _FILE, numpy_format.save(tensors, metadata))


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The metadata of a checkpoint: the plan of the training, and its history so far."""

    plan: Mapping[str, Any]
    history: Mapping[str, Sequence[float]]


def read_checkpoint(root: Path) -> Checkpoint | None:
    """Read the metadata of the checkpoint in `root`; returns None if there is none, raises `RunError` if damaged."""
    path = root / "checkpoint" / _FILE
    if not path.is_file():
        return None
    safetensors = require("safetensors", "train")
    try:
        with safetensors.safe_open(path, framework="np") as file:
            metadata = file.metadata()
        return Checkpoint(json.loads(metadata["plan"]), json.loads(metadata["history"]))
    except Exception as error:  # safetensors raises its own class, which may not be importable
        raise RunError(f"{path}: the checkpoint is not readable ({error}); pass --force to start over") from None


def restore(root: Path, model: Any) -> None:
    """Load the checkpoint in `root` into `model` and its optimizer; raises `RunError` when it does not fit."""
    numpy_format = require("safetensors.numpy", "train")
    path = root / "checkpoint" / _FILE
    tensors = numpy_format.load_file(path)
    variables = _variables(model)
    if set(tensors) != set(variables):
        raise RunError(f"{path}: made for another model; pass --force to start over")
    for name, variable in variables.items():
        if tuple(variable.shape) != tensors[name].shape:
            raise RunError(f"{path}: {name} has shape {tensors[name].shape}, not {tuple(variable.shape)}")
        variable.assign(tensors[name])


def write_atomically(path: Path, data: bytes) -> None:
    """Write `data` to a temporary file beside `path`, flush it to the disk, and rename it to `path`."""
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
    """Return every variable that training changes or dropout draws from, under names that are stable."""
    named = {f"model/{index}": variable for index, variable in enumerate(model.variables)}
    named |= {f"optimizer/{index}": variable for index, variable in enumerate(model.optimizer.variables)}
    return named
