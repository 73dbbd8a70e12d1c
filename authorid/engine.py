"""Batches become logits: the onnxruntime session and how it is set up.

One session is shared by several threads, each running its own batch on its own core: with one intra-op thread,
onnxruntime works in the calling thread. Small batches on separate cores beat one big batch on all of them.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from authorid.bundle import Bundle, Precision
from authorid.errors import EngineError

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["Engine", "EngineOptions", "available_cores", "first_line"]

_FUSIONS_THAT_COST = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""onnxruntime's fused CPU kernels for these are slower than the parts (docs/performance.md)."""

_DIALECT = "authorid.dialect"
"""Metadata key of graphs that `authorid.export` emitted; its value is ``onnxruntime-cpu``."""


def available_cores() -> int:
    """Cores this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run a graph.

    `precision` is ``auto``, ``int8`` or ``fp32``. `workers` batches are in flight at once (0: one a core), each on
    `threads` intra-op threads. `budget` is the size of a batch in tokens.
    """

    precision: str = "auto"
    workers: int = 0
    threads: int = 1
    budget: int = 1024


class Engine:
    """A loaded graph. `run` may be called from several threads at once.

    Raises `EngineError` when onnxruntime cannot load the graph, or the graph does not give the golden logits that
    its bundle promises on this machine.
    """

    provider = "cpu"

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:
        import onnxruntime

        self.precision: Precision = bundle.precision(options.precision)
        self.workers = options.workers or max(1, available_cores() // options.threads)
        self.threads = options.threads
        self.authors = len(bundle.authors)
        path = bundle.graph(self.precision)
        try:
            self._session = _session(onnxruntime, str(path), options.threads)
        except Exception as error:  # onnxruntime raises many types without a common base
            raise EngineError(f"{path}: onnxruntime cannot load this graph: {first_line(error)}") from None
        self._inputs = [item.name for item in self._session.get_inputs()]
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if "input_ids" not in self._inputs or not known.issuperset(self._inputs):
            raise EngineError(f"{path}: unexpected graph inputs {self._inputs}; expected {sorted(known)}")
        self._types = {item.name: np.int64 if "int64" in item.type else np.int32 for item in self._session.get_inputs()}
        metadata = self._session.get_modelmeta().custom_metadata_map
        # A graph that we did not emit makes no promise that a window's logits are the same in any batch.
        self.budget = options.budget if _DIALECT in metadata else 1
        self._check_golden(bundle)

    def run(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Logits float32 [b, authors] of the windows `ids` int32 [b, s], all of one length."""
        feeds: dict[str, npt.NDArray[Any]] = {}
        for name in self._inputs:
            if name == "input_ids":
                feeds[name] = ids.astype(self._types[name], copy=False)
            else:
                fill = np.ones if name == "attention_mask" else np.zeros
                feeds[name] = fill(ids.shape, dtype=self._types[name])
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits

    def _check_golden(self, bundle: Bundle) -> None:
        """Refuse to go on with kernels that answer wrongly on this CPU."""
        tolerance = 0.05 if self.precision == "int8" else 1e-3
        for golden in bundle.golden:
            if self.precision not in golden.logits:
                continue
            expected = np.array(golden.logits[self.precision], dtype=np.float32)
            try:
                actual = self.run(np.array([golden.ids], dtype=np.int32))[0]
            except Exception as error:  # as above
                raise EngineError(
                    f"{bundle.graph(self.precision)}: the graph cannot be run: {first_line(error)}"
                ) from None
            if actual.shape != expected.shape:
                raise EngineError(
                    f"{bundle.graph(self.precision)}: gives {actual.shape[-1]} logits for {self.authors} authors"
                )
            error_size = float(np.abs(actual - expected).max())
            if not error_size <= tolerance * max(1.0, float(np.abs(expected).max())):
                raise EngineError(
                    f"{bundle.graph(self.precision)}: on this machine onnxruntime gives logits that are off by "
                    f"{error_size:.3g} from what the bundle promises; refusing to score with wrong kernels. "
                    "Try --precision fp32, or another version of onnxruntime."
                )


def _session(ort: Any, path: str, threads: int) -> onnxruntime.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Spinning threads would steal the cores that the other workers run on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return ort.InferenceSession(
        path, options, providers=["CPUExecutionProvider"], disabled_optimizers=_FUSIONS_THAT_COST
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message: onnxruntime's go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
