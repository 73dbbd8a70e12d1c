"""Effort: how much computation a document gets, and when the encoder is worth its time."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Literal, get_args

__all__ = ["NOT_MEASURED", "Effort", "EffortRule"]

Effort = Literal["fast", "full", "auto"]
"""How much computation a document gets: ``fast`` is the n-gram model alone, ``full`` adds the encoder for every
document, ``auto`` adds it only for documents that the n-gram model leaves uncertain."""


@dataclass(frozen=True, slots=True)
class EffortRule:
    """When the encoder is worth its time, as training measured it.

    `default` is the effort when the user chooses none.

    With effort ``auto``, the encoder reads a document if ``(p[1] / p[0]) ** 2 / windows >= least_gain``: p are the
    probabilities that the n-gram model gives, the highest first, and `windows` is the number of windows that it would
    read. The left side stands for the gain in accuracy per window: where the second author is half as probable as the
    first, the encoder changes few answers. With None, which older bundles have, `Decision.exit_threshold` decides.
    """

    default: Effort = "auto"
    least_gain: float | None = None

    def __post_init__(self) -> None:
        """Check the values; raises `ValueError`."""
        if self.default not in get_args(Effort):
            raise ValueError(f"unknown effort {self.default!r}; there are: {', '.join(get_args(Effort))}")
        if self.least_gain is not None and not 0 <= self.least_gain < math.inf:
            raise ValueError("effort: least_gain is out of range")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> EffortRule:
        """Rebuild a rule from `to_json`; raises `KeyError`, `TypeError`, `ValueError` and `OverflowError`."""
        odds = record["least_gain"]
        return cls(record["default"], None if odds is None else float(odds))

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values."""
        return asdict(self)


NOT_MEASURED = EffortRule()
"""The rule of a bundle whose training did not measure anything."""
