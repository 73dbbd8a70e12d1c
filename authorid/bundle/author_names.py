"""Names of authors, and which of them are too much alike to be two authors.

File systems and programs change the Unicode normal form of names, and some ignore their case. So two names that differ
only in that are taken for a mistake.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["author_key", "normalized_name", "too_much_alike"]


def normalized_name(name: str) -> str:
    """The name in Unicode normal form C."""
    return unicodedata.normalize("NFC", name)


def author_key(name: str) -> str:
    """The same string for names that differ only in Unicode normalization or in case."""
    return normalized_name(normalized_name(name).casefold())


def too_much_alike(names: Iterable[str]) -> str | None:
    """The first two of `names` that differ only in Unicode normalization or in case, in words; None without any."""
    seen: dict[str, str] = {}
    for name in names:
        key = author_key(name)
        if key not in seen:
            seen[key] = name
            continue
        other = seen[key]
        if other == name:
            return f"{name!r} occurs twice"
        if normalized_name(other) == normalized_name(name):  # they look the same, so their characters are shown
            return f"{other!a} and {name!a} differ only in Unicode normalization"
        return f"{other!r} and {name!r} differ only in case"
    return None
