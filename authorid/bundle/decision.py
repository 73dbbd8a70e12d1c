"""The decision rule: how n-gram scores and encoder logits become one answer, or "unknown".

This module holds the numbers of the rule as a bundle stores them. `authorid.scoring.posterior` computes with them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, get_args

__all__ = ["Decision", "KnownAuthorRule", "Rule"]

Rule = Literal["mean-log-softmax", "fusion", "sigmoid", "identity"]
"""The formulas that `Decision` describes."""


@dataclass(frozen=True, slots=True)
class KnownAuthorRule:
    """Parameters of the known-author score: the probability, between 0 and 1, that a known author wrote a document.

    The score of a document is ::

        logistic(z_weight * (m - mean[a]) / deviation[a] + spread_weight * log(d) - offset)

    a : the author with the highest n-gram score.
    m : the part of that author's score that comes from n-grams used by many authors. The part of each view is
        multiplied by its weight in `view_weights` [views], and the products are summed.
    d : the standard deviation, over the authors, of the part of the scores that comes from the views whose indices
        are in `plain_views`.

    `mean` [authors] and `deviation` [authors] are the mean and the standard deviation of m over the training documents
    of each author, each document scored by a model that was trained without it.
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
            raise ValueError("known-author rule: a number is not finite, or a deviation is not positive")
        if len(self.mean) != len(self.deviation) or min(self.plain_views, default=-1) < 0:
            raise ValueError("known-author rule: the lengths of its lists do not match, or a view has no valid index")
        if len(set(self.plain_views)) < len(self.plain_views):
            raise ValueError("known-author rule: the same view twice")

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> KnownAuthorRule:
        """Rebuild a rule from the output of `dataclasses.asdict`; raises `KeyError`, `TypeError` and `ValueError`."""
        lists = {
            name: tuple(float(number) for number in record[name]) for name in ("mean", "deviation", "view_weights")
        }
        plain_views = tuple(int(view) for view in record["plain_views"])
        rest = {name: float(value) for name, value in record.items() if name not in (*lists, "plain_views")}
        fields: dict[str, Any] = {**lists, **rest, "plain_views": plain_views}
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Decision:
    """Parameters of the decision rule of a bundle.

    Two rules turn the evidence about a document into probabilities [authors] that sum to 1. Both use the mean
    log-softmax of the encoder: the log-probabilities [windows, authors] of the document's windows, averaged over the
    windows.

    `rule` ``mean-log-softmax``, for a bundle without an n-gram model::

        softmax(mean_log_softmax / temperature)

    `rule` ``fusion``, for a bundle with an n-gram model::

        softmax((ngram_weight * n / (n + half_length) * z + encoder_weight * mean_log_softmax) / temperature)
        z = (scores - mean(scores)) / max(std(scores), least_spread) ** spread

    n is the length of the document in bytes: a document of `half_length` bytes gets half of the n-gram weight, so short
    documents get flat probabilities. `spread` says how far z depends on the range of the scores: 0 keeps the range, 1
    divides it out.

    When the encoder has not run, the answer is the softmax of the n-gram term alone, without the temperature, which was
    fitted for both terms together. In a bundle without an `EffortRule`, the encoder does not run with effort ``auto``
    when this answer gives one author a probability of `exit_threshold` or more.

    Two other rules are for bundles without an n-gram model, and for tasks other than choosing one class. They use the
    mean logits [classes] over the windows, and have no temperature; one class is enough.

    `rule` ``sigmoid``, for classes of which a document may have several (multi-label classification): each class has a
    probability of its own, ``logistic(mean_logits)``.

    `rule` ``identity``, for numbers (regression): ``mean_logits`` are the answer. They are values, not probabilities,
    and no threshold applies to them.

    The answer is "unknown" when the highest probability is below `unknown_threshold`, or when the known-author score of
    the document is below `known_author_threshold`. The known-author score is computed by `known_author_rule`; without
    one it is the standard deviation of the n-gram scores. `false_attribution_thresholds` are pairs (share, threshold)
    that training measured: with that threshold, this share of the documents by unknown authors still gets a name.

    The answer is also "unknown", whatever the scores, for a document that is unlike anything in training: the share of
    its n-grams that the n-gram model has in its vocabulary is below `coverage_threshold` by more than chance explains
    (`authorid.ngrams.coverage.Coverage.below`). The encoder does not run on such a document.
    """

    rule: Rule = "mean-log-softmax"
    temperature: float = 1.0
    unknown_threshold: float = 0.0
    ngram_weight: float = 0.0
    encoder_weight: float = 1.0
    half_length: float = 0.0
    spread: float = 0.0
    least_spread: float = 1e-6
    exit_threshold: float = 1.0
    known_author_threshold: float = 0.0
    coverage_threshold: float = 0.0
    false_attribution_thresholds: tuple[tuple[float, float], ...] = ()
    known_author_rule: KnownAuthorRule | None = None

    def __post_init__(self) -> None:
        """Check the ranges; raises `ValueError`."""
        numbers = (
            self.temperature,
            self.unknown_threshold,
            self.ngram_weight,
            self.encoder_weight,
            self.half_length,
            self.spread,
            self.least_spread,
            self.exit_threshold,
            self.known_author_threshold,
            self.coverage_threshold,
            *(number for pair in self.false_attribution_thresholds for number in pair),
        )
        if self.rule not in get_args(Rule):
            raise ValueError(f"unknown decision rule {self.rule!r}")
        if self.fewest_classes == 1 and self.temperature != 1:
            raise ValueError(f"decision rule {self.rule}: has no temperature")
        if self.rule == "identity" and self.unknown_threshold:
            raise ValueError("decision rule identity: a value has no threshold")
        in_range = self.temperature > 0 and self.coverage_threshold <= 1
        if not in_range or not all(0 <= number < math.inf for number in numbers):
            raise ValueError("decision rule: a temperature, weight, length or threshold is out of range")

    @property
    def fewest_classes(self) -> int:
        """How many classes a bundle with this rule has at least."""
        return 1 if self.rule in ("sigmoid", "identity") else 2

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> Decision:
        """Rebuild a decision from the output of `dataclasses.asdict`; raises `KeyError`, `TypeError`, `ValueError`."""
        pairs = tuple(
            (float(share), float(threshold)) for share, threshold in record.get("false_attribution_thresholds", ())
        )
        rule = record.get("known_author_rule")
        known_author_rule = None if rule is None else KnownAuthorRule.from_json(rule)
        # JSON integers have no limit. float() refuses here what no float can hold, before any document is scored.
        others: dict[str, Any] = {
            name: value if name == "rule" else float(value) for name, value in record.items() if name not in _NESTED
        }
        return cls(**others, false_attribution_thresholds=pairs, known_author_rule=known_author_rule)

    def with_false_attribution(self, share: float) -> Decision:
        """The same rule, with the threshold at which at most `share` of documents by unknown authors gets a name.

        Between two measured shares the stricter threshold applies. Raises `ValueError` when none were measured.
        """
        if not self.false_attribution_thresholds:
            raise ValueError("this model was not measured on unknown authors")
        if share >= 1:
            return replace(self, known_author_threshold=0.0)
        allowed = [threshold for measured, threshold in self.false_attribution_thresholds if measured <= share]
        return replace(self, known_author_threshold=min(allowed) if allowed else sys.float_info.max)


_NESTED = ("false_attribution_thresholds", "known_author_rule")
"""Fields of `Decision` that are neither its rule nor a single number."""
