"""Rows of tables as documents: which column holds the texts, and what names a row."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from authorid.inputs.decoding import decode
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished

__all__ = ["RowMaker", "choose_text_column"]

_USUAL = "text"
"""The column that is taken when none is named and there is one of this name."""

_SHOWN, _LONGEST = 20, 40
"""Columns that a message names, and characters of a name."""

_LONGEST_MEMBER = 1000
"""Characters of the name of a row."""

_SURROGATES = re.compile("[\ud800-\udfff]")


def choose_text_column(names: Sequence[str], textual: Sequence[str], options: ReadOptions) -> str:
    """The column of the texts in a table with the columns `names`, of which the `textual` ones can hold texts.

    Without `options.text_column`, it is the one called ``text``, or else the only textual one. Raises `ValueError` when
    there is no such column, or not the one for the names of rows.
    """
    there = ", ".join(f"{str(name)[:_LONGEST]}" for name in names[:_SHOWN]) or "none"
    if len(names) > _SHOWN:
        there += f" and {len(names) - _SHOWN} more"
    for wanted in (options.text_column, options.id_column):
        if wanted is not None and wanted not in names:
            raise ValueError(f"has no column {wanted!r}; there are: {there}")
    if options.text_column is not None:
        return options.text_column
    possible = [name for name in textual if name != options.id_column]
    if _USUAL in possible:
        return _USUAL
    if len(possible) == 1:
        return possible[0]
    raise ValueError(f"which column holds the texts? Choose one with --text-column; there are: {there}")


@dataclass(frozen=True, slots=True)
class RowMaker:
    """Makes documents of the rows of the table `source`."""

    source: str
    reader: str
    options: ReadOptions

    def ref(self, number: int, identity: object = None) -> DocumentRef:
        """The reference of a row: `identity`, what it has in the column of names, or else its `number`."""
        if not isinstance(identity, str | int | float):
            return DocumentRef(self.source, str(number))
        member = str(identity)[:_LONGEST_MEMBER]
        return DocumentRef(self.source, member if member.isascii() else _SURROGATES.sub("\ufffd", member))

    def document(self, ref: DocumentRef, text: Any, encoding: str = "utf-8") -> Document | Failure:
        """The document of the row `ref` with this `text`; undecodable bytes are in it as lone surrogates."""
        if not isinstance(text, str):
            return Failure(ref, "no text (there is none in this row)" if text is None else "not a text")
        try:
            raw = text.encode("utf-8")
        except UnicodeEncodeError:
            return self._mended(ref, text)
        return self._checked(ref, text, raw, encoding)

    def decoded(self, ref: DocumentRef, raw: bytes) -> Document | Failure:
        """The document of the row `ref` with a text in an unknown encoding."""
        try:
            text, encoding = decode(raw, self.options.encoding)
        except ValueError as error:
            return Failure(ref, str(error))
        return self._checked(ref, text, raw, encoding)

    def _mended(self, ref: DocumentRef, text: str) -> Document | Failure:
        try:
            raw = text.encode("utf-8", "surrogateescape")
        except UnicodeEncodeError:  # surrogates that JSON wrote as escapes
            text, count = _SURROGATES.subn("\ufffd", text)
            encoding = f"utf-8 ({count} surrogate{'s' if count > 1 else ''} replaced)"
            return self._checked(ref, text, text.encode("utf-8"), encoding)
        return self.decoded(ref, raw)

    def _checked(self, ref: DocumentRef, text: str, raw: bytes, encoding: str) -> Document | Failure:
        if len(raw) > self.options.max_bytes:
            return Failure(ref, f"larger than {self.options.max_bytes} bytes (see --max-bytes)")
        if "\0" in text:
            return Failure(ref, "not a text (contains NUL characters)")
        return finished(ref, text, encoding, hashlib.sha256(raw).hexdigest(), self.reader)
