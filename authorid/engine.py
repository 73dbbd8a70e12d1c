"""Batches become logits: the onnxruntime session and how it is set up.

One session is shared by several threads, each running its own batch on its own core: with one intra-op thread,
onnxruntime works in the calling thread. Small batches on separate cores beat one big batch on all of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from authorid.bundle import Bundle, Precision
from authorid.cache import machine_key, recall, remember
from authorid.errors import EngineError
from authorid.machine import available_cores

if TYPE_CHECKING:
    import onnxruntime

__all__ = ["DEFAULTS", "Engine", "EngineOptions", "first_line", "tuning_key"]

_FUSIONS_THAT_COST = ["SkipLayerNormFusion", "BiasGeluFusion"]
"""onnxruntime's fused CPU kernels for these are slower than the parts (docs/performance.md)."""

_DIALECT = "authorid.dialect"
"""Metadata key of graphs that `authorid.export` emitted; its value is ``onnxruntime-cpu``."""

_TOLERANCE: dict[Precision, float] = {"int8": 0.05, "fp32": 1e-3}
"""How far golden logits may be off, as a share of the largest: other CPUs round differently, wrong kernels differ."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run a graph; 0 and ``auto`` leave the choice to tuning, or to defaults where nothing was tuned.

    `precision` is ``auto``, ``int8`` or ``fp32``. `workers` batches are in flight at once, each on `threads` intra-op
    threads. `budget` is the size of a batch in tokens. None of these changes an answer.
    """

    precision: str = "auto"
    workers: int = 0
    threads: int = 0
    budget: int = 0

    def resolved(self, tuned: dict[str, Any] | None = None) -> EngineOptions:
        """The same with every choice made: what was asked for, else what was `tuned`, else the defaults."""
        if self.workers or self.threads:
            # Tuned threads suit tuned workers: who sets one of the two gets the other by arithmetic.
            threads = self.threads or max(1, available_cores() // self.workers)
            workers = self.workers or max(1, available_cores() // threads)
        else:
            threads = _count(tuned, "threads") or DEFAULTS.threads
            workers = _count(tuned, "workers") or max(1, available_cores() // threads)
        return replace(
            self,
            workers=workers,
            threads=threads,
            budget=self.budget or _count(tuned, "budget") or DEFAULTS.budget,
        )


DEFAULTS = EngineOptions(threads=1, budget=1024)
"""What to use where nothing was asked for or tuned: one single-threaded worker a core, batches that fit its L2."""


def _count(note: dict[str, Any] | None, name: str) -> int:
    value = (note or {}).get(name)
    return value if isinstance(value, int) and 0 < value < 1 << 20 else 0


def tuning_key(bundle: Bundle, precision: Precision) -> str:
    """Name under which the tuning of this graph on this machine is remembered."""
    return machine_key(bundle.sha256(precision), str(available_cores()))


class Engine:
    """A loaded graph. `run` may be called from several threads at once.

    `notices` says what a user should know about the choices made. Raises `EngineError` when onnxruntime cannot load
    the graph, or no graph of the bundle gives the golden logits that were promised.
    """

    provider = "cpu"

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:
        self.notices: list[str] = []
        self.authors = len(bundle.authors)
        wanted = bundle.precision(options.precision)
        try:
            self._open(bundle, wanted, options)
        except WrongKernelsError as error:
            if options.precision != "auto" or "fp32" not in bundle.graphs or wanted == "fp32":
                raise
            self.notices.append(f"{error} Using the float32 graph instead.")
            self._open(bundle, "fp32", options)

    def _open(self, bundle: Bundle, precision: Precision, options: EngineOptions) -> None:
        import onnxruntime

        self.precision = precision
        chosen = options.resolved(recall("tuning", tuning_key(bundle, precision)))
        self.workers, self.threads = chosen.workers, chosen.threads
        path = bundle.graph(precision)
        try:
            self._session = _session(onnxruntime, str(path), self.threads)
        except Exception as error:  # onnxruntime raises many types without a common base
            raise EngineError(f"{path}: onnxruntime cannot load this graph: {first_line(error)}") from None
        self._types = {item.name: np.int64 if "int64" in item.type else np.int32 for item in self._session.get_inputs()}
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if "input_ids" not in self._types or not known.issuperset(self._types):
            raise EngineError(f"{path}: unexpected graph inputs {list(self._types)}; expected {sorted(known)}")
        metadata = self._session.get_modelmeta().custom_metadata_map
        # A graph that we did not emit makes no promise that a window's logits are the same in any batch.
        self.budget = chosen.budget if _DIALECT in metadata else 1
        checked = machine_key(bundle.sha256(precision), self.provider, repr(bundle.golden))
        if recall("checked", checked) is None:
            self._check_golden(bundle)
            remember("checked", checked, {"model": bundle.name, "precision": precision})

    def run(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Logits float32 [b, authors] of the windows `ids` int32 [b, s], all of one length."""
        feeds: dict[str, npt.NDArray[Any]] = {}
        for name, dtype in self._types.items():
            if name == "input_ids":
                feeds[name] = ids.astype(dtype, copy=False)
            else:
                fill = np.ones if name == "attention_mask" else np.zeros
                feeds[name] = fill(ids.shape, dtype=dtype)
        logits: npt.NDArray[np.float32] = self._session.run(["logits"], feeds)[0]
        return logits

    def _check_golden(self, bundle: Bundle) -> None:
        """Refuse to go on with kernels that answer wrongly on this CPU; run once for a model and a machine."""
        path = bundle.graph(self.precision)
        for golden in bundle.golden:
            if self.precision not in golden.logits:
                continue
            expected = np.array(golden.logits[self.precision], dtype=np.float32)
            try:
                actual = self.run(np.array([golden.ids], dtype=np.int32))[0]
            except Exception as error:  # as above
                raise EngineError(f"{path}: the graph cannot be run: {first_line(error)}") from None
            if actual.shape != expected.shape:
                raise EngineError(f"{path}: gives {actual.shape[-1]} logits for {self.authors} authors")
            off = float(np.abs(actual - expected).max())
            if not off <= _TOLERANCE[self.precision] * max(1.0, float(np.abs(expected).max())):
                raise WrongKernelsError(
                    f"{path}: on this machine onnxruntime gives logits that are off by {off:.3g} from what the bundle "
                    "promises; refusing to score with wrong kernels. Try --precision fp32, or another onnxruntime."
                )


class WrongKernelsError(EngineError):
    """The graph runs, but does not give its golden logits."""


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


def first_line(error: BaseException) -> str:
    """The first line of an error's message: onnxruntime's go on for pages."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
