"""Cut long documents into samples that a model is trained on.

A novel and a note are not one example each: nearly every n-gram occurs in a novel, so its tf-idf says little about
texts of ordinary length. Samples have about the length of a page or two.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.inputs.decoding import tidy
from authorid.training.corpus import Corpus

__all__ = ["LabelledTexts", "corpus_texts", "cut", "sample_length"]

Labels = npt.NDArray[np.int64]

LENGTH = 4000
"""Characters in a sample, about: the best of the lengths tried (docs/research/accuracy.md)."""

MOST_SAMPLES = 2500
"""Samples are longer where long documents would give more than this many."""


@dataclass(frozen=True)
class LabelledTexts:
    """Texts, the `labels` [texts] of their authors, and `paths` by which they are ordered."""

    texts: list[str]
    labels: Labels
    paths: list[str]

    def __len__(self) -> int:
        """Return the number of texts."""
        return len(self.texts)

    def __getitem__(self, chosen: Labels) -> LabelledTexts:
        """Return the texts with these indices."""
        indices = chosen.tolist()
        return LabelledTexts(
            [self.texts[index] for index in indices], self.labels[chosen], [self.paths[index] for index in indices]
        )

    def __add__(self, other: LabelledTexts) -> LabelledTexts:
        """Return these texts, followed by `other`."""
        labels = np.concatenate([self.labels, other.labels])
        return LabelledTexts(self.texts + other.texts, labels, self.paths + other.paths)


def corpus_texts(corpus: Corpus) -> LabelledTexts:
    """Return the texts of `corpus` as models get them."""
    return LabelledTexts(
        [tidy(document.text) for document in corpus.documents],
        np.array([document.label for document in corpus.documents], dtype=np.int64),
        [document.path for document in corpus.documents],
    )


def sample_length(texts: Sequence[str]) -> int:
    """Return how long the samples of `texts` are: `LENGTH`, or more for many long texts."""
    length = LENGTH
    most = max(MOST_SAMPLES, len(texts))
    while sum(_number(text, length) for text in texts) > most:
        length = length * 5 // 4
    return length


def cut(documents: LabelledTexts, length: int) -> LabelledTexts:
    """Cut texts into samples of about `length` characters; most texts are one.

    A text is cut into parts of nearly the same length, behind white space where there is some nearby.
    """
    samples: list[str] = []
    owners: list[int] = []
    for index, text in enumerate(documents.texts):
        parts = _parts(text, _number(text, length))
        samples += parts
        owners += [index] * len(parts)
    own = np.array(owners, dtype=np.int64)
    return LabelledTexts(samples, documents.labels[own], [documents.paths[index] for index in owners])


def _number(text: str, length: int) -> int:
    return max(1, round(len(text) / length))


def _parts(text: str, number: int) -> list[str]:
    if number == 1:
        return [text]
    ends = [0]
    for part in range(1, number):
        goal = len(text) * part // number
        space = max(text.rfind(" ", ends[-1] + 1, goal), text.rfind("\n", ends[-1] + 1, goal))
        ends.append(space + 1 if space > goal - len(text) // number // 4 else goal)
    return [text[start:stop] for start, stop in zip(ends, [*ends[1:], len(text)], strict=True)]
