"""Typography: quotes, dashes, spaces and other characters that depend on a program or a publisher, not on an author.

A word processor turns straight quotes into curly ones; a web page has no-break spaces; a PDF has ligatures and soft
hyphens. When an author's texts come from several sources, a model would learn the sources. Folding gives such
characters the form that a keyboard has.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cache

from authorid.inputs.decoding import tidy

__all__ = ["fold_typography"]

_FORMS = {
    "'": "\u2018\u2019\u201a\u201b\u2032\u2035\u2039\u203a\u00b4\u02b9\u02bb\u02bc\u05f3\u275b\u275c\ua78c",
    '"': "\u201c\u201d\u201e\u201f\u2033\u2036\u00ab\u00bb\u05f4\u275d\u275e\u301d\u301e\u301f",
    "-": "\u2010\u2011\u2012\u2013\u2043\u2212",
    "--": "\u2014\u2015\u2e3a\u2e3b",
    "~": "\u301c\u2053\u223c",
    "..": "\u2025",
    "...": "\u2026\u22ef",
    " ": "\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000",
    "\n": "\u2029",
    # The soft hyphen, zero-width characters, marks of direction and of order, variation selectors.
    "": "\u00ad\u034f\u061c\u180e\u200b\u200c\u200d\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\ufeff"
    "\ufe00\ufe01\ufe02\ufe03\ufe04\ufe05\ufe06\ufe07\ufe08\ufe09\ufe0a\ufe0b\ufe0c\ufe0d\ufe0e\ufe0f",
    "ij": "\u0133",
    "IJ": "\u0132",
}
"""What each form replaces."""

_COMPATIBLE = (
    *((0xFB00, 0xFB06), (0xFB13, 0xFB17), (0xFB50, 0xFD3D), (0xFD50, 0xFDF9), (0xFE10, 0xFE19), (0xFE30, 0xFE6B)),
    *((0xFE70, 0xFEFC), (0xFF01, 0xFFDC), (0xFFE0, 0xFFE2), (0xFFE4, 0xFFE6)),
)
"""First and last characters of ligatures, Arabic presentation forms, forms for vertical writing, small, full-width and
half-width forms. They get their compatibility decomposition (NFKC)."""

_FOLDED = re.compile(
    f"[{''.join(_FORMS.values())}{''.join(f'{chr(first)}-{chr(last)}' for first, last in _COMPATIBLE)}]"
)

_FEW = 32
"""Up to so many different characters are replaced one after the other, which is faster than a translation."""


def fold_typography(text: str) -> str:
    """`text` with the typography of a keyboard: ``'``, ``"``, ``-``, ``--``, ``...``, plain spaces, no ligatures.

    `text` is in the form of `authorid.inputs.decoding.tidy`, and so is the result. Folding it again changes nothing,
    and ASCII stays as it is.
    """
    if text.isascii():
        return text
    found = set(_FOLDED.findall(text))
    if not found:
        return text
    table = _table()
    if len(found) > _FEW:
        return tidy(text.translate(table))
    for character in found:
        text = text.replace(character, table.get(ord(character), character))
    return tidy(text)


@cache
def _table() -> dict[int, str]:
    """The form of each character that is folded."""
    plain = {ord(character): form for form, characters in _FORMS.items() for character in characters}
    compatible = {
        code: unicodedata.normalize("NFKC", chr(code)).translate(plain)
        for first, last in _COMPATIBLE
        for code in range(first, last + 1)
    }
    return plain | {code: form for code, form in compatible.items() if form != chr(code)}
