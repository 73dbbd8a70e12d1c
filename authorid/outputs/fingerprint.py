"""What decides the bytes of a results file: a run may only go on where all of it is as it was."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from authorid.bundle.manifest import MANIFEST
from authorid.inputs.discovery import canonical
from authorid.inputs.documents import ReadOptions
from authorid.scoring.stats import versions

if TYPE_CHECKING:
    from authorid.scoring.scorer import Scorer

__all__ = ["run_settings"]

_HARMLESS = {"skip", "timeout"}
"""Reading options that change no row, or only rows that failed, and those are tried again anyway."""


def run_settings(
    scorer: Scorer, paths: Sequence[str], options: ReadOptions, *, form: str, top: int, evidence: bool
) -> dict[str, Any]:
    """The settings of a run as JSON has them. Threads and batch sizes are none: they change no answer."""
    about = scorer.describe()
    own = {canonical(path) for path in options.skip}
    settings = {
        "paths": [path for path in paths if path == "-" or canonical(path) not in own],
        **{name: value for name, value in asdict(options).items() if name not in _HARMLESS},
        # Names are read and put in order by it.
        "filesystem_encoding": sys.getfilesystemencoding(),
        "format": form,
        "top": top,
        "evidence": evidence,
        # The manifest has the digests of all the other files.
        "model": hashlib.sha256((scorer.bundle.path / MANIFEST).read_bytes()).hexdigest(),
        "precision": about["precision"],
        "effort": about["effort"],
        "unknown_below": about["unknown_below"],
        "provider": about["provider"],
        "versions": {**versions(), "charset-normalizer": version("charset-normalizer")},
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain
