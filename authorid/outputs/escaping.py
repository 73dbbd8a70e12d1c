"""Text from strangers, made safe to show.

File names and author names may hold anything: line breaks, terminal escapes, right-to-left overrides, bytes that
are no text at all, a formula for a spreadsheet. What is written for people goes through here.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["cell", "exact", "visible"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", "'")  # noqa: RUF001
"""What a spreadsheet takes for the start of a formula, full width too; and the apostrophe, so that those put in front
can be told from those that were there."""

_NEXT_CELL = re.compile(r';(?=[\s"]*[=+\-@＝＋－＠])')  # noqa: RUF001
"""Where the decimal mark is a comma, spreadsheets cut CSV files at semicolons, whatever is quoted. Quotes that come
next then open and close a text, and are gone."""

_PLAIN = re.compile(r"[0-9A-Za-z/._][ -:<-\[\]-~]*")
"""What has nothing of all this, as most names and paths: ASCII, no semicolon, no backslash, a harmless start."""

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that steer a terminal or cannot be seen: controls, bidi marks, surrogates, separators."""


def visible(text: str) -> str:
    r"""`text` on one line, with everything that cannot be seen written as a backslash escape.

    Undecodable bytes of a file name (surrogate escapes) become ``\xNN``, controls and format characters ``\xNN``,
    ``\uNNNN`` or ``\UNNNNNNNN``, a backslash ``\\``; so different names stay different.
    """
    if text.isascii() and text.isprintable() and "\\" not in text:
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    code = ord(character)
    if character == "\\":
        return "\\\\"
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    if unicodedata.category(character) not in _HIDDEN:
        return character
    if code <= 0xFF:
        # A control is written like a byte, but a byte that is no text can only be 80..ff: no clash with C0; C1
        # controls take the \u form to stay apart from them.
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def cell(text: str) -> str:
    r"""`visible` text for a spreadsheet: what would be run as a formula gets an apostrophe in front.

    White space before it hides nothing: some programs drop that. So does text that begins with an apostrophe. A
    semicolon before what would be a formula is written ``\x3b``; white space and quotes between them hide nothing.
    """
    if _PLAIN.fullmatch(text):
        return text
    shown = _NEXT_CELL.sub(r"\\x3b", visible(text))
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown


_ESCAPED = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def exact(shown: str) -> str:
    """The text that `cell` shows so."""
    return _ESCAPED.sub(_character, shown.removeprefix("'"))


def _character(escaped: re.Match[str]) -> str:
    byte, *longer = escaped.groups()
    if byte is not None:
        return chr(int(byte, 16)) if byte < "80" else chr(int(byte, 16) + 0xDC00)
    return next((chr(int(code, 16)) for code in longer if code is not None), "\\")
