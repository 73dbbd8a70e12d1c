"""The cache: what authorid learned about this machine, kept between runs.

Entries are small JSON files in the user's cache directory: which graphs passed their self-test, which settings were
fastest. Losing an entry costs only the time to compute it again, so a cache directory that cannot be read or written is
not an error.
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

from authorid.machine import cpu_name
from authorid.version import __version__

__all__ = ["cache_directory", "machine_key", "read_entry", "write_entry"]


def cache_directory() -> Path:
    """The directory of the entries: ``$AUTHORID_CACHE``, or ``authorid`` in the user's cache directory."""
    if os.environ.get("AUTHORID_CACHE"):
        return Path(os.environ["AUTHORID_CACHE"])
    from platformdirs import user_cache_path

    return user_cache_path("authorid")


def machine_key(*parts: str) -> str:
    """A key for `parts` on this machine.

    It differs for another processor, operating system, onnxruntime version or authorid version.
    """
    known = (cpu_name(), platform.platform(), version("onnxruntime"), __version__, *parts)
    return hashlib.sha256("\0".join(known).encode()).hexdigest()[:32]


def read_entry(kind: str, key: str) -> dict[str, Any] | None:
    """The entry with this kind and key, or None when there is none or it cannot be read."""
    try:
        entry = json.loads((cache_directory() / f"{kind}-{key}.json").read_text("utf-8"))
    except (OSError, ValueError):
        return None
    return entry if isinstance(entry, dict) else None


def write_entry(kind: str, key: str, entry: dict[str, Any]) -> bool:
    """Write an entry, replacing an older one atomically. Returns False when the cache cannot be written."""
    directory = cache_directory()
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", encoding="utf-8", dir=directory, delete=False) as stream:
            json.dump(entry, stream)
        Path(stream.name).replace(directory / f"{kind}-{key}.json")
    except OSError:
        return False
    return True
