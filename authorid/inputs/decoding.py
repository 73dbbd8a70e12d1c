"""Decoding: which encoding the bytes of a file are in, and which bytes are not text.

The encodings are tried in this order: a byte-order mark; strict UTF-8, or a seven-bit encoding if all bytes are ASCII;
the encoding that the user declared; UTF-16 and UTF-32 without a mark, for files with NUL bytes; UTF-8 with a few wrong
bytes; detection. The name of the encoding is returned with the text.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

from authorid.inputs.damage import decode_damaged_utf8, decode_replacing, name_with_damage
from authorid.inputs.undecodable import UndecodableError

__all__ = ["UndecodableError", "decode", "lacks_text", "tidy"]


# The longest mark first: the UTF-32 LE mark begins with the UTF-16 LE one.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

_MARKUP = {b"%PDF-": "application/pdf", b"{\\rtf": "application/rtf", b"%!PS": "application/postscript"}
"""How files begin that may be all ASCII, and yet are not the text that a reader sees."""

_FIRST_BYTES = b"\xef\xff\xfe\x00%{"
"""With which a mark or markup begins."""


def decode(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode `data` to ``(text, encoding)``; `declared` is the name of an encoding to try before detection.

    A few wrong bytes are replaced by U+FFFD each, and `encoding` gives their number: ``utf-8 (1 byte replaced)``.
    Raises `UndecodableError` if the bytes contain NULs that neither UTF-16 nor UTF-32 explains, are of a format that is
    not plain text, or if no encoding fits.
    """
    if data[:1] in _FIRST_BYTES:
        for mark, encoding in _MARKS:
            if data.startswith(mark):
                return _with_mark(data, encoding)
        for beginning, mime_type in _MARKUP.items():
            if data.startswith(beginning):
                raise UndecodableError(f"not plain text ({mime_type})")
    binary = b"\0" in data
    # A declared seven-bit encoding is tried first: its files are pure ASCII, so they would also decode as UTF-8.
    seven_bit = declared is not None and codecs.lookup(declared).name.startswith(("iso2022", "hz", "utf-7"))
    if not binary and not (seven_bit and data.isascii()):
        try:
            text = data.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return _or_seven_bit(text, data)
    if declared is not None:
        reading = decode_replacing(data, declared, limit=0)
        if reading is not None and "\0" not in reading[0]:
            return reading[0], codecs.lookup(declared).name
    if binary:
        return _without_mark(data)
    damaged = decode_damaged_utf8(data)
    if damaged is not None:
        return damaged[0], name_with_damage("utf-8", damaged[1])
    return _detected(data)


_SEVEN_BIT_ESCAPES = (b"\x1b", b"~{", b"+")
"""Without one of them, ASCII is ASCII."""


def _or_seven_bit(text: str, data: bytes) -> tuple[str, str]:
    """`text`, which is `data` in UTF-8, unless it is ASCII that hides a seven-bit encoding."""
    if text.isascii() and any(escape in data for escape in _SEVEN_BIT_ESCAPES):
        from authorid.inputs.seven_bit import decode_seven_bit  # its expressions take time to compile

        hidden = decode_seven_bit(data)
        if hidden is not None:
            return hidden[0], name_with_damage(*hidden[1:])
    return text, "utf-8"


def _with_mark(data: bytes, encoding: str) -> tuple[str, str]:
    reading = decode_replacing(data, encoding, limit=max(_CUT, len(data) // _TEXT_PER_DAMAGE))
    if reading is not None and "\0" in reading[0]:
        raise _binary(data, "contains NUL bytes")
    if reading is None or (reading[1] and not _is_assigned(reading[0])):
        raise UndecodableError(f"has a {encoding} byte-order mark, but is not {encoding}")
    return reading[0], name_with_damage(encoding, reading[1])


_CUT = 3
"""The most bytes of a character that are left when the end of a file is cut."""

_TEXT_PER_DAMAGE = 100


def _binary(data: bytes, reason: str) -> UndecodableError:
    from authorid.inputs.detection import file_type

    return UndecodableError(f"binary file ({file_type(data) or reason})")


def _detected(data: bytes) -> tuple[str, str]:
    # Imported here: most corpora are UTF-8, and the detector takes a large part of the start-up time.
    from authorid.inputs.detection import detect

    found = None if data.isascii() else _damaged_seven_bit(data) or detect(data)
    if found is None:
        raise _binary(data, "no text encoding fits")
    return found[0], name_with_damage(*found[1:])


def _damaged_seven_bit(data: bytes) -> tuple[str, str, int] | None:
    from authorid.inputs.seven_bit import decode_seven_bit

    few = len(data) - len(data.translate(None, _HIGH_BYTES)) <= max(_CUT, len(data) // _TEXT_PER_DAMAGE)
    return decode_seven_bit(data) if few else None


_HIGH_BYTES = bytes(range(0x80, 0x100))


_SEPARATORS = frozenset(" \n\r\t.,;:!?\u3000\u3001\u3002\uff0c\uff01\uff1f\u060c\u06d4\u0964")
"""Characters that occur every few words in any text. With swapped bytes, none of them is in common use."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")

_SAMPLE = 4096


def _without_mark(data: bytes) -> tuple[str, str]:
    """Decode UTF-16 or UTF-32 without a byte-order mark, if exactly one interpretation looks like text."""
    candidates = []
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        reading = decode_replacing(data, encoding, limit=_CUT)
        if reading is not None and _looks_like_text(reading[0]):
            candidates.append((reading[0], name_with_damage(encoding, reading[1])))
    if len(candidates) != 1:
        raise _binary(data, "contains NUL bytes")
    return candidates[0]


def _looks_like_text(text: str) -> bool:
    if _CONTROLS.search(text) or not _is_assigned(text):
        return False
    sample = text[:_SAMPLE]
    return sum(character in _SEPARATORS for character in sample) * 100 >= len(sample)


def _is_assigned(text: str) -> bool:
    return not any(unicodedata.category(character) in ("Cn", "Co") for character in text[:_SAMPLE])


_NEWLINES = ("\r\n", "\r", "\u0085", "\u2028")
"""Line endings; a longer one comes before its own prefix."""

_SEGMENT = 128

_LONGEST_CLUSTER = 32
"""Unicode's Stream-Safe Text Format allows 30 combining marks on one letter. More indicates an attack."""


def tidy(text: str) -> str:
    r"""`text` with ``\n`` as line ending and in Unicode normal form C: the form that the models get.

    How a file ends its lines, and whether it stores é as one character or two, depends on the program that wrote the
    file, not on the author.
    """
    for newline in _NEWLINES:
        text = text.replace(newline, "\n")
    if text.isascii():
        return text
    # Segment by segment: the time to normalize a run of combining marks is quadratic in its length, and a hostile file
    # may consist of nothing else. A segment without a boundary is left as it is.
    parts = []
    start = 0
    while start < len(text):
        stop = _boundary(text, start, start + _SEGMENT)
        if stop is None:
            stop = start + _SEGMENT
            parts.append(text[start:stop])
        else:
            parts.append(unicodedata.normalize("NFC", text[start:stop]))
        start = stop
    return "".join(parts)


_LETTER_OR_DIGIT = re.compile("[^\\W_\u115f\u1160\u3164\uffa0]")
"""Hangul fillers are letters by their category, but they show nothing."""


def lacks_text(text: str) -> str | None:
    """Why `text` is no text, None if it is one: a text has at least one letter or digit, of whatever script.

    Models differ in what they make of marks, symbols and characters that cannot be seen. Without this rule, the answer
    for a document of nothing else would depend on the model that happens to read it.
    """
    if _LETTER_OR_DIGIT.search(text):
        return None
    return "no text (no letter or digit)" if text.strip() else "no text (only white space)"


def _boundary(text: str, start: int, stop: int) -> int | None:
    """The last index up to `stop` at a character that cannot combine with the one before it; None if none is near."""
    if stop >= len(text):
        return len(text)
    for index in range(stop, max(start, stop - _LONGEST_CLUSTER), -1):
        character = text[index]
        if character < "\u0300":
            return index
        # Hangul vowels and final consonants are letters that combine.
        if unicodedata.category(character)[0] != "M" and not "\u1160" <= character <= "\u11ff":
            return index
    return None
