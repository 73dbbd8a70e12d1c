"""Untrusted text, made safe to display.

File names and author names may contain anything: line breaks, terminal escapes, right-to-left overrides, bytes that
are not text, formulas for a spreadsheet. Everything that people will look at passes through this module.
"""

from __future__ import annotations

import re
import unicodedata

__all__ = ["cell", "unicode_text", "visible"]

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠", "'")  # noqa: RUF001
"""What a spreadsheet takes for the start of a formula, in full width too. Also the apostrophe, so that an apostrophe
that `cell` adds can be distinguished from one that was there."""

_NEXT_CELL = re.compile(r'[;,](?=[\s"]*[=+\-@＝＋－＠])')  # noqa: RUF001
"""In locales with a decimal comma, spreadsheets split CSV files at semicolons, even inside quotes, and some split TSV
files at commas too. Quotes that follow the separator then only delimit a text, and disappear."""

_PLAIN = re.compile(r"[0-9A-Za-z/._][ -+\--:<-\[\]-~]*")
"""A text that needs no escape, as most names and paths: ASCII, no separator, no backslash, a harmless start."""

_SURROGATE = re.compile("[\ud800-\udfff]")

_HIDDEN = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
"""Unicode categories that control a terminal or are invisible: controls, bidi marks, surrogates, separators."""


def visible(text: str) -> str:
    r"""`text` on one line, with every invisible character written as a backslash escape.

    Undecodable bytes of a file name (surrogate escapes) become ``\xNN``, controls and format characters ``\xNN``,
    ``\uNNNN`` or ``\UNNNNNNNN``, and a backslash ``\\``. So different names stay different.
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
        # A C0 control takes the form of a byte, since undecodable bytes are 80..ff and cannot clash with it. A C1
        # control could, and takes the \u form.
        return f"\\x{code:02x}" if code < 0x80 else f"\\u{code:04x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"


def unicode_text(text: str) -> str:
    """`text` with every lone surrogate, such as an undecodable byte of a file name, as U+FFFD."""
    return _SURROGATE.sub("\ufffd", text)


def cell(text: str) -> str:
    r"""`visible` text for a spreadsheet: a text that would run as a formula gets an apostrophe in front.

    White space before the formula makes no difference, because some programs drop it. A text that begins with an
    apostrophe gets one too. A semicolon or comma before a formula becomes ``\x3b`` or ``\x2c``, also with white space
    and quotes between.
    """
    if _PLAIN.fullmatch(text):
        return text
    shown = _NEXT_CELL.sub(lambda separator: f"\\x{ord(separator[0]):02x}", visible(text))
    return f"'{shown}" if shown.lstrip().startswith(_FORMULA) else shown
