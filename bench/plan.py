"""How much is measured: rounds, time limits, grid."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Cell", "Plan", "Setup"]


@dataclass(frozen=True)
class Cell:
    """One cell of the encoder grid: windows in a batch, tokens in a window."""

    batch: int
    length: int


@dataclass(frozen=True)
class Setup:
    """How a system runs: `sessions` batches at once, each on `threads` threads, `batch` windows in each."""

    sessions: int
    threads: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    A system takes no further round of a measurement after `round_seconds` of it, but always completes its first. A
    trial of the sweep takes `sweep_items` windows or documents, or as many as fill a batch in every session, and no
    trial of a system begins after `sweep_seconds`.
    """

    rounds: int = 3
    round_seconds: float = 30.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    sweep_items: int = 16
    sweep_seconds: float = 40.0
    warm_up_windows: int = 64
    latency_blocks: int = 4
    latency_calls: int = 50
    latency_length: int = 128
    cells: tuple[Cell, ...] = ()
    cell_seconds: float = 0.3
    documents: bool = True
