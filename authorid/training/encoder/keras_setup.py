"""Imports Keras and TensorFlow; no other module does."""

from __future__ import annotations

import functools
import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import ModuleType
from typing import TextIO

from authorid.errors import RunError, require

__all__ = ["import_keras", "import_keras_hub"]

_LOG_LEVEL = "TF_CPP_MIN_LOG_LEVEL"
_USER_HAS_SET_LOG_LEVEL = _LOG_LEVEL in os.environ


def import_keras() -> ModuleType:
    """Import Keras with its TensorFlow backend.

    Raises `MissingExtraError` when TensorFlow or Keras is not installed, and `RunError` when this process has
    already imported Keras with another backend.
    """
    if "keras" not in sys.modules:
        os.environ["KERAS_BACKEND"] = "tensorflow"
    keras = _load_keras()
    backend = keras.config.backend()
    if backend != "tensorflow":
        raise RunError(
            f"Keras is already loaded with the backend {backend!r}; start again with KERAS_BACKEND=tensorflow"
        )
    return keras


@functools.cache
def _load_keras() -> ModuleType:
    os.environ.setdefault(_LOG_LEVEL, "2")
    with _native_messages_discarded():
        tensorflow = require("tensorflow", "train")
        keras = require("keras", "train")
        tensorflow.config.list_physical_devices()  # looks for graphics cards, with messages of its own
    return keras


def import_keras_hub() -> ModuleType:
    """Import keras-hub, after Keras; raises `MissingExtraError`."""
    import_keras()
    with _native_messages_discarded():
        return require("keras_hub", "train")


@contextmanager
def _native_messages_discarded() -> Iterator[None]:
    """Discard what C++ code writes to standard error in this block; Python's own messages are still shown.

    While TensorFlow loads, its messages ignore the log level that it documents. They are shown when the user has set
    that level.
    """
    if _USER_HAS_SET_LOG_LEVEL:
        yield
        return
    before = sys.stderr
    try:
        shown = os.dup(2)
    except OSError:  # standard error is closed
        yield
        return
    null = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)
    own = os.fdopen(shown, "w", encoding="utf-8", errors="backslashreplace")
    with suppress(AttributeError, OSError, io.UnsupportedOperation):
        before.flush()
        if before.fileno() == 2:
            sys.stderr = own
    os.dup2(null, 2)
    try:
        yield
    finally:
        own.flush()
        os.dup2(shown, 2)
        sys.stderr = before
        _redirect_loggers(own, before)
        own.close()
        os.close(null)


def _redirect_loggers(closing: TextIO, stream: TextIO) -> None:
    """Let the handlers that were made in the block, and write to `closing`, write to `stream`."""
    for logger in (logging.root, *logging.root.manager.loggerDict.values()):
        for handler in getattr(logger, "handlers", ()):
            if getattr(handler, "stream", None) is closing:
                handler.setStream(stream)
