"""Training examples: token windows, their order in every epoch, and their augmentation.

All randomness comes from generators seeded with (seed, epoch), so that a resumed training gets the same batches as an
uninterrupted one.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Windower, cut
from authorid.scoring.posterior import log_softmax
from authorid.training.recipes import TrainingOptions

__all__ = [
    "COMMON_TOKENS",
    "Examples",
    "TrainingBatch",
    "common_tokens",
    "document_scores",
    "drop_topics",
    "inputs",
    "prepare_batched",
]

COMMON_TOKENS = 1000
"""Number of the most frequent token ids of the corpus that topic dropout never masks."""

IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TrainingBatch:
    """One training step: model inputs (see `inputs`) and labels int32 [b]."""

    inputs: dict[str, npt.NDArray[Any]]
    labels: IntArray


def inputs(rows: Sequence[IntArray], width: int, *, segments: bool, pad: int = 0) -> dict[str, IntArray]:
    """Pad token rows to int32 [b, width]: ``token_ids``, ``padding_mask`` and, with `segments`, ``segment_ids``."""
    ids = np.full((len(rows), width), pad, dtype=np.int32)
    mask = np.zeros((len(rows), width), dtype=np.int32)
    for index, row in enumerate(rows):
        ids[index, : len(row)] = row
        mask[index, : len(row)] = 1
    named = {"token_ids": ids, "padding_mask": mask}
    if segments:
        named["segment_ids"] = np.zeros_like(ids)
    return named


def prepare_batched(
    texts: Sequence[str],
    labels: Sequence[int],
    windower: Windower,
    *,
    batch: int,
    segments: bool = False,
    pad: int = 0,
) -> Iterator[tuple[dict[str, IntArray], IntArray]]:
    """Tokenize whole texts and yield padded batches ``(inputs, labels)``, in the given order.

    Every text gives one row, its first window, so `windower` should have ``truncate=True`` and the maximum length. Rows
    are padded to the longest of their batch. `segments` adds BERT's ``segment_ids``.
    """
    for start in range(0, len(texts), batch):
        rows = [
            windower.wrap(ids[: windower.content])
            for ids in windower.token_ids([str(text) for text in texts[start : start + batch]])
        ]
        width = max(len(row) for row in rows)
        yield (
            inputs(rows, width, segments=segments, pad=pad),
            np.asarray(labels[start : start + batch], dtype=np.int32),
        )


class Examples:
    """The training windows of a corpus, epoch by epoch.

    `tokens` are the token ids of each training document, `labels` their authors. `windows` is the number of windows,
    `steps` the number of batches in an epoch.
    """

    def __init__(
        self,
        tokens: Sequence[IntArray],
        labels: Sequence[int],
        windower: Windower,
        options: TrainingOptions,
        *,
        segments: bool,
    ) -> None:
        self._tokens = tokens
        self._labels = labels
        self._windower = windower
        self._options = options
        self._segments = segments
        self._pad = windower.tokenizer.token_to_id("[PAD]") or 0
        self._mask: int = windower.tokenizer.token_to_id("[MASK]") or 0
        self._common = common_tokens(tokens, windower)
        self.windows = sum(len(self._spans(len(ids))) for ids in tokens)
        self.steps = -(-self.windows // options.batch)

    def epoch(self, epoch: int) -> Iterator[TrainingBatch]:
        """Yield the batches of `epoch` (0, 1, ...); the last one is filled up with the first windows of the epoch."""
        generator = np.random.default_rng([self._options.seed, epoch])
        rows: list[IntArray] = []
        owners: list[int] = []
        for owner, ids in enumerate(self._tokens):
            for start, stop in self._jitter(self._spans(len(ids)), generator):
                rows.append(self._windower.wrap(ids[start:stop]))
                owners.append(owner)
        order = np.resize(generator.permutation(len(rows)), self.steps * self._options.batch)
        for chosen in order.reshape(self.steps, self._options.batch):
            batch = [rows[index] for index in chosen]
            width = max(map(len, batch)) if self._options.truncate else self._options.window
            named = inputs(batch, width, segments=self._segments, pad=self._pad)
            if self._options.topic_dropout:
                drop_topics(named["token_ids"], self._common, self._mask, self._options.topic_dropout, generator)
            labels = np.array([self._labels[owners[index]] for index in chosen], dtype=np.int32)
            yield TrainingBatch(named, labels)

    def _spans(self, tokens: int) -> list[tuple[int, int]]:
        if self._windower.truncate:
            return [(0, min(tokens, self._windower.content))] if tokens else []
        return cut(tokens, self._windower.content, self._windower.stride)

    def _jitter(self, spans: list[tuple[int, int]], generator: np.random.Generator) -> list[tuple[int, int]]:
        """Move the cuts between windows at random, within their slack, so that epochs differ."""
        if len(spans) < 2 or self._windower.stride != self._windower.content:
            return spans
        slack = (self._windower.content - max(stop - start for start, stop in spans)) // 2
        cuts = [spans[0][0], *(stop for _, stop in spans)]
        for index in range(1, len(cuts) - 1):
            cuts[index] += int(generator.integers(-slack, slack + 1))
        return list(itertools.pairwise(cuts))


def drop_topics(
    ids: IntArray, common: npt.NDArray[np.bool_], mask: int, highest: float, generator: np.random.Generator
) -> None:
    """Replace tokens of windows `ids` [b, s] that are not `common` by `mask`, in place.

    The rate is drawn for each window, up to the `highest`.
    """
    rate = generator.uniform(0.0, highest, size=(len(ids), 1))
    drop = generator.random(ids.shape) < rate
    ids[drop & ~common[ids]] = mask


def common_tokens(tokens: Sequence[IntArray], windower: Windower) -> npt.NDArray[np.bool_]:
    """Return a mask, bool [vocabulary], of the most frequent token ids of the corpus and the special tokens."""
    size = windower.tokenizer.get_vocab_size(with_added_tokens=True)
    counts = np.zeros(size, dtype=np.int64)
    for ids in tokens:
        counts += np.bincount(ids, minlength=size)
    common = np.zeros(size, dtype=bool)
    common[np.argsort(-counts, kind="stable")[:COMMON_TOKENS]] = True
    for name in ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"):
        special = windower.tokenizer.token_to_id(name)
        if special is not None:
            common[special] = True
    return common


def document_scores(windows: Sequence[npt.NDArray[Any]], authors: int) -> npt.NDArray[np.float64]:
    """Return the mean window log-softmax [documents, authors] of logits [windows, authors]; uniform without windows."""
    uniform = np.full(authors, -np.log(authors))
    return np.array([log_softmax(logits).mean(axis=0) if len(logits) else uniform for logits in windows])
