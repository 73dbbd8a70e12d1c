"""Fit how much the encoder counts beside the n-gram model, and for which documents it is worth its time."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED, EffortRule
from authorid.scoring.posterior import log_softmax, ngram_evidence
from authorid.training.confidence import ENOUGH_HELD_OUT, ScoredDocuments, best_factor, document_losses

__all__ = ["EncoderFit", "EncoderScores", "fit_encoder_weight", "is_clear"]

TOLERATED = 0.002
"""The share of held-out documents by which effort ``auto`` may be less accurate than ``full``. By more than this share
it must be more accurate than ``fast`` to be the default."""

WEIGHTS = (0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.7, 1.0, 1.5, 2.0, 3.0)
"""Weights of the encoder's mean log-softmax that are tried, besides 0."""

USUAL_WEIGHT = 0.3
"""The weight where few documents are held out. With 2 to 5 documents an author it was near the best on Reuters C50."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class EncoderScores:
    """Mean log-softmaxes `scores` [validation, authors] of an encoder for documents that it was not trained on.

    `training` and `validation` are indices into the corpus. `windows` [validation] are the numbers of windows.
    """

    training: Labels
    validation: Labels
    scores: Scores
    windows: Labels


@dataclass(frozen=True)
class EncoderFit:
    """The decision rule with the encoder, when the encoder runs, and what both give on held-out documents.

    `documents` is the number of these. `right` says how many of them each effort attributes to their authors, and
    `windows` which share of all windows the encoder reads with effort ``auto``.
    """

    decision: Decision
    effort: EffortRule = NOT_MEASURED
    documents: int = 0
    right: dict[str, int] = field(default_factory=dict)
    windows: float = 0.0

    @property
    def summary(self) -> str:
        """The results in a sentence."""
        accuracy = ", ".join(f"{effort} {right / self.documents:.4f}" for effort, right in self.right.items())
        return (
            f"encoder: weight {self.decision.encoder_weight:g}; accuracy on {self.documents} held-out documents by "
            f"effort: {accuracy}; auto reads {self.windows:.1%} of the windows; default effort: {self.effort.default}"
        )

    def to_json(self) -> dict[str, Any]:
        """What a record contains about the fit; JSON-ready."""
        return {
            "fitted": self.decision.encoder_weight,
            "documents": self.documents,
            **({"right": self.right, "windows_read": round(self.windows, 4)} if self.documents else {}),
        }


def fit_encoder_weight(ngrams: ScoredDocuments, encoder: EncoderScores, decision: Decision) -> EncoderFit:
    """Return `decision` with the encoder's weight and the temperature, and the rule for effort ``auto``.

    They are fitted on documents that neither model was trained on: `ngrams` are their n-gram scores, lengths in bytes
    and authors, `encoder` has the encoder's scores for the same documents.

    - The weight maximizes the likelihood among those that keep the number of right answers and improve the likelihood
      by more than its standard error. It is 0 for an encoder that adds nothing.
    - With fewer than `ENOUGH_HELD_OUT` documents the best weight would be one of chance: it is `USUAL_WEIGHT` for an
      encoder that is clearly better than a guess and does not clearly lower the likelihood, and 0 for any other.
    - The temperature is the ratio of the best temperatures with and without the encoder. The absolute temperature
      cannot be fitted on these documents: they are more similar to the training documents than future ones.
    - With effort ``auto`` the encoder reads as few documents as possible, so that at most a share `TOLERATED` of the
      right answers of ``full`` is lost. ``auto`` is the default if it gains more than that over ``fast``.
    """
    scores, sizes, truth = ngrams
    alone = ngram_evidence(scores, sizes, decision)
    weight, temperature = _best_weight(alone, encoder.scores, truth)
    without, both = (np.equal(each.argmax(axis=1), truth) for each in (alone, alone + weight * encoder.scores))
    tolerated = TOLERATED * len(truth)
    gains = _runner_up_odds(alone) ** 2 / np.maximum(encoder.windows, 1)
    order = np.argsort(-gains, kind="stable")
    # Right answers when the encoder reads the first 0, 1, ... documents; and the fewest from where on they suffice.
    right = without.sum() + np.concatenate([[0], np.cumsum(both[order].astype(np.int64) - without[order])])
    lacking = np.flatnonzero(right < both.sum() - tolerated)
    read = int(lacking[-1]) + 1 if len(lacking) else 0
    # Between the last document that is read and the first that is not. No document has a gain of 2.
    descending = np.concatenate([gains[order], [0.0]])
    least_gain = float(descending[read - 1 : read + 1].mean()) if read else 2.0
    reads = gains >= least_gain
    auto = int(np.where(reads, both, without).sum())
    worth = auto - without.sum() > tolerated
    return EncoderFit(
        replace(decision, encoder_weight=weight, temperature=temperature),
        EffortRule("auto" if worth else "fast", least_gain),
        len(truth),
        {"fast": int(without.sum()), "auto": auto, "full": int(both.sum())},
        float(encoder.windows[reads].sum() / max(1, encoder.windows.sum())),
    )


def _best_weight(alone: Scores, encoder: Scores, truth: Labels) -> tuple[float, float]:
    """Return the encoder's weight and the temperature, relative to that without the encoder."""
    losses_alone, temperature_alone = _at_best_temperature(alone, truth)
    if len(truth) < ENOUGH_HELD_OUT:
        losses, temperature = _at_best_temperature(alone + USUAL_WEIGHT * encoder, truth)
        guess = np.full(len(truth), np.log(encoder.shape[1]))
        helps = is_clear(guess - _at_best_temperature(encoder, truth)[0]) and not is_clear(losses - losses_alone)
        return (USUAL_WEIGHT, temperature / temperature_alone) if helps else (0.0, 1.0)
    best, least = (0.0, 1.0), float(losses_alone.mean())
    required = (alone.argmax(axis=1) == truth).sum()
    for weight in WEIGHTS:
        both = alone + weight * encoder
        losses, temperature = _at_best_temperature(both, truth)
        if (
            is_clear(losses_alone - losses)
            and (both.argmax(axis=1) == truth).sum() >= required
            and losses.mean() < least - 1e-4
        ):
            best, least = (weight, temperature / temperature_alone), float(losses.mean())
    return best


def is_clear(gains: Scores) -> bool:
    """Whether the mean of `gains` [documents] is above 0 by more than its standard error."""
    return bool(gains.mean() > gains.std() / np.sqrt(len(gains)))


def _runner_up_odds(evidence: Scores) -> Scores:
    """Return the probability of the second author relative to that of the first [documents]."""
    highest = np.partition(log_softmax(evidence), -2, axis=1)[:, -2:]
    return np.asarray(np.exp(highest[:, 0] - highest[:, 1]))


def _at_best_temperature(evidence: Scores, truth: Labels) -> tuple[Scores, float]:
    """Return the losses [documents] at the best temperature between 0.4 and 4, and it, to within a thousandth."""
    factor, _ = best_factor(evidence, truth, (1 / 4.0, 1 / 0.4))
    return document_losses(evidence * factor, truth), 1 / factor
