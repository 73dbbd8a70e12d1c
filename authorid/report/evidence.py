"""What the report shows of an explanation: n-grams, the marked beginning of the text, and who wrote which part."""

from __future__ import annotations

import json
import re
from typing import Any

import numpy as np

from authorid.outputs.escaping import unicode_text, visible
from authorid.scoring.explanation import Explanation

__all__ = ["explanation_evidence", "row_evidence", "shown"]

_NGRAMS = 8
_CHARACTERS = 4000
"""Characters of a text that are shown."""

_LEVELS = (0.6, 0.8, 0.95)
"""A word has mark 1, 2 or 3 when its contribution is larger than that of these shares of the words."""

_ROLLING_WORDS = 400
_ROLLING_CHARACTERS = 200_000
"""Texts of at least so many words and at most so many characters are attributed part by part."""

_WORD = re.compile(r"\S+\s*")


def shown(text: str) -> str:
    """`text` with its line breaks, and without any other character that is invisible or changes the direction."""
    lines = unicode_text(text).replace("\t", " ").splitlines()
    return "\n".join(visible(line).replace("\\\\", "\\") for line in lines) + ("\n" if text[-1:] == "\n" else "")


def explanation_evidence(found: Explanation) -> dict[str, Any]:
    """What speaks for the answer and for the runner-up, JSON-ready; authors are numbers in the order of the model."""
    first, second = found.compared()
    numbers = found.authors.index(first), found.authors.index(second)
    odds = found.log_odds(first, second)
    return {
        "authors": numbers,
        "odds": [round(value, 2) for value in (odds.total, odds.ngrams, odds.encoder)],
        "ngrams": [
            [shown(one.ngram), one.view, one.count, round(one.contribution, 4)]
            for one in found.contributions.top_ngrams(*numbers, most=_NGRAMS)
        ],
        "text": _marked(found, first, second),
        "cut": len(found.text) > _CHARACTERS,
        "parts": _parts(found),
    }


def row_evidence(explanation: str, authors: dict[str, int]) -> dict[str, Any]:
    """The same of the explanation that a record carries: it has no text, only its passages.

    `authors` has the number of each author.
    """
    row = json.loads(explanation)
    return {
        "authors": [authors.get(row["author"])],
        "ngrams": [[shown(one["ngram"]), one["view"], one["count"], one["contribution"]] for one in row["ngrams"]],
        "passages": [[shown(one["text"]), one["contribution"]] for one in row["passages"]],
    }


def _marked(found: Explanation, author: str, against: str) -> list[tuple[int, str]]:
    """The beginning of the text in runs of words with the same mark, from -3 for `against` to 3 for `author`."""
    sums = np.append(0.0, np.cumsum(found.characters(author, against)))
    words = [match.span() for match in _WORD.finditer(found.text, 0, _CHARACTERS)]
    worth = np.array([sums[end] - sums[start] for start, end in words])
    if not len(worth):
        return []
    bounds = np.quantile(np.abs(worth), _LEVELS)
    marks = (np.sign(worth) * np.searchsorted(bounds, np.abs(worth))).astype(int).tolist()
    runs: list[tuple[int, str]] = []
    for (start, end), mark in zip(words, marks, strict=True):
        word = found.text[start:end]
        if runs and runs[-1][0] == mark:
            runs[-1] = (mark, runs[-1][1] + word)
        else:
            runs.append((mark, word))
    return [(mark, shown(text)) for mark, text in runs]


def _parts(found: Explanation) -> list[list[Any]]:
    """First and last word, author and probability of each part of a long text; none when one author has all of it."""
    if len(found.text) > _ROLLING_CHARACTERS or len(found.text.split()) < _ROLLING_WORDS:
        return []
    segments = found.segments().segments
    if len(segments) < 2:
        return []
    return [
        [one.first_word, one.last_word, found.authors.index(one.author), round(one.probability, 3)] for one in segments
    ]
