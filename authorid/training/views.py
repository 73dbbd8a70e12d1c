"""The views that an n-gram model is trained with: they depend on the scripts in which a corpus is written."""

from __future__ import annotations

import re
from collections.abc import Iterable

from authorid.ngrams.features import View

__all__ = ["BYTE_VIEWS", "CHARACTER_VIEWS", "FREQUENT_WORDS", "PLAIN_BYTES", "PLAIN_WORDS", "views_for"]

BYTE_VIEWS = (
    View("bytes", "byte", (4,), once=True),
    View("manner", "byte", (4,), keep=300, once=True),
    View("phrases", "word", (2,), keep=1000, mask="one"),
    View("skeleton", "word", (3,), keep=300, mask="one", weight=2**0.5),
    View("words", "word", (1, 2, 3), weight=0.6**0.5, once=True, shared=True),
    View("shapes", "word", (6,), keep=0, mask="one", weight=0.2**0.5, once=True, shared=True),
)
"""For European scripts. Chosen on the shifted splits of Reuters C50; none depends on the language
(docs/research/accuracy.md)."""

PLAIN_BYTES = View("bytes-2-5", "byte", (2, 3, 4, 5), scaling="idf")
PLAIN_WORDS = View("words-1-3", "word", (1, 2, 3), scaling="idf")
FREQUENT_WORDS = View("frequent-words", "word", (1,), keep=1000, mask="one", linear=True, scaling="deviation")
"""Views for European scripts that some corpora are better off with (`authorid.training.view_choice`): those of most
text classifiers, and the relative frequencies of the most common words, as in Burrows's Delta."""

CHARACTER_VIEWS = (
    View("characters", "char", (1,), linear=True),
    View("pairs", "char", (2,), weight=0.5**0.5, linear=True),
    View("triples", "char", (3,), weight=0.1**0.5, once=True),
    View("words", "word", (1,), linear=True),
    View("phrases", "word", (2,), keep=300, mask="one", weight=0.3**0.5, linear=True),
)
"""For other scripts, which have more characters or write them in more bytes. Counts are linear: a document has few of
the many characters, so what they are tells its subject, and how often the common ones occur tells its author
(docs/explanation/typography-and-scripts.md)."""

_EUROPEAN = re.compile("[A-Za-z\u00c0-\u058f\u10a0-\u10ff\u1e00-\u1fff]")

_OTHERS = re.compile(
    "[\u0590-\u109f\u1100-\u1c7f\u1cc0-\u1cff\u2d30-\u2ddf\u2e80-\ua63f\ua6a0-\ua6ff\ua800-\uab2f\uab70-\ud7ff"
    "\uf900-\ufaff\ufb1d-\ufdff\ufe70-\ufefe\uff66-\uffdc\U00020000-\U0003ffff]"
)


def views_for(texts: Iterable[str]) -> tuple[View, ...]:
    """`CHARACTER_VIEWS` when most characters of `texts` are of scripts other than the European ones, else `BYTE_VIEWS`.

    European scripts are those of Latin, Greek, Cyrillic, Armenian and Georgian letters.
    """
    european = others = 0
    for text in texts:
        if text.isascii():
            european += len(text)
        else:
            european += len(_EUROPEAN.findall(text))
            others += len(_OTHERS.findall(text))
    return CHARACTER_VIEWS if others > european else BYTE_VIEWS
