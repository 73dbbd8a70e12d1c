"""Options of the engine: precision, provider, workers, threads, batch size; and their defaults."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any, Final, get_args

from authorid.bundle.manifest import Precision, Provider
from authorid.encoder.providers import PROVIDERS
from authorid.machine import available_cores

__all__ = ["DEFAULT_BATCH_TOKENS", "DEFAULT_MAX_WINDOWS", "EngineOptions"]

DEFAULT_BATCH_TOKENS: Mapping[Provider, int] = MappingProxyType({"cpu": 256, "fused": 256, "openvino": 1024})
"""Tokens in a batch when neither the user nor tuning has chosen: few, to keep activations in the L2 cache of a core."""

DEFAULT_MAX_WINDOWS = 64
"""The most windows of a document that the encoder reads, unless the user has chosen."""

_MAX_THREADS: Final = 1024
"""Upper limit of workers, and of threads per worker: each needs memory, and no machine benefits from more."""

_MAX_TUNED_BATCH_TOKENS: Final = 1 << 20


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """How to run the encoder. 0 and ``auto`` mean: as tuned, or the default when nothing was tuned.

    `precision` is ``auto``, ``int8`` or ``fp32``; `provider` is ``auto``, ``cpu``, ``fused`` or
    ``openvino``. `workers` batches
    run at the same time, each on `threads` threads; both are at most 1024. `batch_tokens` is the size of a batch in
    tokens. `max_windows` is the most windows of a document that the encoder reads, spread evenly over it; 0: all.
    Precision and provider change probabilities slightly, and `max_windows` those of long documents; the other options
    do not change them.
    """

    precision: str = "auto"
    workers: int = 0
    threads: int = 0
    batch_tokens: int = 0
    provider: str = "auto"
    max_windows: int = DEFAULT_MAX_WINDOWS

    def __post_init__(self) -> None:
        """Check names and ranges; raises `ValueError`."""
        for name, choice, known in (
            ("precision", self.precision, get_args(Precision)),
            ("provider", self.provider, PROVIDERS),
        ):
            if choice not in ("auto", *known):
                raise ValueError(f"unknown {name} {choice!r}; choose one of: auto, {', '.join(known)}")
        for name, count in (("workers", self.workers), ("threads", self.threads)):
            if not 0 <= count <= _MAX_THREADS:
                raise ValueError(f"{name} is {count}; it must be from 0 (as tuned) to {_MAX_THREADS}")
        if self.batch_tokens < 0:
            raise ValueError(f"batch_tokens is {self.batch_tokens}; it must be 0 (as tuned) or more")
        if self.max_windows < 0:
            raise ValueError(f"max_windows is {self.max_windows}; it must be 0 (all windows) or more")

    def resolved(self, tuned: dict[str, Any] | None = None, provider: Provider = "cpu") -> EngineOptions:
        """These options with every 0 replaced: by the `tuned` value, or else by the default of `provider`.

        `tuned` is the cache entry that tuning wrote, or None.
        """
        cores = min(available_cores(), _MAX_THREADS)
        if self.workers or self.threads:
            # Tuned values belong together. When the user sets one of the two, the other follows from the core count.
            threads = self.threads or max(1, cores // self.workers)
            workers = self.workers or max(1, cores // threads)
        else:
            threads = _tuned_count(tuned, "threads", _MAX_THREADS) or 1
            workers = _tuned_count(tuned, "workers", _MAX_THREADS) or max(1, cores // threads)
        batch_tokens = self.batch_tokens or _tuned_count(tuned, "batch_tokens", _MAX_TUNED_BATCH_TOKENS)
        return replace(
            self, workers=workers, threads=threads, batch_tokens=batch_tokens or DEFAULT_BATCH_TOKENS[provider]
        )


def _tuned_count(tuned: dict[str, Any] | None, name: str, most: int) -> int:
    """The positive integer `name` of a cache entry; 0 when it is missing or out of range."""
    value = (tuned or {}).get(name)
    return value if isinstance(value, int) and 0 < value <= most else 0
