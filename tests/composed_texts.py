"""Texts composed of passages by several authors of a corpus, for tests of rolling attribution."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from authorid.inputs.decoding import tidy
from authorid.inputs.typography import fold_typography

SHORTEST, LONGEST = 400, 600
"""Words of a passage."""


def compose(corpus: Path, seed: int, authors: int = 4) -> tuple[str, list[int]]:
    """The beginnings of articles by some authors of `corpus`, one after the other, and the words where they join."""
    rng = np.random.default_rng(seed)
    passages: list[list[str]] = []
    directories = sorted(path for path in corpus.iterdir() if path.is_dir())
    for number in rng.permutation(len(directories)).tolist():
        length = int(rng.integers(SHORTEST, LONGEST + 1))
        files = sorted(directories[number].glob("*.txt"))
        for file in (files[i] for i in rng.permutation(len(files)).tolist()):
            words = fold_typography(tidy(file.read_text("utf-8", errors="replace"))).split()
            if len(words) >= length:
                passages.append(words[:length])
                break
        if len(passages) == authors:
            break
    joins = np.cumsum([len(passage) for passage in passages])[:-1].tolist()
    return "\n".join(" ".join(passage) for passage in passages), joins
