"""A generated corpus of very many authors, to measure training at scale: ``python -m bench.many_authors OUT``.

Words follow Zipf's law and each other; subjects change from document to document. An author has habits: how often each
of the common words is used, some favourite rare words, the subjects, the length of sentences, and the punctuation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["AuthorProse"]

HABIT = 0.25

_WORDS, _COMMON = 30_000, 200
_FOLLOWERS, _FOLLOWS = 6, 0.3
_SUBJECTS, _SUBJECT_WORDS, _BOOST = 200, 400, 20.0
_FAVOURITES = 60

Numbers = npt.NDArray[np.float64]


class AuthorProse:
    """Documents of authors who differ by `habit`: the deviation of the logarithm of how often each word is used."""

    def __init__(self, habit: float = HABIT, seed: int = 29) -> None:
        self._habit, self._seed = habit, seed
        rng = np.random.default_rng(seed)
        starts = [first + vowel for first in [*"bcdfghlmnprstvw", "st", "tr", "ch"] for vowel in "aeiou"]
        syllables = np.array([*starts, *(start + end for start in starts for end in "nrst")])
        words: dict[str, None] = {}
        while len(words) < _WORDS:  # frequent words are short
            most = int(np.searchsorted([60, 1500, 12_000], len(words))) + 1
            words["".join(rng.choice(syllables, rng.integers(1, most + 1)))] = None
        self._words = np.array(list(words), dtype=object)
        self._zipf: Numbers = 1 / (np.arange(_WORDS) + 3.0)
        self._followers = _drawn(rng, self._zipf, (_WORDS, _FOLLOWERS))
        self._subjects = rng.integers(_COMMON, _WORDS, (_SUBJECTS, _SUBJECT_WORDS))

    def documents(self, author: int, count: int, words: int = 400) -> Iterator[str]:
        """Yield the first `count` documents of an author, of about so many `words` each."""
        rng = np.random.default_rng((self._seed, author))
        own = self._zipf.copy()
        own[:_COMMON] *= np.exp(self._habit * rng.standard_normal(_COMMON))
        own[rng.integers(_COMMON, _WORDS // 4, _FAVOURITES)] *= np.exp(8 * self._habit)
        subjects = rng.integers(0, _SUBJECTS, 12)
        sentence, commas = 14 * np.exp(self._habit * rng.standard_normal()), rng.uniform(0.03, 0.12)
        for _ in range(count):
            frequencies = own.copy()
            frequencies[self._subjects[rng.choice(subjects, 2)]] *= _BOOST
            length = int(words * rng.uniform(0.6, 1.4))
            yield self._document(rng, frequencies, length, 1 / sentence, commas)

    def write(self, root: Path, authors: int, each: int) -> None:
        """Write `each` documents of so many `authors`, a directory an author."""
        for author in range(authors):
            directory = root / f"author{author:04d}"
            directory.mkdir(parents=True, exist_ok=True)
            for number, text in enumerate(self.documents(author, each)):
                (directory / f"{number:03d}.txt").write_text(text, "utf-8")

    def _document(self, rng: np.random.Generator, frequencies: Numbers, length: int, ends: float, commas: float) -> str:
        drawn = _drawn(rng, frequencies, length)
        # A word is followed by one of those that often follow it, or by any other.
        for at in np.flatnonzero(rng.random(length - 1) < _FOLLOWS).tolist():
            drawn[at + 1] = self._followers[drawn[at], rng.integers(_FOLLOWERS)]
        text = self._words[drawn].tolist()
        capital = True
        for at, kind in enumerate(rng.random(length).tolist()):
            word = text[at].capitalize() if capital else text[at]
            capital = kind < ends or at == length - 1
            text[at] = word + ("." if capital else "," if kind < ends + commas else "")
            if capital and kind < ends / 6:
                text[at] += "\n\n"
        return " ".join(text).replace("\n\n ", "\n\n") + "\n"


def _drawn(rng: np.random.Generator, frequencies: Numbers, shape: int | tuple[int, ...]) -> Any:
    """Numbers of words, int64 of this `shape`."""
    edges = np.cumsum(frequencies)
    return np.searchsorted(edges, rng.random(shape) * edges[-1], side="right")


def main() -> None:
    """Write the corpus that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--authors", type=int, default=1000)
    parser.add_argument("--each", type=int, default=50, help="documents of each author")
    parser.add_argument("--habit", type=float, default=HABIT)
    options = parser.parse_args()
    AuthorProse(options.habit).write(options.out, options.authors, options.each)


if __name__ == "__main__":
    main()
