"""The fingerprint of a run: everything that decides the bytes of its results. A run is resumed only if it is equal."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

from authorid.inputs.discovery import canonical_path
from authorid.inputs.documents import ReadOptions
from authorid.outputs.formats import FORMATS

__all__ = ["run_fingerprint"]

_WITHOUT_EFFECT = {"skip", "timeout"}
"""Reading options that change no row, or only rows that failed, which a resumed run tries again anyway."""

_SCORER_FIELDS = ("precision", "effort", "unknown_below", "provider", "adaptation")
"""What decides a score, besides the model. Threads and batch sizes do not."""


def run_fingerprint(
    paths: Sequence[str],
    options: ReadOptions,
    *,
    manifest: Path,
    scorer: Mapping[str, Any],
    versions: Mapping[str, str],
    output: Mapping[str, Any],
) -> dict[str, Any]:
    """The fingerprint of a run, made of values that JSON can represent.

    `manifest` is the manifest of the model, `scorer` is what `Scorer.describe` returns, `versions` are those of the
    packages that decide a score, and `output` holds the options that decide how a row looks (``format``, ``top``,
    ``evidence``).
    """
    skipped = {canonical_path(path) for path in options.skip}
    form = output["format"]
    packages = FORMATS[form].packages if form in FORMATS else ()
    fingerprint = {
        "paths": [path for path in paths if path == "-" or canonical_path(path) not in skipped],
        **{name: value for name, value in asdict(options).items() if name not in _WITHOUT_EFFECT},
        # It decides how names are read and sorted.
        "filesystem_encoding": sys.getfilesystemencoding(),
        **output,
        # The manifest holds the digests of all other files of the bundle.
        "model": hashlib.sha256(manifest.read_bytes()).hexdigest(),
        **{name: scorer[name] for name in _SCORER_FIELDS},
        "versions": {**versions, **{name: version(name) for name in ("chardet", *packages)}},
    }
    plain: dict[str, Any] = json.loads(json.dumps(fingerprint))
    return plain
