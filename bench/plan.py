"""How the time of a benchmark is divided: between sweeps and rounds, and between the systems of a round."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["SWEEPS", "Plan", "Setup", "Work", "share_out"]

SWEEPS = 0.16
"""The share of a run's time that is planned for sweeps; they may take a fifth, and plans are not kept to the second."""

_MARGIN = 0.9
"""Measurements are planned for this part of their time, because machines have slow minutes."""

_PASSES = 0.6
"""The share of a round in which every system does the same; in the rest fast ones do it more often."""


@dataclass(frozen=True)
class Setup:
    """How a system runs: `sessions` batches at once, each on `threads` threads, `batch` windows in each."""

    sessions: int
    threads: int
    batch: int


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    Each measurement has `rounds`, in which every system has a turn of `turn_seconds` on average, or less where there is
    less time. A trial of a sweep takes `trial_seconds`, or a single pass. A block of latencies ends after
    `latency_calls`.
    """

    rounds: int = 3
    turn_seconds: float = 20.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    trial_seconds: float = 0.3
    latency_calls: int = 67

    def useful_seconds(self, systems: int) -> float:
        """The longest that a run of so many systems takes: documents and windows, and a third as much for the rest."""
        return systems * self.rounds * 2 * self.turn_seconds * 4 / 3


class Work(NamedTuple):
    """What a round is: a pass is over so many `documents`, and systems take so many `passes` in their turn."""

    documents: int
    passes: dict[str, int]


def share_out(needed: Mapping[str, float], most: int, step: int, seconds: float) -> Work:
    """The work of a round of about `seconds`, for systems that need so many seconds for a document.

    The slowest decide how many documents there are, at most `most`; a multiple of `step` if there is time for it, so
    that batches are full. Fast systems take several passes, so that all turns are about equally long.
    """
    seconds *= _MARGIN
    fit = int(_PASSES * seconds / sum(needed.values()))
    documents = min(most, fit // step * step or max(1, fit))
    turns = {name: documents * each for name, each in needed.items()}
    turn, left = 0.0, seconds
    for number, longest in enumerate(sorted(turns.values(), reverse=True)):
        turn = left / (len(turns) - number)
        if longest <= turn:
            break
        left -= longest
    return Work(documents, {name: max(1, int(turn / each)) for name, each in turns.items()})
