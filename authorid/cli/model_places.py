"""Where models are when a command line does not say: `run`, the newest run, and the bundles beside them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["DEFAULT_RUN", "bundle_for", "default_source", "known_bundles", "newest_bundle"]

DEFAULT_RUN = Path("run")
"""Where ``train`` writes."""

_DEPTH = 3
_MOST_DIRECTORIES = 10_000
"""How far and how long to look for a run: a working directory may be the root of a disk."""

_RUN, _MANIFEST = "run.json", "authorid.json"


def default_source() -> Path | None:
    """``run`` if there is a run, or else the newest run below the working directory; None without any."""
    if any((DEFAULT_RUN / name).is_file() for name in (_RUN, _MANIFEST)):
        return DEFAULT_RUN
    return _newest(path / _RUN for path in _directories(_DEPTH))


def newest_bundle() -> Path | None:
    """The newest bundle among the directories of the working directory; None without any."""
    return _newest(path / _MANIFEST for path in _directories(1))


def known_bundles() -> Iterator[tuple[str, Path]]:
    """The included model, the bundles in the working directory and those in the cache, each with where it is."""
    from authorid.encoder.cache import cache_directory
    from authorid.models import default_bundle

    yield "included", default_bundle()
    for place, directories in (
        ("working directory", _directories(1)),
        ("cache", _directories(_DEPTH, cache_directory())),
    ):
        for path in sorted(path for path in directories if (path / _MANIFEST).is_file()):
            yield place, path


def bundle_for(source: str) -> Path:
    """The directory for the bundle of `source`, a path or a hub id: beside the path, called like it."""
    path = Path(source.removeprefix("hf://"))
    if not path.exists():  # a hub id: the name of the model, in the working directory
        return Path(f"{path.name}-bundle")
    name = path.stem if path.is_file() else path.name or path.resolve().name
    return path.parent / f"{name}-bundle"


def _newest(files: Iterator[Path]) -> Path | None:
    """The directory of the file among `files` that was changed last."""
    times = []
    for file in files:
        try:
            times.append((file.stat().st_mtime_ns, file.parent))
        except OSError:
            continue
    return max(times)[1] if times else None


def _directories(depth: int, top: Path = Path()) -> Iterator[Path]:
    """Directories below `top`, by default the working directory, nearest first; not those that are hidden or links."""
    level, seen = [top], 0
    for _ in range(depth):
        below: list[Path] = []
        for parent in level:
            try:
                with os.scandir(parent) as entries:
                    for entry in entries:
                        seen += 1
                        if seen > _MOST_DIRECTORIES:
                            return
                        if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False):
                            below.append(parent / entry.name)
                            yield below[-1]
            except OSError:
                continue
        level = below
