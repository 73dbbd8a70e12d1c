"""Short texts in many languages, written for this project, and the encodings that each language was stored in."""

from __future__ import annotations

import tomllib
import unicodedata
from pathlib import Path

__all__ = ["ENCODINGS", "TEXTS", "encoded"]

TEXTS: dict[str, str] = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
"""Language code to text."""

_WESTERN = ("cp1252", "iso8859-1", "iso8859-15", "cp850", "mac-roman")
_CENTRAL = ("cp1250", "iso8859-2", "cp852")

ENCODINGS: dict[str, tuple[str, ...]] = {
    "ar": ("cp1256", "iso8859-6"),
    "bg": ("cp1251", "iso8859-5"),
    "cs": _CENTRAL,
    "da": _WESTERN,
    "de": _WESTERN,
    "el": ("cp1253", "iso8859-7"),
    "en": ("cp1252", "mac-roman"),
    "es": _WESTERN,
    "et": ("cp1257", "iso8859-13"),
    "fi": _WESTERN,
    "fr": _WESTERN,
    "he": ("cp1255", "iso8859-8"),
    "hr": _CENTRAL,
    "hu": _CENTRAL,
    "is": ("cp1252", "iso8859-1"),
    "it": _WESTERN,
    "ja": ("cp932", "euc-jp", "iso2022-jp"),
    "ko": ("cp949", "euc-kr", "iso2022-kr"),
    "lt": ("cp1257", "iso8859-13"),
    "lv": ("cp1257", "iso8859-13"),
    "nl": _WESTERN,
    "no": _WESTERN,
    "pl": _CENTRAL,
    "pt": _WESTERN,
    "ro": _CENTRAL,
    "ru": ("cp1251", "koi8-r", "cp866", "mac-cyrillic", "iso8859-5"),
    "sk": _CENTRAL,
    "sl": _CENTRAL,
    "sv": _WESTERN,
    "th": ("cp874",),
    "tr": ("cp1254", "iso8859-9"),
    "uk": ("cp1251", "koi8-u", "mac-cyrillic"),
    "vi": ("cp1258",),
    "zh-hans": ("gb18030", "hz"),
    "zh-hant": ("big5",),
}
"""Language code to the encodings, older than Unicode, in which its texts were commonly stored."""


_TYPEWRITER = str.maketrans(
    dict.fromkeys("\u201c\u201d\u201e\u00ab\u00bb", '"')
    | {"\u2018": "'", "\u2019": "'", "\u2013": "-", "\u2026": "..."}
)

_TONES = frozenset("\u0300\u0301\u0303\u0309\u0323")


def encoded(text: str, encoding: str) -> tuple[bytes, str]:
    """`text` in `encoding`, and the text that these bytes hold.

    Quotes and dashes that the encoding lacks become those of a typewriter, as programs did it; other characters that
    it lacks are left out.
    """
    data = "".join(_fitted(character, encoding) for character in text).encode(encoding, "ignore")
    return data, data.decode(encoding)


def _fitted(character: str, encoding: str) -> str:
    if character.isascii():
        return character
    try:
        character.encode(encoding)
    except UnicodeEncodeError:
        if encoding != "cp1258":
            return character.translate(_TYPEWRITER)
        # Vietnamese in Windows: the tone follows its vowel as a character of its own.
        letter, *marks = list(unicodedata.normalize("NFD", character))
        vowel = unicodedata.normalize("NFC", letter + "".join(mark for mark in marks if mark not in _TONES))
        return vowel + "".join(mark for mark in marks if mark in _TONES)
    return character
