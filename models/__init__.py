"""The models that are installed with authorid."""

from __future__ import annotations

from pathlib import Path

from authorid.errors import BundleNotFoundError

__all__ = ["DEFAULT", "default_bundle"]

DEFAULT = "reuters50"
"""Name of the model that `authorid score` uses by default. Its authors are the 50 journalists of Reuters C50."""


def default_bundle() -> Path:
    """The directory of the default model; raises `BundleNotFoundError` when it is not installed."""
    path = Path(__file__).parent / DEFAULT
    if not path.is_dir():
        raise BundleNotFoundError(f"{path}: the default model is missing; reinstall authorid, or pass --model")
    return path
