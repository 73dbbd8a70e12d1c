"""Who wrote this? Batch authorship attribution for whole directories, on ordinary CPUs.

>>> from authorid import Scorer
>>> for attribution in Scorer.load().score(["letters/"]):        # doctest: +SKIP
...     print(attribution.path, attribution.author, attribution.probability)
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from authorid.bundle.manifest import Bundle, load_bundle
    from authorid.encoder.engine_options import EngineOptions
    from authorid.errors import AuthoridError
    from authorid.inputs.documents import ReadOptions
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats

__version__ = "0.1.0"

# onnxruntime 1.32 keeps a device id and reports to Microsoft, unless it finds this when it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Imported on first use: `authorid --help` and `import authorid` stay fast.
_HOMES = {
    "Attribution": "authorid.scoring.attribution",
    "AuthoridError": "authorid.errors",
    "Bundle": "authorid.bundle.manifest",
    "EngineOptions": "authorid.encoder.engine_options",
    "ReadOptions": "authorid.inputs.documents",
    "RunStats": "authorid.scoring.stats",
    "Scorer": "authorid.scoring.scorer",
    "load_bundle": "authorid.bundle.manifest",
}

__all__ = [
    "Attribution",
    "AuthoridError",
    "Bundle",
    "EngineOptions",
    "ReadOptions",
    "RunStats",
    "Scorer",
    "__version__",
    "load_bundle",
]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'authorid' has no attribute {name!r}")
