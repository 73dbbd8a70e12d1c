"""Imports Keras and TensorFlow; no other module does."""

from __future__ import annotations

import os
import sys
from types import ModuleType

from authorid.errors import RunError, require

__all__ = ["import_keras", "import_keras_hub"]


def import_keras() -> ModuleType:
    """Import Keras with its TensorFlow backend.

    Raises `MissingExtraError` when TensorFlow or Keras is not installed, and `RunError` when this process has
    already imported Keras with another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    require("tensorflow", "train")
    keras = require("keras", "train")
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RunError(
            f"Keras is already loaded with the backend {backend!r}; start again with KERAS_BACKEND=tensorflow"
        )
    return keras


def import_keras_hub() -> ModuleType:
    """Import keras-hub, after Keras; raises `MissingExtraError`."""
    import_keras()
    return require("keras_hub", "train")
