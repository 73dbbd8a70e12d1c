"""The catalogue of models that come with authorid."""

from __future__ import annotations

from pathlib import Path

from authorid.errors import BundleNotFoundError

__all__ = ["DEFAULT", "default_bundle"]

DEFAULT = "reuters50"
"""Name of the model that `authorid score` uses when none is given: the 50 journalists of Reuters C50."""


def default_bundle() -> Path:
    """Directory of the embedded default model; raises `BundleNotFoundError` when the install lacks it."""
    path = Path(__file__).parent / DEFAULT
    if not path.is_dir():
        raise BundleNotFoundError(f"{path}: the embedded model is missing; reinstall authorid, or pass --model")
    return path
