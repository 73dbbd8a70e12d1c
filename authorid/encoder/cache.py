"""What this machine has taught us, kept between runs: which kernels were checked, what tuning found.

Small JSON files in the user's cache directory. Losing them costs a little time and nothing else, so a directory that
cannot be read or written is no error.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path
from typing import Any

from authorid import __version__
from authorid.machine import cpu_name

__all__ = ["cache_directory", "machine_key", "recall", "remember"]


def cache_directory() -> Path:
    """Where the notes are: ``$AUTHORID_CACHE``, or authorid's place among the user's caches."""
    if os.environ.get("AUTHORID_CACHE"):
        return Path(os.environ["AUTHORID_CACHE"])
    from platformdirs import user_cache_path

    return user_cache_path("authorid")


def machine_key(*parts: str) -> str:
    """A name for `parts` on this machine: it changes with the processor, the system and onnxruntime's version."""
    known = (cpu_name(), platform.platform(), version("onnxruntime"), __version__, *parts)
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:32]


def recall(kind: str, key: str) -> dict[str, Any] | None:
    """The note of that kind and key, or None."""
    try:
        note = json.loads((cache_directory() / f"{kind}-{key}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return note if isinstance(note, dict) else None


def remember(kind: str, key: str, note: dict[str, Any]) -> bool:
    """Keep a note, replacing an older one in one step; False when the cache cannot be written."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, delete=False) as stream:
            json.dump(note, stream)
        Path(stream.name).replace(directory / f"{kind}-{key}.json")
    except OSError:
        return False
    return True
