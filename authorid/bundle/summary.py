"""What people want to know about a bundle: a line for a list, and a card. Manifests are data, and may be anybody's."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import MANIFEST, NGRAMS, Bundle
from authorid.bundle.strict_json import read_object

__all__ = ["describe_bundle", "summarize"]

_MOST_BYTES = 64 << 20
"""Larger manifests are not read for a list."""


def summarize(path: Path) -> dict[str, Any]:
    """A few facts about the bundle at `path`, without verifying its files; ``problem`` is why there are none."""
    summary: dict[str, Any] = {"path": str(path), "name": path.name, "parts": None, "classes": None, "problem": None}
    try:
        manifest = _read(path / MANIFEST)
        labels = _read(path / "config.json").get("id2label")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return {**summary, "problem": f"cannot be read: {reason}"}
    parts = ["n-grams"] * (_at(manifest, "ngrams") == NGRAMS) + ["encoder"] * bool(_at(manifest, "graphs"))
    name = _at(manifest, "provenance", "name")
    return {
        **summary,
        "name": name if isinstance(name, str) else path.name,
        "parts": " + ".join(parts),
        "classes": len(labels) if isinstance(labels, dict) else None,
    }


def _read(path: Path) -> dict[str, Any]:
    if path.is_symlink() or not path.is_file():
        raise ValueError(f"{path.name} is not a regular file")
    if path.stat().st_size > _MOST_BYTES:
        raise ValueError(f"{path.name} is larger than {_MOST_BYTES} bytes")
    return read_object(path)


def describe_bundle(bundle: Bundle) -> dict[str, Any]:
    """The card of a bundle, whose files have been verified: JSON-ready values; None for what it does not record."""
    provenance, has_ngrams, has_encoder = bundle.provenance, bundle.ngrams is not None, bool(bundle.graphs)
    with (bundle.path / MANIFEST).open("rb") as stream:
        manifest_digest = hashlib.file_digest(stream, "sha256").hexdigest()
    files = [
        {"name": name, "bytes": (bundle.path / name).stat().st_size, "sha256": digest}
        for name, digest in sorted({MANIFEST: manifest_digest, **bundle.files}.items())
    ]
    checks = _at(bundle.parity, "checks")
    return {
        "name": bundle.name,
        "path": str(bundle.path),
        "classes": len(bundle.authors),
        "kind_of_classes": bundle.classes,
        "efforts": ["fast"] * has_ngrams + ["full"] * has_encoder + ["auto"] * (has_ngrams and has_encoder),
        "default_effort": bundle.default_effort,
        "ngrams": _at(provenance, "fusion", "ngrams") if has_ngrams else None,
        "encoder": bundle.model_type if has_encoder else None,
        "parameters": _at(provenance, "parameters") if has_encoder else None,
        "graphs": sorted(bundle.graphs),
        "window_tokens": bundle.window.length if has_encoder else None,
        "decision_rule": bundle.decision.rule,
        "typography": bundle.typography,
        "base_model": _at(provenance, "base_model", "name"),
        "corpus": _at(provenance, "corpus", "name"),
        "training_documents": _at(provenance, "corpus", "documents"),
        "ngram_accuracy": _at(provenance, "fusion", "shifted_split", "accuracy"),
        "checks": [
            {"check": _at(check, "check"), "value": _at(check, "value"), "bound": _at(check, "bound")}
            for check in (checks if isinstance(checks, list) else [])
        ],
        "bytes": sum(int(str(file["bytes"])) for file in files),
        "files": files,
        "names": list(bundle.authors),
    }


def _at(record: Any, *keys: str) -> Any:
    """The value behind `keys` in nested objects; None where there is no such key, or no object."""
    for key in keys:
        record = record.get(key) if isinstance(record, Mapping) else None
    return record
