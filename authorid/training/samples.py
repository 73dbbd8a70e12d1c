"""Cut long documents into samples that a model is trained on.

A novel and a note are not one example each: nearly every n-gram occurs in a novel, so its tf-idf says little about
texts of ordinary length. Samples have about the length of a page.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
import numpy.typing as npt

from authorid.inputs.decoding import tidy
from authorid.ngrams.segmentation import segment
from authorid.ngrams.words import SEPARATOR
from authorid.training.corpus import Corpus

__all__ = ["LabelledTexts", "SampleLength", "corpus_texts", "cut", "cut_text", "in_samples"]

Labels = npt.NDArray[np.int64]

LENGTH = 2000
"""Characters in a sample of a long document, about: the best of the lengths tried (docs/research/accuracy.md)."""

ENOUGH, USUAL_LENGTH = 1000, 4000
"""With so many samples, they are longer, up to the usual length: short ones help where there are few."""

MOST_SAMPLES = 2500
"""Samples are still longer where long documents would give more than this many."""

LONG = 6000
"""A document with fewer characters is an example as it is: its halves would be worse ones."""

_SENTENCE = r"[.!?\u2026]['\")\]\u2019\u201d\u00bb]*\s+|[\u3002\uff01\uff1f\u0964]"
_ENDS = tuple(re.compile(pattern) for pattern in (r"\n[ \t]*\n+", _SENTENCE, r"\n", r"\s"))
"""Ends of paragraphs, sentences, lines and words, with the white space behind them."""

_EXAMINED = 20_000
"""Characters of a text whose words are counted."""


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


@dataclass(frozen=True, slots=True)
class SampleLength:
    """Documents of `long` characters or more are cut into samples of about `characters`."""

    characters: int = LENGTH
    long: int = LONG

    @classmethod
    def for_texts(cls, texts: Sequence[str], words: int | None = None) -> SampleLength:
        """The length of the samples of `texts`: that of `words` words of these texts; 0 words: no text is cut.

        Without `words`, it is `LENGTH`, or more for many long texts.
        """
        if words is not None:
            characters = max(1, round(words * _characters_per_word(texts))) if words else max(map(len, texts)) + 1
            return cls(characters, characters)
        for step in count():
            characters = round(LENGTH * 2 ** (step / 3))
            length = cls(characters, max(LONG, characters * 3 // 2))
            most = ENOUGH if characters < USUAL_LENGTH else MOST_SAMPLES
            if sum(map(length.samples_of, texts)) <= max(most, len(texts)):
                break
        return length

    def samples_of(self, text: str) -> int:
        """How many samples `text` is cut into."""
        return 1 if len(text) < self.long else max(1, round(len(text) / self.characters))


def _characters_per_word(texts: Sequence[str]) -> float:
    """The average number of characters between the beginnings of words."""
    examined = [text[:_EXAMINED] for text in texts]
    words = sum(len(segment(text).replace(SEPARATOR, " ").split()) for text in examined)
    return sum(map(len, examined)) / max(1, words)


def cut(documents: LabelledTexts, length: SampleLength) -> LabelledTexts:
    """Cut the long texts into samples.

    A text is cut into parts of nearly the same length: at the end of a paragraph if there is one nearby, or else of a
    sentence, a line or a word.
    """
    samples: list[str] = []
    owners: list[int] = []
    for index, text in enumerate(documents.texts):
        parts = cut_text(text, length.samples_of(text))
        samples += parts
        owners += [index] * len(parts)
    own = np.array(owners, dtype=np.int64)
    return LabelledTexts(samples, documents.labels[own], [documents.paths[index] for index in owners])


def in_samples(corpus: Corpus, words: int) -> Corpus:
    """The `corpus` with samples of about `words` words as its documents."""
    length = SampleLength.for_texts([document.text for document in corpus.documents], words)
    documents = [
        replace(document, path=f"{document.path} ({number})" if number else document.path, text=text)
        for document in corpus.documents
        for number, text in enumerate(cut_text(document.text, length.samples_of(document.text)))
    ]
    return replace(corpus, documents=tuple(documents))


def cut_text(text: str, number: int) -> list[str]:
    """Cut `text` into `number` parts, or as many as it has characters."""
    number = min(number, len(text))
    if number <= 1:
        return [text]
    ends = [0]
    for part in range(1, number):
        goal = len(text) * part // number
        ends.append(_nearby_end(text, max(ends[-1] + 1, goal - len(text) // number // 4), goal))
    return [text[start:stop] for start, stop in zip(ends, [*ends[1:], len(text)], strict=True)]


def _nearby_end(text: str, start: int, goal: int) -> int:
    """Where to cut `text` between `start` and `goal`; `goal` if nothing ends there."""
    for pattern in _ENDS:
        ends = [match.end() for match in pattern.finditer(text, start, goal)]
        if ends:
            return ends[-1]
    return goal
