"""Every error that authorid raises on purpose.

::

    AuthoridError                  anything below; the command line prints its message and exits 1
    |- MissingExtraError           an optional dependency is not installed; names the pip line
    |- BundleError                 a model directory cannot be used
    |  |- BundleNotFoundError      there is no bundle at the given path
    |  |- BundleLacksError         it has no such graph, n-gram model or threshold
    |  '- BundleCorruptError       a file, digest, shape or version does not match
    |- EngineError                 onnxruntime could not load or run a graph
    |  '- SelfTestError            a graph runs, but gives other logits than its bundle promises
    |- CorpusError                 a training or evaluation corpus cannot be used
    |- RunError                    a training run directory cannot be used or resumed
    |- BaseModelError              a pretrained or fine-tuned model cannot be read (authorid.training)
    |- DownloadError               a data set could not be downloaded (authorid.datasets)
    |- ExportError                 a graph could not be made
    |  '- ParityError              a graph was made, but its logits differ from its reference
    |- ClusterError                a cluster cannot score the shards of a run (authorid.runners)
    |- PartError                   a part of a run is damaged, or belongs to another run
    '- OutputError                 results cannot be written to the given path
       '- BusyError                another process is writing there

A document that cannot be read or scored is *not* an error: it is a `Failure`, and becomes a row.
Messages say what happened, to which file, and what to do about it.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable
from importlib.util import find_spec
from types import ModuleType

__all__ = [
    "AuthoridError",
    "BundleCorruptError",
    "BundleError",
    "BundleLacksError",
    "BundleNotFoundError",
    "BusyError",
    "ClusterError",
    "CorpusError",
    "DownloadError",
    "EngineError",
    "ExportError",
    "MissingExtraError",
    "OutputError",
    "ParityError",
    "PartError",
    "RunError",
    "SelfTestError",
    "expect",
    "first_line",
    "os_error_reason",
    "require",
]


class AuthoridError(Exception):
    """Base of all errors raised on purpose."""


class MissingExtraError(AuthoridError):
    """An optional dependency is needed and not installed."""

    def __init__(self, module: str, extra: str) -> None:
        # pip adds an extra to the copy that is installed, whether that came from a package index or from a checkout.
        hint = "; TensorFlow needs Python 3.13 or older" if extra == "train" and sys.version_info >= (3, 14) else ""
        super().__init__(
            f"this needs {module!r}, which is not installed: pip install 'authorid-toolkit[{extra}]'{hint}"
        )
        self.module = module
        self.extra = extra

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Pickle it, so that it can leave a process."""
        return type(self), (self.module, self.extra)


class BundleError(AuthoridError):
    """A model bundle cannot be used."""


class BundleNotFoundError(BundleError):
    """There is no bundle at the given path."""


class BundleLacksError(BundleError):
    """A bundle is valid, but has no graph, n-gram model or threshold of the requested kind."""


class BundleCorruptError(BundleError):
    """A bundle is there, but a file, digest, shape or version in it does not match."""


class EngineError(AuthoridError):
    """The runtime could not load or run a graph."""


class SelfTestError(EngineError):
    """A graph runs on this machine, but gives other logits than its bundle promises."""


class CorpusError(AuthoridError):
    """A corpus (one directory per author) cannot be used."""


class RunError(AuthoridError):
    """A training run directory cannot be used or resumed."""


class DownloadError(AuthoridError):
    """A data set could not be downloaded."""


class ExportError(AuthoridError):
    """A graph could not be made from a training run."""


class ParityError(ExportError):
    """A graph was made, but its logits differ from those of the model it was made from."""


class ClusterError(AuthoridError):
    """A cluster, or a worker on it, cannot score the shards of a run."""


class PartError(AuthoridError):
    """A part of a run cannot be merged: it is damaged, or it belongs to another run."""


class OutputError(AuthoridError):
    """Results cannot be written to the given path."""


class BusyError(OutputError):
    """Another process is writing to the given path."""


def first_line(error: BaseException) -> str:
    """The first line of an error's message: onnxruntime's go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def os_error_reason(error: OSError | ValueError) -> str:
    """What the system reports about a failed operation, without the path, for use inside a message.

    File operations also raise `ValueError`, for example for a path that contains a NUL.
    """
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error)


def expect(modules: Iterable[str], extra: str) -> None:
    """Raise `MissingExtraError` for the first of the packages `modules` that is not installed; imports none of them."""
    for module in modules:
        if find_spec(module) is None:
            raise MissingExtraError(module, extra)


def require(module: str, extra: str) -> ModuleType:
    """Import an optional `module`, or raise `MissingExtraError` naming the `extra` that brings it."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name.split(".")[0] == module.split(".")[0]:
            raise MissingExtraError(module, extra) from None
        raise
