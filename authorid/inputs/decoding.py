"""Bytes become text: which encoding, and what is no text at all.

The order is: byte-order mark, strict UTF-8, the encoding that the user declared, UTF-16 and UTF-32 without a mark
(for files that hold NUL bytes), detection. Whatever is chosen is named, so that it can be recorded.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

__all__ = ["UndecodableError", "decode", "tidy"]


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

_BINARY = "binary file (contains NUL bytes)"


def decode(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode `data` to ``(text, encoding)``; `declared` is the name of an encoding to try before detection.

    Raises `UndecodableError` when the bytes hold NULs that no reading as UTF-16 or UTF-32 explains, or when no
    encoding fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                text = data.decode(encoding)
            except UnicodeDecodeError as error:
                raise UndecodableError(f"has a {encoding} byte-order mark, but {error.reason}") from None
            if "\0" in text:
                raise UndecodableError(_BINARY)
            return text, encoding
    binary = b"\0" in data
    # A declared seven-bit encoding goes first: its files are all ASCII, and UTF-8 would take them at their word.
    seven_bit = declared is not None and codecs.lookup(declared).name.startswith(("iso2022", "hz", "utf-7"))
    if not binary and not (seven_bit and data.isascii()):
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    if declared is not None:
        declared_text = _strictly(data, declared)
        if declared_text is not None and "\0" not in declared_text:
            return declared_text, codecs.lookup(declared).name
    return _unmarked(data) if binary else _detected(data)


def _strictly(data: bytes, encoding: str) -> str | None:
    """`data` in `encoding`, or None when it is not that, or is no text that could be written as UTF-8."""
    try:
        text = data.decode(encoding)
        text.encode("utf-8")  # some codecs, such as unicode_escape, make lone surrogates
    except UnicodeError:
        return None
    return text


_SEPARATORS = frozenset(" \n\r\t.,;:!?\u3000\u3001\u3002\uff0c\uff01\uff1f\u060c\u06d4\u0964")
"""What any text has every few words. With its bytes swapped, none of these is a character in common use."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")

_SAMPLE = 4096


def _unmarked(data: bytes) -> tuple[str, str]:
    """UTF-16 or UTF-32 without a byte-order mark, when exactly one reading looks like text."""
    readings = []
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        text = _strictly(data, encoding)
        if text is not None and _looks_like_text(text):
            readings.append((text, encoding))
    if len(readings) != 1:
        raise UndecodableError(_BINARY)
    return readings[0]


def _looks_like_text(text: str) -> bool:
    if _CONTROLS.search(text):
        return False
    sample = text[:_SAMPLE]
    if any(unicodedata.category(character) in ("Cn", "Co") for character in sample):
        return False
    return sum(character in _SEPARATORS for character in sample) * 100 >= len(sample)


_WIDESPREAD = (
    *("cp1252", "iso8859_2", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "mac_roman", "cp850", "cp437", "cp866", "iso8859_5"),
)
"""Encodings in the order in which people use them: it decides where the detector sees no difference."""

_UNLIKENESS = 0.041
"""Among the right reading and its rivals over a dozen languages, the right one was never less coherent by more."""

_C1 = re.compile(rb"[\x80-\x9f]")


def _detected(data: bytes) -> tuple[str, str]:
    # Imported here: most corpora are UTF-8, and the detector costs a good part of the start-up time.
    from charset_normalizer import from_bytes

    matches = list(from_bytes(data))
    if not matches:
        raise UndecodableError("binary file (no text encoding fits)")
    order = list(_WIDESPREAD)
    if _C1.search(data):
        order.remove("iso8859_2")  # printable there in Windows' code pages, controls in ISO's
    # Several encodings often fit alike ("chaos" is the detector's measure of mess, "coherence" of likeness to a
    # language, both 0 to 1). Then the commonest wins over whichever the detector happened to list first.
    best = matches[0]
    for mess in (0.01, 0.05):
        near = [
            match
            for match in matches
            if match.chaos <= best.chaos + mess and match.coherence >= best.coherence - _UNLIKENESS
        ]
        for encoding in order:
            for match in near:
                if encoding in match.could_be_from_charset:
                    return str(match), encoding
    return str(best), best.encoding


_NEWLINES = ("\r\n", "\r", "\u0085", "\u2028")
"""Ends of lines, the longer one before what it begins with."""

_STRETCH = 128

_LONGEST_CLUSTER = 32
"""Unicode's Stream-Safe Text Format allows 30 combining marks on one letter; more is an attack."""


def tidy(text: str) -> str:
    r"""`text` with line endings as ``\n`` and in Unicode normal form C: what the models are given.

    How a file ends its lines, and whether it writes é as one character or two, says which program wrote it.
    """
    for newline in _NEWLINES:
        text = text.replace(newline, "\n")
    if text.isascii():
        return text
    # In stretches: normalising takes time quadratic in the number of combining marks that follow each other, and a
    # hostile file is made of nothing else. Such stretches are left as they are.
    parts = []
    start = 0
    while start < len(text):
        stop = _boundary(text, start, start + _STRETCH)
        if stop is None:
            stop = start + _STRETCH
            parts.append(text[start:stop])
        else:
            parts.append(unicodedata.normalize("NFC", text[start:stop]))
        start = stop
    return "".join(parts)


def _boundary(text: str, start: int, stop: int) -> int | None:
    """The last place up to `stop` before a character that cannot combine with what precedes it; None: none is near."""
    if stop >= len(text):
        return len(text)
    for place in range(stop, max(start, stop - _LONGEST_CLUSTER), -1):
        character = text[place]
        if character < "\u0300":
            return place
        # Hangul vowels and final consonants are letters that combine.
        if unicodedata.category(character)[0] != "M" and not "\u1160" <= character <= "\u11ff":
            return place
    return None
