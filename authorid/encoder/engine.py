"""Batches become logits: the onnxruntime session and how it is set up.

One session is shared by several threads, each running its own batch on its own core: with one intra-op thread,
onnxruntime works in the calling thread. Small batches on separate cores beat one big batch on all of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision, Provider, graph_key
from authorid.encoder.cache import machine_key, recall, remember
from authorid.encoder.providers import (
    PROVIDERS,
    Arithmetic,
    arithmetic,
    available,
    identity,
    open_session,
    require_provider,
)
from authorid.errors import AuthoridError, EngineError, first_line
from authorid.machine import available_cores

__all__ = ["BUDGETS", "Engine", "EngineOptions", "choose_provider", "tuning_key"]

_DIALECT = "authorid.dialect"
"""Metadata key of graphs that `authorid.export` emitted."""

_TOLERANCE: dict[tuple[Precision, Arithmetic], float] = {
    ("int8", "f32"): 0.1,
    ("int8", "bf16"): 0.2,
    ("fp32", "f32"): 1e-3,
}
"""How far golden logits may be off: RMS of the difference, as a share of the logits' own.

Other kernels round differently, and INT8 turns that into steps: 0.03 to 0.04 on the golden windows of a MiniLM-L6, and
0.09 to 0.11 with bfloat16. A fault in one matmul of its 36 puts them off by 0.2 to 0.7.
"""


_MOST_THREADS: Final = 1024
"""Workers, or intra-op threads, at most: each takes memory, and no machine has use for more."""


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run a graph; 0 and ``auto`` leave the choice to tuning, or to defaults where nothing was tuned.

    `precision` is ``auto``, ``int8`` or ``fp32``. `workers` batches are in flight at once, each on `threads` intra-op
    threads, at most 1024 of either. `budget` is the size of a batch in tokens. `provider` is ``auto``, ``cpu`` or
    ``openvino``. Precision and provider change answers a little, the others do not.
    """

    precision: str = "auto"
    workers: int = 0
    threads: int = 0
    budget: int = 0
    provider: str = "auto"

    def __post_init__(self) -> None:
        """Refuse choices that there are not, and numbers that cannot be; raises `ValueError`."""
        for name, choice, known in (
            ("precision", self.precision, get_args(Precision)),
            ("provider", self.provider, PROVIDERS),
        ):
            if choice not in ("auto", *known):
                raise ValueError(f"unknown {name} {choice!r}; there are: auto, {', '.join(known)}")
        for name, count in (("workers", self.workers), ("threads", self.threads)):
            if not 0 <= count <= _MOST_THREADS:
                raise ValueError(f"{count} {name}: need 0 (as tuned) to {_MOST_THREADS}")
        if self.budget < 0:
            raise ValueError(f"a budget of {self.budget} tokens: need 0 (as tuned) or more")

    def resolved(self, tuned: dict[str, Any] | None = None, provider: Provider = "cpu") -> EngineOptions:
        """The same with every choice made: what was asked for, else what was `tuned`, else the provider's defaults."""
        cores = min(available_cores(), _MOST_THREADS)
        if self.workers or self.threads:
            # Tuned threads suit tuned workers: who sets one of the two gets the other by arithmetic.
            threads = self.threads or max(1, cores // self.workers)
            workers = self.workers or max(1, cores // threads)
        else:
            threads = _count(tuned, "threads", _MOST_THREADS) or 1
            workers = _count(tuned, "workers", _MOST_THREADS) or max(1, cores // threads)
        return replace(
            self,
            workers=workers,
            threads=threads,
            budget=self.budget or _count(tuned, "budget", 1 << 20) or BUDGETS[provider],
        )


_BATCH_TRIED = 32
"""So many windows in a batch are tried, at most; more of them share the kernels of these."""

BUDGETS: Mapping[Provider, int] = MappingProxyType({"cpu": 256, "openvino": 1024})
"""Tokens in a batch where nothing was asked for or tuned: little, so that activations stay in a core's L2."""


def _count(note: dict[str, Any] | None, name: str, most: int) -> int:
    value = (note or {}).get(name)
    return value if isinstance(value, int) and 0 < value <= most else 0


def tuning_key(bundle: Bundle, precision: Precision, provider: Provider = "cpu") -> str:
    """Name under which the tuning of this graph on this machine is remembered."""
    return machine_key(bundle.sha256(precision, provider), identity(provider), str(available_cores()))


def choose_provider(bundle: Bundle, options: EngineOptions) -> Provider:
    """The provider that was asked for; with ``auto`` the one that was fastest when tuned, or onnxruntime's own.

    ``auto`` chooses only what is installed, runs on this processor and has a graph in the bundle. Raises
    `MissingExtraError` and `EngineError` when what was asked for is not there, and `BundleLacksError` when there is
    no graph at all.
    """
    for provider in PROVIDERS:
        if options.provider == provider:
            require_provider(provider)
            return provider
    precision = bundle.precision(options.precision)
    fastest = (recall("fastest", tuning_key(bundle, precision)) or {}).get("provider", "cpu")
    runs = fastest == "openvino" and graph_key(precision, "openvino") in bundle.graphs and available("openvino")
    return "openvino" if runs else "cpu"


class Engine:
    """A loaded graph. `run` may be called from several threads at once.

    `notices` says what a user should know about the choices made. Raises `EngineError` when onnxruntime cannot load
    the graph, or no graph of the bundle gives the golden logits that were promised, and `MissingExtraError` when the
    provider that was asked for is not installed.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:
        self.notices: list[str] = []
        self.authors = len(bundle.authors)
        provider = choose_provider(bundle, options)
        precision = bundle.precision(options.precision, provider)
        while True:
            try:
                return self._open(bundle, precision, provider, options)
            except EngineError as error:
                if provider != "cpu" and options.provider == "auto":
                    provider, instead = "cpu", "onnxruntime's own kernels"
                elif (
                    isinstance(error, WrongKernelsError)
                    and provider == "cpu"
                    and (precision, options.precision) == ("int8", "auto")
                    and "fp32" in bundle.graphs
                ):
                    precision, instead = "fp32", "the float32 graph"
                else:
                    raise
                self.notices.append(f"{str(error).rstrip('.')}. Using {instead} instead.")

    def _open(self, bundle: Bundle, precision: Precision, provider: Provider, options: EngineOptions) -> None:
        self.precision, self.provider = precision, provider
        about = {"model": bundle.name, "provider": provider}
        chosen = options.resolved(recall("tuning", tuning_key(bundle, precision, provider)), provider)
        self.workers, self.threads = chosen.workers, chosen.threads
        self._path = path = bundle.graph(precision, provider)
        try:
            self._session = open_session(path, provider, precision, workers=self.workers, threads=self.threads)
        except AuthoridError:
            raise
        except Exception as error:  # onnxruntime raises many types without a common base
            raise EngineError(f"{path}: onnxruntime cannot load this graph: {first_line(error)}") from None
        self._types = {item.name: np.int64 if "int64" in item.type else np.int32 for item in self._session.get_inputs()}
        known = {"input_ids", "attention_mask", "token_type_ids"}
        if "input_ids" not in self._types or not known.issuperset(self._types):
            raise EngineError(f"{path}: unexpected graph inputs {list(self._types)}; expected {sorted(known)}")
        # A pass is remembered, a failure is not: it should be loud every time.
        checked = bundle.sha256(precision, provider), identity(provider), repr(bundle.golden)
        if recall("checked", machine_key(*checked)) is None:
            self._check_golden(bundle)
            remember("checked", machine_key(*checked), {**about, "precision": precision})
        # Only graphs that we emitted promise that a window's logits are the same in any batch and on any number of
        # threads; on other kernels than those they were made for, that is tried. All else runs windows one by one.
        self.budget = chosen.budget if _DIALECT in self._session.get_modelmeta().custom_metadata_map else 1
        if provider != "cpu" and (self.budget > 1 or self.threads > 1):
            key = machine_key(*checked, f"{self.budget} tokens on {self.threads} threads")
            note = recall("batches", key)
            if note is None:
                note = {**about, "same": self._same_in_batches(bundle)}
                remember("batches", key, note)
            if note.get("same") is not True:
                self.budget = 1
                if self.threads > 1:
                    return self._open(bundle, precision, provider, replace(options, workers=self.workers, threads=1))

    def run(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Logits float32 [b, authors] of the windows `ids` int32 [b, s], all of one length."""
        feeds: dict[str, npt.NDArray[Any]] = {}
        for name, dtype in self._types.items():
            if name == "input_ids":
                feeds[name] = ids.astype(dtype, copy=False)
            else:
                fill = np.ones if name == "attention_mask" else np.zeros
                feeds[name] = fill(ids.shape, dtype=dtype)
        logits = np.asarray(self._session.run(["logits"], feeds)[0])
        if logits.shape != (len(ids), self.authors) or logits.dtype.kind != "f":
            raise EngineError(
                f"{self._path}: gives {logits.dtype} of shape {list(logits.shape)} for {len(ids)} windows and "
                f"{self.authors} authors; this graph does not belong to its bundle"
            )
        return logits.astype(np.float32, copy=False)

    def _same_in_batches(self, bundle: Bundle) -> bool:
        """Whether windows get the same logits, to the bit, alone on one thread and in batches of `budget` tokens.

        Tried with random ids from the golden windows, at lengths down to a sixteenth of a whole window, in the largest
        batch and in smaller ones, in two orders.
        """
        single = self
        if self.threads > 1:
            single = copy(self)
            single._session = open_session(self._path, self.provider, self.precision, workers=1, threads=1)
        pool = np.array([token for golden in bundle.golden for token in golden.ids], dtype=np.int32)
        rng = np.random.default_rng(0)
        for part in (16, 12, 9, 5, 2, 1) if len(pool) else ():
            length = max(3, bundle.window.length * part // 16)
            count = max(1, min(self.budget // length, _BATCH_TRIED))
            ids = rng.choice(pool, (count, length)).astype(np.int32)
            alone = np.concatenate([single.run(row[None]) for row in ids])
            for size in {size for size in (count, count - 1, 3, 2, 1) if 1 <= size <= count}:
                for order in (slice(None), slice(None, None, -1)):
                    if not np.array_equal(self.run(ids[order][:size]), alone[order][:size]):
                        return False
        return bool(len(pool))

    def _check_golden(self, bundle: Bundle) -> None:
        """Refuse to go on with kernels that answer wrongly on this CPU; run once for a model and a machine."""
        promised = [golden for golden in bundle.golden if self.precision in golden.logits]
        # Where nothing is promised, a graph must at least run, and give as many logits as there are authors.
        windows = [golden.ids for golden in promised] or [(0, 0, 0)]
        try:
            actual = np.concatenate([self.run(np.array([ids], dtype=np.int32)) for ids in windows]).astype(np.float64)
        except EngineError:
            raise
        except Exception as error:  # as above
            raise EngineError(f"{self._path}: the graph cannot be run: {first_line(error)}") from None
        if not promised:
            return
        expected = np.array([golden.logits[self.precision] for golden in promised])
        with np.errstate(invalid="ignore"):  # a bundle may promise infinities, and then nothing is near enough
            off = float(np.sqrt(((actual - expected) ** 2).mean() / max(1e-6, (expected**2).mean())))
        if not off <= _TOLERANCE[self.precision, arithmetic(self.provider, self.precision)]:
            who, other = ("onnxruntime", "--precision fp32, or another onnxruntime")
            if self.provider != "cpu":
                who, other = "OpenVINO", "--provider cpu"
            raise WrongKernelsError(
                f"{self._path}: on this machine {who} gives logits that are off by {off:.0%} from what the bundle "
                f"promises; refusing to score with wrong kernels. Try {other}."
            )


class WrongKernelsError(EngineError):
    """The graph runs, but does not give its golden logits."""
