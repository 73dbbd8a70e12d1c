"""The engine: a graph of a bundle, chosen and tested for this machine, that turns windows into logits.

Several threads share one session. With one thread per worker, onnxruntime works in the calling thread, so each worker
runs its own small batch on its own core. That is faster than one large batch on all cores.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import Bundle, Precision, Provider, graph_key
from authorid.encoder.cache import machine_key, read_entry
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.fused import fused_kernels
from authorid.encoder.providers import PROVIDERS, available, identity, require_provider
from authorid.encoder.selftest import require_golden_logits, same_in_batches
from authorid.encoder.session import GraphSession
from authorid.errors import EngineError, SelfTestError
from authorid.machine import available_cores, cpu_flags

__all__ = ["Engine", "choose_provider", "tuning_key"]


class Engine:
    """A loaded graph that passed its self-test. `run` may be called from several threads at once.

    `precision`, `provider`, `workers`, `threads` and `batch_tokens` describe how it runs; `batch_tokens` is 1
    when windows must run one by one. `notices` are messages for the user about fallbacks.

    Raises `EngineError` when onnxruntime cannot load the graph, or when no graph of the bundle gives its golden logits,
    and `MissingExtraError` when the requested provider is not installed.
    """

    def __init__(self, bundle: Bundle, options: EngineOptions = EngineOptions()) -> None:
        self.notices: list[str] = []
        provider = choose_provider(bundle, options)
        precision = bundle.precision(options.precision, provider)
        while True:
            try:
                self._session, self.batch_tokens = _open_tested(bundle, precision, provider, options)
                break
            except EngineError as error:
                if provider != "cpu" and options.provider == "auto":
                    provider, substitute = "cpu", "onnxruntime's own kernels"
                elif _may_use_float32(bundle, precision, provider, options) and isinstance(error, SelfTestError):
                    precision, substitute = "fp32", "the float32 graph"
                else:
                    raise
                self.notices.append(f"{str(error).rstrip('.')}. Using {substitute} instead.")
        self.authors = self._session.authors
        self.precision, self.provider = precision, provider
        self.workers, self.threads = self._session.workers, self._session.threads

    def run(self, ids: npt.NDArray[np.int32]) -> npt.NDArray[np.float32]:
        """Logits float32 [b, authors] of the windows `ids` int32 [b, s], all of one length.

        Raises `EngineError` when the graph returns another shape, and whatever onnxruntime raises.
        """
        return self._session.run(ids)


def choose_provider(bundle: Bundle, options: EngineOptions) -> Provider:
    """The requested provider; with ``auto`` the one that was fastest when tuned, or else the one that usually is.

    That is ``fused`` on a processor with VNNI but without AMX, and on one with AVX2 for weights that were made for its
    kernels (`Bundle.suits_avx2`); and ``cpu`` everywhere else.

    ``auto`` chooses only a provider that is installed, runs on this processor and has a graph in the bundle. Raises
    `MissingExtraError` and `EngineError` when the requested provider is not available, and `BundleLacksError` when the
    bundle has no graph.
    """
    for provider in PROVIDERS:
        if options.provider == provider:
            require_provider(provider)
            return provider
    precision = bundle.precision(options.precision)
    default = "fused" if _suits_fused(bundle) else "cpu"
    fastest = (read_entry("fastest", tuning_key(bundle, precision)) or {}).get("provider", default)
    for provider in PROVIDERS:
        if provider == fastest and graph_key(precision, provider) in bundle.graphs and available(provider):
            return provider
    return "cpu"


def _suits_fused(bundle: Bundle) -> bool:
    """Whether our kernels have been measured to be faster than onnxruntime's, for such weights on such a processor.

    Where there is AMX, onnxruntime's kernels use it; ours do not.
    """
    kernels = fused_kernels()
    return bundle.suits_avx2 if kernels == "avx2" else kernels == "avx512-vnni" and "amx_int8" not in cpu_flags()


def tuning_key(bundle: Bundle, precision: Precision, provider: Provider = "cpu") -> str:
    """The key of the cache entry with the tuning of this graph on this machine."""
    return machine_key(bundle.sha256(precision, provider), identity(provider), str(available_cores()))


def _may_use_float32(bundle: Bundle, precision: Precision, provider: Provider, options: EngineOptions) -> bool:
    """Whether the float32 graph may replace an INT8 graph that failed its self-test."""
    return (precision, provider, options.precision) == ("int8", "cpu", "auto") and "fp32" in bundle.graphs


def _open_tested(
    bundle: Bundle, precision: Precision, provider: Provider, options: EngineOptions
) -> tuple[GraphSession, int]:
    """A session that passed the self-tests, and the number of tokens that its batches may have."""
    chosen = options.resolved(read_entry("tuning", tuning_key(bundle, precision, provider)), provider)
    session = GraphSession(bundle, precision, provider, workers=chosen.workers, threads=chosen.threads)
    require_golden_logits(session, bundle)
    # Windows of any other graph run one by one, because batches may change its logits.
    batch_tokens = chosen.batch_tokens if session.emitted else 1
    # The graphs we emit give the same logits in any batch and on any number of threads with onnxruntime's own kernels.
    # With the kernels of other providers that must be tested.
    if provider == "cpu" or (batch_tokens == 1 and session.threads == 1):
        return session, batch_tokens
    if same_in_batches(session, bundle, batch_tokens):
        return session, batch_tokens
    if session.threads == 1:
        return session, 1
    return _open_tested(bundle, precision, provider, replace(options, workers=session.workers, threads=1))
