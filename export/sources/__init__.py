"""Trained classifiers that can be exported. A new kind of source is one file here and one entry in `SOURCES`."""

from __future__ import annotations

from pathlib import Path

from authorid.errors import RunError
from authorid.export.sources.keras_run import KerasRun
from authorid.export.sources.source import CorpusRecord, Source

__all__ = ["SOURCES", "CorpusRecord", "Source", "open_source"]

SOURCES: tuple[type[Source], ...] = (KerasRun,)
"""All kinds of source; the first that recognises a path opens it."""


def open_source(path: Path) -> Source:
    """Open the classifier at `path`; raises `RunError` when no source recognises it, and what `Source.open` raises."""
    for source in SOURCES:
        if source.recognises(path):
            return source.open(path)
    if not path.is_dir():
        raise RunError(f"{path}: no such directory")
    known = " or ".join(source.description for source in SOURCES)
    raise RunError(f"{path}: there is no model to export; expected {known}")
