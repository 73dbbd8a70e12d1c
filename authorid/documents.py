"""Paths become documents: walk, read, decode.

Every input gives exactly one item: a `Document`, or a `Failure` that says why it is not one.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Document", "Failure", "UndecodableError", "decode", "read", "read_documents", "walk"]


@dataclass(frozen=True, slots=True)
class Document:
    """One readable text.

    `index` is its place in the walk (0, 1, ...), `encoding` the codec it was decoded with, `sha256` the digest
    of its bytes.
    """

    index: int
    path: str
    text: str
    encoding: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read, and why."""

    index: int
    path: str
    reason: str


class UndecodableError(ValueError):
    """Bytes that are not text in any encoding we can defend."""


# The longest mark first: the UTF-32 LE mark begins with the UTF-16 LE one.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes) -> tuple[str, str]:
    """Decode `data` to ``(text, encoding)``: byte-order mark, then strict UTF-8, then detection.

    Raises `UndecodableError` when the bytes hold NULs without a byte-order mark, or no encoding fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise UndecodableError(f"has a {encoding} byte-order mark, but {error.reason}") from None
    if b"\0" in data:
        raise UndecodableError("binary file (contains NUL bytes)")
    try:
        return data.decode("utf-8"), "utf-8"
    except UnicodeDecodeError:
        pass
    # Imported here: most corpora are UTF-8, and the detector costs a quarter of the start-up time.
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise UndecodableError("binary file (no text encoding fits)")
    return str(best), best.encoding
