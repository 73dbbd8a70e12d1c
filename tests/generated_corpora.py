"""Corpora of invented words, of any size: each author has habits of choosing words, each document a subject."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np

SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwz" for vowel in ("a", "e", "i", "o", "u", "er", "an")]
WORDS, SUBJECTS = 12_000, 60


class Generator:
    """Documents of 150 to 250 words by `authors` authors; the same `seed` gives the same documents.

    Words are distributed as in Zipf's law. `habit` is the standard deviation of the logarithm of how much more often
    an author uses a word than others do; a third of each document is words of its subject.
    """

    def __init__(self, authors: int, *, habit: float = 0.8, seed: int = 0) -> None:
        rng = np.random.default_rng(seed)
        sizes = rng.choice([1, 2, 3, 4], WORDS, p=[0.1, 0.35, 0.35, 0.2])
        self._words = np.array(["".join(rng.choice(SYLLABLES, size)) for size in sizes])
        self._common = 1 / np.arange(3, WORDS + 3)
        self._subjects = [np.cumsum(self._common * (rng.random(WORDS) < 0.03)) for _ in range(SUBJECTS)]
        self._authors, self._habit, self._seed = authors, habit, seed

    def documents(self, author: int, count: int, first: int = 0) -> Iterator[str]:
        """Documents number `first` to ``first + count - 1`` of an author."""
        habits = np.random.default_rng([self._seed, author])
        own = np.cumsum(self._common * np.exp(self._habit * habits.standard_normal(WORDS)))
        commas, stops = habits.uniform(0.03, 0.1), habits.uniform(0.05, 0.1)
        interests = habits.integers(SUBJECTS, size=5)
        for number in range(first, first + count):
            rng = np.random.default_rng([self._seed, author, number])
            size = int(rng.integers(150, 251))
            subject = self._subjects[interests[rng.integers(5)]]
            chosen = np.searchsorted(own, rng.random(size) * own[-1])
            other = np.searchsorted(subject, rng.random(size) * subject[-1])
            words = self._words[np.where(rng.random(size) < 1 / 3, other, chosen)]
            marks = rng.random(size)
            yield "".join(
                word + (". " if mark < stops else ", " if mark < stops + commas else " ")
                for word, mark in zip(words.tolist(), marks.tolist(), strict=True)
            )

    def write(self, root: Path, count: int, first: int = 0) -> None:
        """Write documents of every author as ``root/author-0001/0001.txt``."""
        for author in range(self._authors):
            directory = root / f"author-{author:04d}"
            directory.mkdir(parents=True)
            for number, text in enumerate(self.documents(author, count, first), start=first):
                (directory / f"{number:04d}.txt").write_text(text)
