"""Authorship attribution for large numbers of documents on ordinary CPUs.

>>> from authorid import Scorer
>>> for attribution in Scorer.load().score(["letters/"]):        # doctest: +SKIP
...     print(attribution.path, attribution.author, attribution.probability)

The names exported here are the public API; `authorid.errors` has the exceptions. All other modules are private unless
the documentation describes them.
"""

from __future__ import annotations

import importlib
import os
from typing import TYPE_CHECKING, Any

from authorid.version import __version__

if TYPE_CHECKING:
    from authorid.bundle.manifest import Bundle, load_bundle
    from authorid.encoder.engine_options import EngineOptions
    from authorid.errors import AuthoridError
    from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
    from authorid.outputs.records import Attribution
    from authorid.reporter import Reporter
    from authorid.scoring.explanation import Explanation
    from authorid.scoring.rolling import RollingAttribution, RollingOptions
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats
    from authorid.training.imposters import VerificationResult, verify


# onnxruntime 1.32 keeps a device id and reports to Microsoft unless this is set before it is imported.
os.environ["ORT_DISABLE_TELEMETRY"] = "1"

# Imported on first use, so that `authorid --help` and `import authorid` stay fast.
_MODULES = {
    "Attribution": "authorid.outputs.records",
    "AuthoridError": "authorid.errors",
    "Bundle": "authorid.bundle.manifest",
    "Document": "authorid.inputs.documents",
    "DocumentRef": "authorid.inputs.documents",
    "EngineOptions": "authorid.encoder.engine_options",
    "Explanation": "authorid.scoring.explanation",
    "Failure": "authorid.inputs.documents",
    "ReadOptions": "authorid.inputs.documents",
    "Reporter": "authorid.reporter",
    "RollingAttribution": "authorid.scoring.rolling",
    "RollingOptions": "authorid.scoring.rolling",
    "RunStats": "authorid.scoring.stats",
    "Scorer": "authorid.scoring.scorer",
    "VerificationResult": "authorid.training.imposters",
    "load_bundle": "authorid.bundle.manifest",
    "verify": "authorid.training.imposters",
}

__all__ = [
    "Attribution",
    "AuthoridError",
    "Bundle",
    "Document",
    "DocumentRef",
    "EngineOptions",
    "Explanation",
    "Failure",
    "ReadOptions",
    "Reporter",
    "RollingAttribution",
    "RollingOptions",
    "RunStats",
    "Scorer",
    "VerificationResult",
    "__version__",
    "load_bundle",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(importlib.import_module(_MODULES[name]), name)
    raise AttributeError(f"module 'authorid' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
