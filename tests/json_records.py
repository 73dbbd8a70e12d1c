"""Editing manifests and run.json as their own programs would: with a digest that fits the new content."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from authorid.bundle.record_digest import DIGEST, _digest


def write_record(path: Path, record: Any) -> None:
    """Write `record`, whatever it holds; a digest in it is made to fit."""
    if isinstance(record, dict) and DIGEST in record:
        record = {**record, DIGEST: _digest(record)}
    path.write_text(json.dumps(record), "utf-8")


def edit_record(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change the record at `path`."""
    record = json.loads(path.read_text("utf-8"))
    change(record)
    write_record(path, record)


def list_file(manifest: Path, name: str) -> None:
    """Give the file `name` beside `manifest` the digest of what it holds now."""
    digest = hashlib.sha256((manifest.parent / name).read_bytes()).hexdigest()
    edit_record(manifest, lambda record: record["files"].update({name: digest}))
