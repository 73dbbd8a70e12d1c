"""Passages of a text: sentences, or what stands for them in verse, tables and other scripts."""

from __future__ import annotations

import re

import numpy as np
import numpy.typing as npt

__all__ = ["sentence_edges", "word_edges"]

_END = re.compile(r"""[.!?…]+["'”’)\]]*\s+|[。！？]+[」』”’]*\s*|\n\s*\n\s*""")  # noqa: RUF001
_WORD = re.compile(r"\S+\s*")

_LONGEST = 600
"""Characters after which a sentence is cut, at white space where there is some."""

_SHORTEST = 25
"""Characters below which a sentence is joined with the next one: an abbreviation, a number in a list."""


def sentence_edges(text: str) -> npt.NDArray[np.int64]:
    """Where the sentences of `text` begin, and where the last one ends; int64 [sentences + 1]."""
    edges = [0]
    for end in (*(match.end() for match in _END.finditer(text)), len(text)):
        while end - edges[-1] > _LONGEST:
            goal = edges[-1] + _LONGEST
            space = max(
                text.rfind(" ", edges[-1] + _LONGEST // 2, goal), text.rfind("\n", edges[-1] + _LONGEST // 2, goal)
            )
            edges.append(space + 1 if space > 0 else goal)
        if end - edges[-1] >= _SHORTEST:
            edges.append(end)
    if len(edges) > 1:
        edges[-1] = len(text)  # a short rest belongs to the last sentence
    elif text:
        edges.append(len(text))
    return np.array(edges, dtype=np.int64)


def word_edges(text: str) -> npt.NDArray[np.int64]:
    """Where the words of `text` begin (what white space separates), and where the text ends; int64 [words + 1]."""
    starts = [match.start() for match in _WORD.finditer(text)]
    return np.array([*starts, len(text)], dtype=np.int64)
