"""Rolling attribution: who wrote which part of a long document.

The n-gram model scores windows of words that overlap. Each step of the document gets the log-probabilities of the
windows that cover it, and the sequence of authors with the highest sum is found by dynamic programming (Viterbi, 1967),
where every change of author costs a penalty. So an author must be clearly more probable, over a whole passage, before
a change is reported.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.cancellation import CancelCheck, never_cancelled
from authorid.ngrams.model import NgramModel
from authorid.ngrams.passages import word_edges
from authorid.scoring.posterior import posterior

__all__ = [
    "PENALTY",
    "STEP",
    "WINDOW",
    "RollingAttribution",
    "RollingOptions",
    "Segment",
    "attribute_segments",
    "best_path",
]

WINDOW, STEP = 100, 25
"""Words of a window, and from the start of one to that of the next."""

PENALTY = 4.0
"""What a change of author costs, in nats per window: with it, texts composed from documents held out of Reuters
C50train get as many segments as they have (docs/research/accuracy.md)."""

_GROUP = 128
"""Windows that are scored together."""

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a document that is attributed to one author.

    It has the words `first_word` to `last_word`, counted from 1, and the characters from `start` to `end`.
    `probability` is that of `author` for this part alone, `others` are the two other authors that are most probable.
    """

    first_word: int
    last_word: int
    start: int
    end: int
    author: str
    probability: float
    others: tuple[tuple[str, float], ...]


@dataclass(frozen=True, eq=False)
class RollingAttribution:
    """The `segments` of a document, in order: where one begins, the author changes.

    `probabilities` float64 [windows, authors] are those of each window alone; windows have `window` words, and begin
    `step` words apart.
    """

    authors: tuple[str, ...]
    words: int
    window: int
    step: int
    segments: tuple[Segment, ...]
    probabilities: Floats

    @property
    def changes(self) -> tuple[int, ...]:
        """The words before which the author changes, counted from 0."""
        return tuple(segment.first_word - 1 for segment in self.segments[1:])

    def to_json(self) -> dict[str, Any]:
        """JSON-ready values: the segments, and the most probable author of each window."""
        best = self.probabilities.argmax(axis=1)
        return {
            "words": self.words,
            "window": self.window,
            "step": self.step,
            "segments": [
                {**asdict(segment), "others": [{"author": a, "probability": p} for a, p in segment.others]}
                for segment in self.segments
            ],
            "windows": [
                {
                    "first_word": number * self.step + 1,
                    "last_word": min(number * self.step + self.window, self.words),
                    "author": self.authors[author],
                    "probability": float(self.probabilities[number, author]),
                }
                for number, author in enumerate(best.tolist())
            ],
        }


@dataclass(frozen=True, slots=True)
class RollingOptions:
    """How windows are cut, and what a change of author costs. Raises `ValueError` for sizes that make no sense."""

    window: int = WINDOW
    step: int = STEP
    penalty: float = PENALTY

    def __post_init__(self) -> None:
        """Check the sizes."""
        if not 1 <= self.step <= self.window:
            raise ValueError(f"a step has at least 1 word and at most the {self.window} of a window, got {self.step}")


def attribute_segments(
    model: NgramModel,
    decision: Decision,
    authors: Sequence[str],
    text: str,
    options: RollingOptions = RollingOptions(),
    check: CancelCheck = never_cancelled,
) -> RollingAttribution:
    """Attribute the parts of `text`, which is as the model reads texts.

    `check` is called before each step, which takes a fraction of a second. The result has no segments when the text has
    no words.
    """
    edges = word_edges(text)
    words = len(edges) - 1
    if not words:
        return RollingAttribution(tuple(authors), 0, options.window, options.step, (), np.zeros((0, len(authors))))
    starts = np.arange(0, max(1, words - options.window + options.step), options.step)
    ends = np.minimum(starts + options.window, words)
    windows = [text[edges[start] : edges[end]] for start, end in zip(starts, ends, strict=True)]
    probabilities = _probabilities(model, decision, windows, check)
    path = best_path(_step_evidence(probabilities, words, options), options.penalty)
    firsts = np.flatnonzero(np.append(True, path[1:] != path[:-1]))
    bounds = [*(firsts * options.step).tolist(), words]
    parts = [text[edges[start] : edges[stop]] for start, stop in pairwise(bounds)]
    alone = _probabilities(model, decision, parts, check)
    segments = []
    for number, (start, stop) in enumerate(pairwise(bounds)):
        author, own = int(path[firsts[number]]), alone[number]
        others = [i for i in np.argsort(-own, kind="stable")[:3].tolist() if i != author][:2]
        segments.append(
            Segment(
                start + 1,
                stop,
                int(edges[start]),
                int(edges[stop]),
                authors[author],
                float(own[author]),
                tuple((authors[i], float(own[i])) for i in others),
            )
        )
    return RollingAttribution(tuple(authors), words, options.window, options.step, tuple(segments), probabilities)


def _probabilities(model: NgramModel, decision: Decision, texts: list[str], check: CancelCheck) -> Floats:
    """The probabilities [texts, authors] of the n-gram model alone."""
    found = np.empty((len(texts), len(model.bias)))
    for start in range(0, len(texts), _GROUP):
        some = texts[start : start + _GROUP]
        sizes = [len(text.encode("utf-8", "replace")) for text in some]
        found[start : start + len(some)] = posterior(None, decision, model.score_texts(some, check).scores, sizes)
    return found


def _step_evidence(probabilities: Floats, words: int, options: RollingOptions) -> Floats:
    """The log-probabilities [steps, authors] of each step: the mean over the windows that cover it, times its share.

    Windows overlap; a step counts for the share of a window that it is, so that the evidence of a passage is about that
    of its windows side by side.
    """
    logs = np.log(np.maximum(probabilities, 1e-12))
    steps = -(-words // options.step)
    covered = -(-options.window // options.step)
    total, count = np.zeros((steps, logs.shape[1])), np.zeros(steps)
    for offset in range(covered):
        last = min(len(logs), steps - offset)
        total[offset : offset + last] += logs[:last]
        count[offset : offset + last] += 1
    return total / np.maximum(count, 1.0)[:, None] * (options.step / options.window)


def best_path(evidence: Floats, penalty: float) -> npt.NDArray[np.int64]:
    """The author of each step [steps]: the highest sum of `evidence` [steps, authors], minus `penalty` per change."""
    steps, authors = evidence.shape
    best = evidence[0].copy()
    origin = np.empty((steps, authors), dtype=np.int32)
    for step in range(1, steps):
        leader = int(best.argmax())
        stays = best >= best[leader] - penalty
        origin[step] = np.where(stays, np.arange(authors), leader)
        best = np.where(stays, best, best[leader] - penalty) + evidence[step]
    path = np.empty(steps, dtype=np.int64)
    path[-1] = best.argmax()
    for step in range(steps - 1, 0, -1):
        path[step - 1] = origin[step, path[step]]
    return path
