"""Generated documents: random text with realistic word frequencies, the same for the same seed on every machine."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from importlib.resources import files
from pathlib import Path

import numpy as np

__all__ = ["generated_text", "generated_words", "write_documents"]

_WORDS_PER_LINE = 90


def generated_words(words: int, rng: np.random.Generator) -> Iterator[str]:
    """Yield `words` random words with punctuation: common words by Zipf's law, invented words and names, numbers."""
    common_words, all_syllables = _word_list("common_words.txt"), _word_list("syllables.txt")
    weights = 1 / np.arange(2, len(common_words) + 2)
    common = rng.choice(len(common_words), size=words, p=weights / weights.sum())
    kinds = rng.random(words)
    syllables = rng.integers(0, len(all_syllables), (words, 3))
    numbers = rng.integers(1, 5000, words) / 10
    left_in_sentence = 0
    for index in range(words):
        starts_sentence = left_in_sentence == 0
        if starts_sentence:
            left_in_sentence = int(rng.integers(8, 29))
        left_in_sentence -= 1
        word = common_words[common[index]]
        if kinds[index] < 0.09:
            word = "".join(all_syllables[i] for i in syllables[index][: 2 + index % 2])
            word = word.capitalize() if kinds[index] < 0.05 else word
        elif kinds[index] < 0.12:
            word = f"{numbers[index]:,.1f}"
        word = word[0].upper() + word[1:] if starts_sentence else word
        ends_sentence = left_in_sentence == 0 or index == words - 1
        yield word + ("." if ends_sentence else "," if kinds[index] > 0.94 else "")


def generated_text(words: int, seed: int) -> str:
    """A document of `words` words."""
    text = list(generated_words(words, np.random.default_rng(seed)))
    lines = (text[start : start + _WORDS_PER_LINE] for start in range(0, words, _WORDS_PER_LINE))
    return "\n".join(" ".join(line) for line in lines) + "\n"


def write_documents(root: Path, count: int, *, seed: int = 0, words: int = 500, spread: float = 0.5) -> list[Path]:
    """Write `count` generated documents below the directory `root`, and return their paths.

    Their lengths are log-normal with a median of `words` words and a sigma of `spread`.
    """
    lengths = np.random.default_rng([seed, count]).lognormal(np.log(words), spread, count)
    paths = []
    for index, length in enumerate(lengths.clip(5, 20 * words).astype(int)):
        if index % 1000 == 0:
            directory = root / f"{index // 1000:03d}"
            directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{index:06d}.txt"
        path.write_text(generated_text(int(length), seed * 1_000_003 + index), "utf-8")
        paths.append(path)
    return paths


@functools.cache
def _word_list(name: str) -> list[str]:
    """The words of a data file of this package. Their order and number decide what is generated."""
    return (files("authorid.benchmark") / name).read_text("utf-8").split()
