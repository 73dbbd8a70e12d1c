"""One graph, opened in onnxruntime and run."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision, Provider
from authorid.encoder.providers import open_session
from authorid.errors import AuthoridError, EngineError, first_line

__all__ = ["TOKEN_INPUTS", "WINDOW_INPUT", "GraphSession"]

WINDOW_INPUT = "window_ids"
"""Name of the token ids in graphs that take windows of one length, without a mask."""

TOKEN_INPUTS = frozenset(("input_ids", WINDOW_INPUT))
"""Names that the token ids may have."""

_INPUTS = TOKEN_INPUTS | {"attention_mask", "token_type_ids"}
"""Inputs that a graph may have."""

_DIALECT = "authorid.dialect"
"""Metadata key of graphs that `authorid.export` emitted."""


class GraphSession:
    """A graph of `bundle`, opened on one provider. `run` may be called from several threads at once.

    Opening raises `EngineError` when onnxruntime cannot load the graph or the graph has unexpected inputs, and
    `MissingExtraError` when `provider` is not installed.
    """

    def __init__(self, bundle: Bundle, precision: Precision, provider: Provider, *, workers: int, threads: int) -> None:
        self.path = bundle.graph(precision, provider)
        self.authors = len(bundle.authors)
        self.precision, self.provider = precision, provider
        self.workers, self.threads = workers, threads
        try:
            self._session = open_session(self.path, provider, precision, workers=workers, threads=threads)
        except AuthoridError:
            raise
        except Exception as error:  # onnxruntime raises many types without a common base
            raise EngineError(f"{self.path}: onnxruntime cannot load this graph: {first_line(error)}") from None
        self._types = {item.name: np.int64 if "int64" in item.type else np.int32 for item in self._session.get_inputs()}
        if len(TOKEN_INPUTS & self._types.keys()) != 1 or not _INPUTS.issuperset(self._types):
            raise EngineError(f"{self.path}: unexpected graph inputs {list(self._types)}; expected {sorted(_INPUTS)}")

    @property
    def emitted(self) -> bool:
        """Whether `authorid.export` emitted the graph.

        Only such a graph gives a window the same logits in every batch.
        """
        return _DIALECT in self._session.get_modelmeta().custom_metadata_map

    def run(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Logits float32 [b, authors] of the windows `ids` int32 [b, s], all of one length.

        Raises `EngineError` when the graph returns another shape, and whatever onnxruntime raises.
        """
        feeds: dict[str, npt.NDArray[Any]] = {}
        for name, dtype in self._types.items():
            if name in TOKEN_INPUTS:
                feeds[name] = ids.astype(dtype, copy=False)
            else:
                fill = np.ones if name == "attention_mask" else np.zeros
                feeds[name] = fill(ids.shape, dtype=dtype)
        logits = np.asarray(self._session.run(["logits"], feeds)[0])
        if logits.shape != (len(ids), self.authors) or logits.dtype.kind != "f":
            raise EngineError(
                f"{self.path}: returned {logits.dtype} of shape {list(logits.shape)} for {len(ids)} windows and "
                f"{self.authors} classes; this graph does not belong to its bundle"
            )
        return logits.astype(np.float32, copy=False)
