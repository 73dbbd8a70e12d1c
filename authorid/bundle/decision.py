"""The decision rule: how n-gram scores and encoder logits become one answer, or "unknown"."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

__all__ = ["Decision", "KnownAuthorRule"]


@dataclass(frozen=True, slots=True)
class KnownAuthorRule:
    """How much a text looks as if one of the known authors wrote it, between 0 and 1.

    It is the logistic function of ::

        z_weight * (m - mean) / deviation + spread_weight * log(d) - offset

    with m the part that n-grams which many authors share have in the score of the author whose n-gram score is highest,
    those of each view times `view_weights` [views]; `mean` and `deviation` [authors] mean and standard deviation of m for
    the author's own documents when they are left out; d the standard deviation over the authors of the part that all
    n-grams of the `plain_views` views have in the scores.
    """

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    view_weights: tuple[float, ...]
    plain_views: tuple[int, ...]
    z_weight: float
    spread_weight: float
    offset: float

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        numbers = (*self.mean, *self.deviation, *self.view_weights, self.z_weight, self.spread_weight, self.offset)
        if not all(math.isfinite(number) for number in numbers) or not all(number > 0 for number in self.deviation):
            raise ValueError("known-author rule: a number that is not finite, or a deviation that is not positive")
        if len(self.mean) != len(self.deviation) or min(self.plain_views, default=-1) < 0:
            raise ValueError("known-author rule: parts that do not fit together")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> KnownAuthorRule:
        """Rebuild from `asdict`; raises `TypeError` and `ValueError`."""
        lists = {
            name: tuple(float(number) for number in record[name]) for name in ("mean", "deviation", "view_weights")
        }
        plain_views = tuple(int(view) for view in record["plain_views"])
        rest = {name: float(value) for name, value in record.items() if name not in (*lists, "plain_views")}
        parts: dict[str, Any] = {**lists, **rest, "plain_views": plain_views}
        return cls(**parts)


@dataclass(frozen=True, slots=True)
class Decision:
    """How the experts become one answer.

    `rule` ``mean-log-softmax``, the encoder alone: the log-probabilities of a document's windows are averaged, divided
    by `temperature` and normalised. `rule` ``fusion``::

        softmax((ngram_weight * n / (n + half_length) * z + encoder_weight * that mean) / temperature)

    with z the n-gram scores, less their mean and divided by their standard deviation (or `least_spread`, if that is
    more) to the power `spread`: what stands out among the authors counts, not what is high for all; and n the bytes of
    the document, so that short texts get flat answers. Where the encoder was not asked, the n-grams answer alone,
    without the temperature, which is that of both together; with effort ``auto`` they do so from the probability `exit_threshold`
    on.

    Below `unknown_threshold` the answer is "unknown". The *known-author score* of a text, by `KnownAuthorRule` or, where that is
    None, the standard deviation of its n-gram scores, says whether the author is among the known ones: below
    `known_author_threshold` the answer is "unknown" too. `false_attribution_thresholds` are pairs (share, score): with that as the least,
    that share of unknown authors' documents is still attributed.
    """

    rule: str = "mean-log-softmax"
    temperature: float = 1.0
    unknown_threshold: float = 0.0
    ngram_weight: float = 0.0
    encoder_weight: float = 1.0
    half_length: float = 0.0
    spread: float = 0.0
    least_spread: float = 1e-6
    exit_threshold: float = 1.0
    known_author_threshold: float = 0.0
    false_attribution_thresholds: tuple[tuple[float, float], ...] = ()
    known_author_rule: KnownAuthorRule | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        numbers = [
            self.temperature,
            self.ngram_weight,
            self.encoder_weight,
            self.half_length,
            self.spread,
            self.exit_threshold,
        ]
        numbers += [
            self.least_spread,
            self.known_author_threshold,
            *(number for pair in self.false_attribution_thresholds for number in pair),
        ]
        numbers.append(self.unknown_threshold)
        if self.rule not in ("mean-log-softmax", "fusion"):
            raise ValueError(f"unknown decision rule {self.rule!r}")
        if not self.temperature > 0 or not all(0 <= number < float("inf") for number in numbers):
            raise ValueError("a temperature, weight or length that is out of range")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Decision:
        """Rebuild from `asdict`; raises `TypeError` and `ValueError`."""
        pairs = tuple(
            (float(share), float(threshold)) for share, threshold in record.get("false_attribution_thresholds", ())
        )
        rule = record.get("known_author_rule")
        known = None if rule is None else KnownAuthorRule.from_json(rule)
        # JSON's whole numbers have no end; what no float can hold is refused here, not met in every document.
        others: dict[str, Any] = {
            name: value if name == "rule" else float(value) for name, value in record.items() if name not in _PARTS
        }
        return cls(**others, false_attribution_thresholds=pairs, known_author_rule=known)

    def with_false_attribution(self, share: float) -> Decision:
        """The same, so strict that at most `share` of unknown authors' documents is attributed.

        Between the shares that were measured the stricter one counts. Raises `ValueError` when none were measured.
        """
        if not self.false_attribution_thresholds:
            raise ValueError("this model was not measured on unknown authors")
        if share >= 1:
            return replace(self, known_author_threshold=0.0)
        allowed = [score for known, score in self.false_attribution_thresholds if known <= share]
        return replace(self, known_author_threshold=min(allowed) if allowed else sys.float_info.max)


_PARTS = ("false_attribution_thresholds", "known_author_rule")
"""What a decision's record holds beside its rule and numbers."""
