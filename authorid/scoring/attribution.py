"""What the experts say becomes one answer a document."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.ngrams.model import NgramScores
from authorid.outputs.records import Ranking, Record

__all__ = [
    "Attribution",
    "Status",
    "attribute",
    "failed",
    "known_author_score",
    "log_softmax",
    "ngram_evidence",
    "posterior",
]

Status = Literal["scored", "unknown", "failed"]

LEAST_SPREAD = 1e-4
"""Scores that are less apart count as being so far apart, where their logarithm is taken."""


@dataclass(frozen=True, slots=True)
class Attribution:
    """The answer for one input.

    `ranking` holds every author with its probability, likeliest first; it is empty when `status` is ``failed``,
    and then `error` says why. `windows` and `tokens` count what went through the encoder, special tokens included.
    `evidence` holds the winner's probability in every window alone, when it was asked for; `known_author_score` says how
    much the text looks as if a known author wrote it; it is low for a text by somebody else.
    """

    ref: DocumentRef
    status: Status
    ranking: tuple[tuple[str, float], ...] = ()
    windows: int = 0
    tokens: int = 0
    encoding: str | None = None
    sha256: str | None = None
    error: str | None = None
    evidence: tuple[float, ...] = ()
    known_author_score: float | None = None

    @property
    def path(self) -> str:
        """The document's name: the path of its file, and which part of it, if it is one."""
        return str(self.ref)

    @property
    def author(self) -> str | None:
        """The likeliest author; a mere candidate when the status is ``unknown``, None when it is ``failed``."""
        return self.ranking[0][0] if self.ranking else None

    @property
    def probability(self) -> float | None:
        """Probability of the likeliest author."""
        return self.ranking[0][1] if self.ranking else None

    @property
    def runner_up(self) -> str | None:
        """The second likeliest author."""
        return self.ranking[1][0] if self.ranking else None

    @property
    def runner_up_probability(self) -> float | None:
        """Probability of the second likeliest author."""
        return self.ranking[1][1] if self.ranking else None

    @property
    def margin(self) -> float | None:
        """Difference between the two highest probabilities."""
        return self.ranking[0][1] - self.ranking[1][1] if self.ranking else None

    def to_record(self) -> Record:
        """The same answer as a `Record`, which outputs write."""
        return Record(
            self.ref,
            self.status,
            self.ranking,
            self.windows,
            self.tokens,
            self.encoding,
            self.sha256,
            self.error,
            self.evidence,
            self.known_author_score,
        )

    @classmethod
    def from_record(cls, record: Record) -> Attribution:
        """The answer that was kept as `record`."""
        return cls(
            record.ref,
            record.status,
            record.ranking,
            record.windows,
            record.tokens,
            record.encoding,
            record.sha256,
            record.error,
            record.evidence,
            record.known_author_score,
        )


def log_softmax(logits: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """Log-probabilities over the last axis, in float64."""
    shifted: npt.NDArray[np.float64] = logits.astype(np.float64) - logits.max(axis=-1, keepdims=True)
    normaliser: npt.NDArray[np.float64] = np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return shifted - normaliser


def ngram_evidence(
    scores: npt.NDArray[np.float64], sizes: npt.ArrayLike, decision: Decision
) -> npt.NDArray[np.float64]:
    """What n-gram `scores` [..., authors] of documents with `sizes` [...] bytes weigh, before the temperature."""
    length = np.asarray(sizes, dtype=np.float64)[..., None]
    share = np.where(length > 0, length / np.maximum(length + decision.half_length, 1.0), 0.0)
    centred = scores - scores.mean(axis=-1, keepdims=True)
    spread = np.maximum(centred.std(axis=-1, keepdims=True), max(decision.least_spread, 1e-6)) ** decision.spread
    weighed: npt.NDArray[np.float64] = decision.ngram_weight * share * (centred / spread)
    return weighed


def known_author_score(reading: NgramScores, decision: Decision) -> npt.NDArray[np.float64]:
    """How much each text looks as if a known author wrote it, [texts], by the rule that `KnownAuthorRule` states."""
    rule = decision.known_author_rule
    if rule is None:
        return np.asarray(reading.scores.std(axis=-1))
    plain = reading.parts[:, list(rule.plain_views)].sum(axis=1)
    best = reading.scores.argmax(axis=-1)
    own = (reading.parts[np.arange(len(best)), :, 1, best] * np.array(rule.view_weights)).sum(axis=1)
    z = (own - np.array(rule.mean)[best]) / np.array(rule.deviation)[best]
    spread = np.log(np.maximum(plain.sum(axis=1).std(axis=-1), LEAST_SPREAD))
    evidence = rule.z_weight * z + rule.spread_weight * spread - rule.offset
    return np.asarray(0.5 + 0.5 * np.tanh(evidence / 2))


def posterior(
    logits: npt.NDArray[np.floating] | None,
    decision: Decision,
    ngrams: npt.NDArray[np.float64] | None = None,
    size: npt.ArrayLike = 0,
) -> npt.NDArray[np.float64]:
    """Probabilities [authors] of one document, by the rule that `Decision` states.

    `logits` [windows, authors] are those of its windows, None where the encoder was not asked; `ngrams` [authors] the
    scores of the n-gram expert, None where there is none; `size` the length of the text in bytes. Where the encoder was
    not asked, there may be several documents: `ngrams` [documents, authors] and `size` [documents] give as many rows.
    """
    evidence = None if logits is None else log_softmax(logits).mean(axis=0)
    if decision.rule == "fusion":
        if ngrams is None:
            raise ValueError("the rule needs the scores of the n-gram expert")
        own = ngram_evidence(ngrams, size, decision)
        if evidence is None:
            return np.exp(log_softmax(own))
        evidence = decision.encoder_weight * evidence + own
    return np.exp(log_softmax(np.asarray(evidence) / decision.temperature))


def attribute(
    document: Document,
    probabilities: npt.NDArray[np.float64],
    authors: tuple[str, ...],
    decision: Decision,
    *,
    logits: npt.NDArray[np.floating] | None = None,
    tokens: int = 0,
    known_author_score: float | None = None,
    evidence: bool = False,
) -> Attribution:
    """The answer for `document` from its `probabilities` [authors].

    `logits` [windows, authors] and `tokens` are what went through the encoder, if anything did.
    """
    ranking = Ranking.of(authors, probabilities.tobytes())
    stranger = known_author_score is not None and known_author_score < decision.known_author_threshold
    return Attribution(
        ref=document.ref,
        status="unknown" if ranking[0][1] < decision.unknown_threshold or stranger else "scored",
        ranking=ranking,
        windows=0 if logits is None else len(logits),
        tokens=tokens,
        encoding=document.encoding,
        sha256=document.sha256,
        evidence=_window_evidence(logits, int(np.argmax(probabilities))) if evidence else (),
        known_author_score=known_author_score,
    )


def _window_evidence(logits: npt.NDArray[np.floating] | None, author: int) -> tuple[float, ...]:
    return () if logits is None else tuple(float(p) for p in np.exp(log_softmax(logits)[:, author]))


def failed(failure: Failure) -> Attribution:
    """The row of an input that could not be scored."""
    return Attribution(failure.ref, "failed", error=failure.reason)
