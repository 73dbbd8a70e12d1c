"""A generated corpus of very many authors, to measure training at scale: ``python -m bench.many_authors OUT``.

Words follow Zipf's law and each other; subjects change from document to document. An author has habits: how often each
of the common words is used, some favourite rare words, the subjects, the length of sentences, and the punctuation.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

__all__ = ["AuthorProse"]

_WORDS, _COMMON = 30_000, 200
_FOLLOWERS, _FOLLOWS = 6, 0.3
_SUBJECTS, _SUBJECT_WORDS, _BOOST = 200, 400, 20.0
_FAVOURITES = 60

Numbers = npt.NDArray[np.float64]


@dataclass(frozen=True)
class AuthorProse:
    """Documents of authors who differ by `habit`: the deviation of the logarithm of how often each word is used."""

    habit: float = 0.25
    seed: int = 29

    def __post_init__(self) -> None:
        rng = np.random.default_rng(self.seed)
        starts = [first + vowel for first in "b c d f g h l m n p r s t v w st tr ch".split() for vowel in "aeiou"]
        syllables = np.array(starts + [start + end for start in starts for end in "nrst"])
        words: dict[str, None] = {}
        while len(words) < _WORDS:  # frequent words are short
            most = 1 + np.searchsorted([60, 1500, 12_000], len(words))
            words["".join(rng.choice(syllables, rng.integers(1, most + 1)))] = None
        object.__setattr__(self, "_words", np.array(list(words), dtype=object))
        object.__setattr__(self, "_zipf", 1 / (np.arange(_WORDS) + 3.0))
        object.__setattr__(self, "_followers", self._drawn(rng, self._zipf, (_WORDS, _FOLLOWERS)))
        subjects = rng.integers(_COMMON, _WORDS, (_SUBJECTS, _SUBJECT_WORDS))
        object.__setattr__(self, "_subjects", subjects)

    def documents(self, author: int, count: int, words: int = 400) -> Iterator[str]:
        """Yield the first `count` documents of an author, of about so many `words` each."""
        rng = np.random.default_rng((self.seed, author))
        own = self._zipf.copy()
        own[:_COMMON] *= np.exp(self.habit * rng.standard_normal(_COMMON))
        own[rng.integers(_COMMON, _WORDS // 4, _FAVOURITES)] *= np.exp(8 * self.habit)
        subjects = rng.integers(0, _SUBJECTS, 12)
        sentence, commas = 14 * np.exp(self.habit * rng.standard_normal()), rng.uniform(0.03, 0.12)
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
        drawn = self._drawn(rng, frequencies, length)
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

    @staticmethod
    def _drawn(rng: np.random.Generator, frequencies: Numbers, shape: int | tuple[int, ...]) -> npt.NDArray[np.int64]:
        edges = np.cumsum(frequencies)
        return np.searchsorted(edges, rng.random(shape) * edges[-1], side="right")


def main() -> None:
    """Write the corpus that was asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--authors", type=int, default=1000)
    parser.add_argument("--each", type=int, default=50, help="documents of each author")
    parser.add_argument("--habit", type=float, default=AuthorProse.habit)
    options = parser.parse_args()
    AuthorProse(options.habit).write(options.out, options.authors, options.each)


if __name__ == "__main__":
    main()
