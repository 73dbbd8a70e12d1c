"""The directory that a training writes: checks before it starts, its files, and the record of versions."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from authorid import __version__
from authorid.bundle.manifest import MANIFEST, NGRAMS
from authorid.bundle.save import check_writable
from authorid.errors import RunError
from authorid.evaluation.plots import plot_history
from authorid.training.encoder.checkpoint import write_atomically
from authorid.training.encoder.classifier import Geometry

__all__ = [
    "RUN_FORMAT",
    "Existing",
    "check_directory",
    "clear_directory",
    "encode_json",
    "foreign_files",
    "hf_config",
    "versions",
    "write_run",
]

RUN_FORMAT = 2
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
_CHECKPOINT = "checkpoint"


def check_directory(out: Path, existing: Existing) -> None:
    """Check that a training may and can write to `out`, without touching it; raises `RunError` and `OutputError`."""
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: exists and is not a directory")
    finished = (out / "run.json").is_file()
    begun = (out / _CHECKPOINT).is_dir()
    if finished and existing != "replace":
        raise RunError(f"{out}: holds a finished run; pass --force to replace it")
    if begun and not finished and existing == "refuse":
        raise RunError(
            f"{out}: holds an unfinished training; continue it as it was begun, with --resume, or pass --force to "
            "start over"
        )
    if out.is_dir() and not finished and not begun and any(out.iterdir()):
        raise RunError(f"{out}: not empty and not a training run; refusing to write into it")
    check_writable(out)


def foreign_files(out: Path) -> list[str]:
    """Return the names in `out` that no training writes, sorted."""
    names = [entry.name for entry in out.iterdir()] if out.is_dir() else []
    return sorted(name for name in names if name not in (*_PARTS, _CHECKPOINT))


def clear_directory(out: Path, *, force: bool) -> None:
    """Create `out` for a training; with `force`, remove the files of a run that is there (and nothing else)."""
    if force:
        for name in _PARTS:  # run.json first: without it the run does not count as finished
            (out / name).unlink(missing_ok=True)
        shutil.rmtree(out / _CHECKPOINT, ignore_errors=True)
    (out / _CHECKPOINT).mkdir(parents=True, exist_ok=True)


def write_run(
    out: Path,
    model: Any,
    tokenizer: Any,
    config: Mapping[str, Any],
    history: Mapping[str, Sequence[float]],
    record: Mapping[str, Any],
) -> None:
    """Write all files of a run, run.json last, and remove the checkpoint."""
    staged = out / _CHECKPOINT / "model.keras"
    model.save(str(staged))
    write_atomically(out / "model.keras", staged.read_bytes())
    write_atomically(out / "tokenizer.json", tokenizer.to_str().encode("utf-8"))
    write_atomically(out / "config.json", encode_json(config))
    write_atomically(out / "history.json", encode_json(history))
    plot_history(history, out / "history.png")
    write_atomically(out / "run.json", encode_json(record))
    shutil.rmtree(out / _CHECKPOINT, ignore_errors=True)


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


def encode_json(record: Mapping[str, Any]) -> bytes:
    """Return `record` as indented JSON in UTF-8, with a final line break."""
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode("utf-8")
