"""From logits and n-gram scores to probabilities, by the rule that `authorid.bundle.decision.Decision` describes."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.ngrams.model import NgramScores

__all__ = ["LEAST_SPREAD", "known_author_score", "log_softmax", "ngram_evidence", "posterior", "window_answers"]

LEAST_SPREAD = 1e-4
"""Lower bound of a standard deviation of scores before its logarithm is taken."""


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted: npt.NDArray[np.float64] = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normaliser: npt.NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted - normaliser


def _logistic(logits: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return np.exp(-np.logaddexp(0.0, -logits))  # exact in both tails, and never overflows


def window_answers(logits: npt.NDArray[np.floating], decision: Decision, number: int) -> npt.NDArray[np.float64]:
    """The probability (or value) of the class `number` in each window alone, without the temperature.

    `logits` [windows, classes] give float64 [windows].
    """
    if decision.rule == "identity":
        return logits[:, number].astype(np.float64)
    if decision.rule == "sigmoid":
        return _logistic(logits[:, number].astype(np.float64))
    return np.exp(log_softmax(logits)[:, number])


def ngram_evidence(
    scores: npt.NDArray[np.float64], sizes: npt.ArrayLike, decision: Decision
) -> npt.NDArray[np.float64]:
    """Logits [..., authors] that the n-gram `scores` [..., authors] contribute, before the temperature.

    `sizes` [...] are the lengths of the documents in bytes: the shorter a document, the smaller its logits.
    """
    length = np.asarray(sizes, dtype=np.float64)[..., None]
    share = np.where(length > 0, length / np.maximum(length + decision.half_length, 1.0), 0.0)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    spread = np.maximum(centred.std(axis=-1, keepdims=True), max(decision.least_spread, 1e-6)) ** decision.spread
    evidence: npt.NDArray[np.float64] = decision.ngram_weight * share * (centred / spread)
    return evidence


def known_author_score(ngrams: NgramScores, decision: Decision) -> npt.NDArray[np.float64]:
    """How much each text looks as if a known author wrote it, float64 [texts].

    Between 0 and 1 by the decision's `KnownAuthorRule`; without a rule, the standard deviation of the text's scores.
    """
    rule = decision.known_author_rule
    if rule is None:
        return np.asarray(ngrams.scores.std(axis=-1))
    plain = ngrams.parts[:, list(rule.plain_views)].sum(axis=1)
    best = ngrams.scores.argmax(axis=-1)
    own = (ngrams.parts[np.arange(len(best)), :, 1, best] * np.array(rule.view_weights)).sum(axis=1)
    z = (own - np.array(rule.mean)[best]) / np.array(rule.deviation)[best]
    spread = np.log(np.maximum(plain.sum(axis=1).std(axis=-1), LEAST_SPREAD))
    evidence = rule.z_weight * z + rule.spread_weight * spread - rule.offset
    return np.asarray(0.5 + 0.5 * np.tanh(evidence / 2))


def posterior(
    logits: npt.NDArray[np.floating] | None,
    decision: Decision,
    ngrams: npt.NDArray[np.float64] | None = None,
    size: npt.ArrayLike = 0,
    bias: npt.NDArray[np.float64] | None = None,
) -> npt.NDArray[np.float64]:
    """Probabilities float64 [authors] of one document, or its values if the decision rule is ``identity``.

    `logits` [windows, authors] are those of the windows that the encoder has seen, None when it has seen none.
    `ngrams` [authors] are the scores of the n-gram model, None when the bundle has none. `size` is the length of the
    text in bytes. Without `logits`, several documents may be given at once: `ngrams` [documents, authors] and `size`
    [documents] give probabilities [documents, authors]. `bias` [authors] is added to the evidence of the n-gram scores.

    Raises `ValueError` when the decision rule needs n-gram scores and there are none.
    """
    if logits is not None and decision.rule in ("sigmoid", "identity"):
        mean = logits.mean(axis=0, dtype=np.float64)
        return mean if decision.rule == "identity" else _logistic(mean)
    evidence = None if logits is None else log_softmax(logits).mean(axis=0)
    if decision.rule == "fusion":
        if ngrams is None:
            raise ValueError("the rule 'fusion' needs the scores of the n-gram model")
        own = ngram_evidence(ngrams, size, decision)
        if bias is not None:
            own = own + bias
        if evidence is None:
            return np.exp(log_softmax(own))
        evidence = decision.encoder_weight * evidence + own
    return np.exp(log_softmax(np.asarray(evidence) / decision.temperature))
