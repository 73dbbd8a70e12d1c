"""The cascade: cheap answers first, expensive ones only where they are needed.

The n-gram model scores every document. One that is unlike anything in training is "unknown", and the encoder does not
see it, whatever the effort. With effort ``auto`` the encoder sees only documents for which the bundle's `EffortRule`
says that it is worth its time, and it sees them in rounds: a few windows, then twice as many, until the answer is
probable enough or no longer changes.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED, Effort, EffortRule
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.encoder.engine import Engine
from authorid.encoder.windows import Window, Windower
from authorid.errors import BundleLacksError, first_line
from authorid.inputs.documents import Failure
from authorid.ngrams.coverage import Coverage
from authorid.ngrams.explain import Contributions
from authorid.ngrams.model import NgramModel
from authorid.outputs.records import Expert, Ranking
from authorid.scoring.attribution import Attribution, failed
from authorid.scoring.document_state import DocumentState
from authorid.scoring.posterior import known_author_score, posterior, window_answers

if TYPE_CHECKING:
    from authorid.scoring.adaptation import Adaptation

__all__ = ["Cascade", "Effort", "Encoder", "require_explainable"]

_NOT_A_NUMBER = "the model failed on this document: its answer is not a number"

_FIRST_ROUND = 2
"""Windows in the first round of a document; each later round doubles the number of windows seen."""

_SETTLED_CHANGE, _SETTLED_LEAD = 0.02, 0.1
"""An answer has settled when a round keeps the author, changes its probability by less than the first number, and that
author leads by more than the second. Where two authors are nearly even, small changes can still turn the answer."""

_GOLDEN_RATIO = 0.6180339887498949


class Encoder(NamedTuple):
    """The transformer of a bundle: texts -> windows -> logits."""

    engine: Engine
    windower: Windower


@dataclass(frozen=True, slots=True)
class Cascade:
    """Decides which model sees a document, when its answer is final, and what the answer is."""

    ngram_model: NgramModel | None
    encoder: Encoder | None
    decision: Decision
    authors: tuple[str, ...]
    effort: Effort
    adaptation: Adaptation | None = None
    effort_rule: EffortRule = NOT_MEASURED

    def score_ngrams(self, states: Sequence[DocumentState], check: CancelCheck = never_cancelled) -> None:
        """Score documents with the n-gram model; sets `probabilities` where that decides. Does nothing without one.

        `check` is called before each step, which takes a fraction of a second.
        """
        if self.ngram_model is None or not states:
            return
        texts = [state.document.text for state in states]
        ngrams = self.ngram_model.score_texts(texts, check)
        known = known_author_score(ngrams, self.decision).tolist()
        found = ngrams.scores if self.adaptation is None else self.adaptation.score_texts(texts, check)
        sizes = [len(state.document.text.encode("utf-8", "replace")) for state in states]
        for state, scores, size, score in zip(states, found, sizes, known, strict=True):
            state.ngram_scores, state.size, state.known_author_score = scores, size, score
        unlike = self._find_unlike(states, ngrams.coverage)
        with np.errstate(over="ignore", invalid="ignore"):
            probabilities = posterior(None, self.decision, found, sizes, self._bias)
        if self.encoder is None:
            decided = np.ones(len(states), dtype=bool)
        elif self.effort == "auto":
            decided = unlike | self._probable_enough(probabilities, windows=1)
        else:
            decided = unlike
        for state, own, alone in zip(states, probabilities, decided.tolist(), strict=True):
            state.previous = own
            if alone:
                state.probabilities = own
                state.explanation = self._explanation(state, self.authors[int(own.argmax())])
                state.drop_text()

    def _find_unlike(self, states: Sequence[DocumentState], coverage: Coverage | None) -> npt.NDArray[np.bool_]:
        """Note the coverage of documents; returns which are unlike anything in training, bool [documents]."""
        if coverage is None:
            return np.zeros(len(states), dtype=bool)
        unlike = coverage.below(self.decision.coverage_threshold)
        for state, share, own in zip(states, coverage.shares.tolist(), unlike.tolist(), strict=True):
            state.coverage = None if math.isnan(share) else share
            state.unlike_training = own
        return unlike

    def _probable_enough(self, probabilities: npt.NDArray[np.float64], windows: int) -> npt.NDArray[np.bool_]:
        """Whether `probabilities` [..., authors] of documents of so many `windows` are good without the encoder [...].

        Those who do not know the number of windows yet may give less: then it is true for fewer documents.
        """
        if self.effort_rule.least_gain is None:
            return np.asarray(probabilities.max(axis=-1) >= self.decision.exit_threshold)
        highest = np.partition(probabilities, -2, axis=-1)[..., -2:]
        return np.asarray(highest[..., 0] ** 2 < self.effort_rule.least_gain * windows * highest[..., 1] ** 2)

    def answer_without_tokens(self, state: DocumentState) -> None:
        """The tokenizer finds nothing in the document: the n-gram model answers alone, or the document fails."""
        state.probabilities = state.previous
        if state.probabilities is None:
            state.error = "no text (no tokens)"

    def first_round(self, state: DocumentState, windows: list[Window]) -> list[Window]:
        """Prepare `state` for the encoder; returns those of its `windows` that the encoder should see first.

        There are none when there are so many windows that the encoder is not worth its time.
        """
        count = len(windows)
        by_ngrams = state.previous if self.effort == "auto" else None
        if by_ngrams is not None and self._probable_enough(by_ngrams, count):
            state.probabilities = by_ngrams
            return []
        state.expect(count, len(self.authors))
        if by_ngrams is not None:
            # Multiples of the golden ratio lie far apart, however many of them there are: so do the windows of a round.
            order = np.argsort(np.arange(count) * _GOLDEN_RATIO % 1.0, kind="stable")
            windows = [windows[i] for i in order]
            count = _FIRST_ROUND
        state.unseen = windows
        return self._take(state, count)

    def next_round(self, state: DocumentState) -> list[Window]:
        """The windows of the next round: none when the answer is final, or when there are none left.

        Sets `state.error` when the encoder's logits are not finite.
        """
        logits = state.scored_logits
        if state.error is None and logits is not None and not np.isfinite(logits).all():
            state.error = _NOT_A_NUMBER
        if state.error is not None or logits is None or not state.unseen:
            return []
        previous, current = state.previous, self.posterior(state)
        state.previous = current
        if self._probable_enough(current, state.window_count):
            return []
        second, best = np.argsort(current)[-2:]
        steady = (
            previous is not None
            and np.argmax(previous) == best
            and abs(current[best] - previous[best]) < _SETTLED_CHANGE
        )
        if steady and current[best] - current[second] > _SETTLED_LEAD:
            return []
        return self._take(state, len(logits))

    def posterior(self, state: DocumentState) -> npt.NDArray[np.float64]:
        """What `posterior` gives [authors] for the scores so far; not finite when the bundle's weights overflow."""
        with np.errstate(over="ignore", invalid="ignore"):
            return posterior(state.scored_logits, self.decision, state.ngram_scores, state.size, self._bias)

    @property
    def _bias(self) -> npt.NDArray[np.float64] | None:
        return None if self.adaptation is None else self.adaptation.bias

    def attribute(self, state: DocumentState, *, evidence: bool = False) -> Attribution:
        """The row of a document whose answer is final; with `evidence`, including the probability in each window."""
        document, logits = state.document, state.scored_logits
        probabilities = self.posterior(state) if state.probabilities is None else state.probabilities
        known_author = state.known_author_score
        if not np.isfinite(probabilities).all() or not math.isfinite(known_author or 0.0):
            return failed(Failure(document.ref, _NOT_A_NUMBER))
        # The sort is stable, so equally probable authors keep their order; for so few, Python is faster than numpy.
        ranking = Ranking.of(self.authors, probabilities.tobytes())
        try:
            explanation = self._explanation(state, ranking[0][0])
        except Exception as error:  # such as running out of memory
            return failed(Failure(document.ref, f"this document could not be explained: {first_line(error)}"))
        reason = self._reason_unknown(state, ranking[0][1])
        return Attribution(
            ref=document.ref,
            status="scored" if reason is None else "unknown",
            ranking=ranking,
            windows=0 if logits is None else len(logits),
            tokens=state.tokens,
            encoding=document.encoding,
            sha256=document.sha256,
            evidence=self._window_evidence(logits, int(np.argmax(probabilities))) if evidence else (),
            known_author_score=known_author,
            coverage=state.coverage,
            reason=reason,
            adapted=self.adaptation is not None,
            reader=document.reader,
            expert=_expert(state),
            explanation=explanation,
        )

    def _reason_unknown(self, state: DocumentState, probability: float) -> str | None:
        """Why the answer is "unknown", None when it is not."""
        if state.unlike_training:
            return "unlike anything in training"
        score = state.known_author_score
        if score is not None and score < self.decision.known_author_threshold:
            return "known-author score below the threshold"
        if self.decision.rule != "identity" and probability < self.decision.unknown_threshold:
            return "probability below the threshold"
        return None

    def _explanation(self, state: DocumentState, author: str) -> str | None:
        """The explanation of why `author` is the answer, as JSON; None where none is wanted."""
        if not state.explain or state.explanation is not None or self.ngram_model is None:
            return state.explanation
        contributions = Contributions.of(self.ngram_model, state.document.text)
        return json.dumps(contributions.row(self.authors.index(author), author))

    def _window_evidence(self, logits: npt.NDArray[np.floating] | None, best: int) -> tuple[float, ...]:
        """The number of the class `best` in each window alone."""
        return () if logits is None else tuple(window_answers(logits, self.decision, best).tolist())

    @staticmethod
    def _take(state: DocumentState, count: int) -> list[Window]:
        windows, state.unseen = state.unseen[:count], state.unseen[count:]
        state.in_flight = len(windows)
        state.tokens += sum(len(window.ids) for window in windows)
        return windows


def require_explainable(cascade: Cascade, bundle: Path) -> None:
    """Raise `BundleLacksError` unless there is an n-gram model whose weights are those of the answers."""
    if cascade.ngram_model is None:
        raise BundleLacksError(f"{bundle}: no n-gram model in this bundle; nothing can be explained")
    if cascade.adaptation is not None:
        raise BundleLacksError(f"{bundle}: the model was adapted; its answers cannot be explained")


def _expert(state: DocumentState) -> Expert:
    """Which model has answered."""
    if state.probabilities is not None:
        return "ngrams"
    return "encoder" if state.ngram_scores is None else "both"
