"""Project Gutenberg's header and licence, which surround the text of its books and belong to no author."""

from __future__ import annotations

import re

__all__ = ["without_gutenberg"]

_BEGINNING = 40_000
"""Characters in which the header ends."""

_START = re.compile(
    r"^[ \t]*\*\*\* ?START OF (?:THE|THIS) PROJECT GUTENBERG[^*]{0,600}\*\*\*.*$"
    r"|^\*END\*? ?THE SMALL PRINT![^*]{0,200}(?:\*[^*\n]{0,100}){0,4}\*END\*.*$",
    re.MULTILINE | re.IGNORECASE,
)
_CREDITS = re.compile(r"\s*(?:Produced by|E-text prepared by|Transcribed from)\b[^\n]*(?:\n[^\n]+){0,8}(?=\n\s*\n)")
_END = re.compile(
    r"^[ \t]*(?:\*\*\* ?END OF (?:THE|THIS) PROJECT GUTENBERG|End of (?:the |this )?Project Gutenberg).*$",
    re.MULTILINE | re.IGNORECASE,
)


def without_gutenberg(text: str) -> tuple[str, bool]:
    """`text` without the header and the licence of Project Gutenberg, and whether it had one of them."""
    if "GUTENBERG" not in text and "Gutenberg" not in text:
        return text, False
    begin = 0
    for match in _START.finditer(text, 0, _BEGINNING):
        begin = match.end()
    # The last third: a chapter may talk about the end of a book.
    stop = next((match.start() for match in _END.finditer(text, max(begin, len(text) // 3))), len(text))
    if begin == 0 and stop == len(text):
        return text, False
    if begin and (credits := _CREDITS.match(text, begin)):
        begin = credits.end()
    return text[begin:stop].strip() + "\n", True
