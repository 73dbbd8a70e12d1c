"""The directory that a training writes: checks before it starts, its files, and the record of versions."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from authorid.bundle.manifest import MANIFEST, NGRAMS
from authorid.bundle.record_digest import check_digest, encode_json, with_digest
from authorid.errors import RunError
from authorid.evaluation.plots import plot_history
from authorid.outputs import atomic
from authorid.outputs.directory import Workspace, reserve_directory
from authorid.outputs.write_errors import raising_output_errors
from authorid.reporter import SILENT, Reporter
from authorid.training.encoder.classifier import Geometry
from authorid.version import __version__

__all__ = [
    "RUN_FORMAT",
    "Existing",
    "TrainingFiles",
    "begin_training",
    "check_run",
    "hf_config",
    "reserve_run",
    "versions",
    "write_run",
]

RUN_FORMAT = 3
"""Format version of run.json."""

Existing = Literal["refuse", "resume", "replace"]
"""What to do about a run that exists: refuse to touch it, resume it if it is unfinished, or replace it."""

_PARTS = (
    "run.json",
    "model.keras",
    "config.json",
    "tokenizer.json",
    "history.json",
    "history.png",
    NGRAMS,
    MANIFEST,
    "README.md",
)

_OLDER_CHECKPOINT = "checkpoint"
"""In the run directory, until format 3."""

_TRAINING = "training.json"
"""In the state of an unfinished training: a `_Training`."""


@dataclass(frozen=True, slots=True)
class _Training:
    """An unfinished training: its `id`, which the finished run has too, and whether it may replace a run."""

    id: str
    replace: bool


@contextmanager
def reserve_run(out: Path, existing: Existing, reporter: Reporter = SILENT) -> Iterator[Workspace]:
    """Reserve the directory `out` for a training.

    Raises `RunError` when what is there does not allow it, and `OutputError` when another process has reserved it, or
    when it cannot be written or replaced.
    """
    with reserve_directory(out, reporter) as workspace:
        _discard_finished_state(workspace)
        check_run(workspace, existing)
        yield workspace


def check_run(workspace: Workspace, existing: Existing = "replace") -> None:
    """Check that a training may and can put a run into the place of what is there.

    Raises `RunError` and `OutputError`.
    """
    out, target = workspace.out, workspace.target
    with raising_output_errors(out):
        if target.exists() and not target.is_dir():
            raise RunError(f"{out}: exists and is not a directory")
        names = {entry.name for entry in target.iterdir()} if target.is_dir() else set()
        finished, older = "run.json" in names, _OLDER_CHECKPOINT in names
        if names and not finished and not older:
            raise RunError(f"{out}: not empty and not a training run; refusing to write into it")
        foreign = sorted(names - {*_PARTS, _OLDER_CHECKPOINT})
        if foreign:
            raise RunError(f"{out}: holds files that are not of a training run ({foreign[0]}); move them away")
        if existing != "replace":
            _check_unfinished(workspace, existing, finished=finished, older=older and not finished)
        workspace.check_replaceable()


def _check_unfinished(workspace: Workspace, existing: Existing, *, finished: bool, older: bool) -> None:
    """Raise `RunError` unless a training may begin or go on without replacing anything it was not begun for."""
    out, begun = workspace.out, workspace.state.is_dir()
    if begun and existing == "refuse":
        raise RunError(
            f"{out}: holds an unfinished training (in {workspace.state}); "
            "pass --resume to continue it, or --force to start over"
        )
    if finished and not begun:
        raise RunError(f"{out}: holds a finished run; pass --force to replace it")
    if finished and not _read_training(workspace).replace:
        raise RunError(f"{out}: holds a run that was not there when the training began; move it away")
    if older:
        raise RunError(f"{out}: holds an unfinished training of an older version; pass --force to start over")


def begin_training(workspace: Workspace, existing: Existing) -> str:
    """Begin a training, or go on with one, and return its id; its checkpoint belongs into ``workspace.state``."""
    with raising_output_errors(workspace.out):
        if existing != "resume":
            workspace.discard_state()
        begun = _read_training(workspace)
        if not begun.id:
            begun = _Training(secrets.token_hex(16), existing == "replace")
            workspace.begin_state()
            atomic.write_file(workspace.state / _TRAINING, encode_json(with_digest(asdict(begun))))
        return begun.id


def _read_training(workspace: Workspace) -> _Training:
    """The training that was begun; one without an id if it was killed before it had any."""
    try:
        record = json.loads((workspace.state / _TRAINING).read_bytes())
        check_digest(record, required=True)
        return _Training(record["id"], record["replace"])
    except FileNotFoundError:
        return _Training("", False)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise RunError(f"{workspace.state / _TRAINING}: damaged ({error}); pass --force to start over") from None


def _discard_finished_state(workspace: Workspace) -> None:
    """Remove the state of a training that was killed after its run had taken its place."""
    try:
        record = json.loads((workspace.target / "run.json").read_bytes())
        finished = record["training_id"]
        begun = _read_training(workspace).id
    except (OSError, ValueError, TypeError, KeyError, RecursionError, RunError):
        return
    with raising_output_errors(workspace.out):
        if begun and finished == begun:
            workspace.discard_state()


@dataclass(frozen=True, slots=True)
class TrainingFiles:
    """What the files of a run are made from; `ngrams` is the file of the n-gram model, if it has one."""

    model: Any
    tokenizer: Any
    config: Mapping[str, Any]
    history: Mapping[str, Sequence[float]]
    ngrams: bytes | None


def write_run(workspace: Workspace, files: TrainingFiles, record: Mapping[str, Any]) -> None:
    """Write all files of a run beside its place, and run.json with their digests; `Workspace.publish` comes next."""
    scratch = workspace.state
    with raising_output_errors(workspace.out):
        workspace.begin()
        files.model.save(str(scratch / "model.keras"))
        plot_history(files.history, scratch / "history.png")
        contents = {
            "model.keras": scratch / "model.keras",
            "history.png": scratch / "history.png",
            "tokenizer.json": files.tokenizer.to_str(),
            "config.json": encode_json(files.config),
            "history.json": encode_json(files.history),
            **({} if files.ngrams is None else {NGRAMS: files.ngrams}),
        }
        digests = {name: workspace.write(name, content) for name, content in contents.items()}
        workspace.write("run.json", encode_json(with_digest({**record, "files": digests})))


def hf_config(geometry: Geometry, authors: Sequence[str], dropout: float) -> dict[str, Any]:
    """Return config.json in Hugging Face style; its activation is the one that keras-hub computes."""
    common = {
        "id2label": {str(index): author for index, author in enumerate(authors)},
        "label2id": {author: index for index, author in enumerate(authors)},
        "vocab_size": geometry.vocabulary_size,
        "max_position_embeddings": geometry.max_sequence_length,
        "pad_token_id": 0,
    }
    if geometry.family == "distilbert":
        return {
            "model_type": "distilbert",
            "architectures": ["DistilBertForSequenceClassification"],
            "activation": "gelu",
            "n_layers": geometry.num_layers,
            "n_heads": geometry.num_heads,
            "dim": geometry.hidden_dim,
            "hidden_dim": geometry.intermediate_dim,
            "dropout": geometry.dropout,
            "attention_dropout": geometry.dropout,
            "seq_classif_dropout": dropout,
            **common,
        }
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_act": "gelu_new",
        "num_hidden_layers": geometry.num_layers,
        "num_attention_heads": geometry.num_heads,
        "hidden_size": geometry.hidden_dim,
        "intermediate_size": geometry.intermediate_dim,
        "type_vocab_size": geometry.num_segments,
        "hidden_dropout_prob": geometry.dropout,
        "attention_probs_dropout_prob": geometry.dropout,
        "classifier_dropout": dropout,
        "layer_norm_eps": 1e-12,
        **common,
    }


def versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that affect a training; "unknown" if not installed."""
    found = {"python": platform.python_version(), "authorid": __version__}
    for name in ("keras", "tensorflow", "keras-hub", "numpy", "tokenizers"):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "unknown"
    return found
