"""Decoding: which encoding the bytes of a file are in, and which bytes are not text.

The encodings are tried in this order: a byte-order mark; strict UTF-8; the encoding that the user declared; UTF-16 and
UTF-32 without a mark, for files with NUL bytes; detection. The name of the encoding is returned with the text.
"""

from __future__ import annotations

import codecs
import re
import unicodedata

__all__ = ["UndecodableError", "decode", "lacks_text", "tidy"]


class UndecodableError(ValueError):
    """The bytes are not text in any encoding that can be justified."""


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

    Raises `UndecodableError` if the bytes contain NULs that neither UTF-16 nor UTF-32 explains, or if no encoding
    fits.
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
    # A declared seven-bit encoding is tried first: its files are pure ASCII, so they would also decode as UTF-8.
    seven_bit = declared is not None and codecs.lookup(declared).name.startswith(("iso2022", "hz", "utf-7"))
    if not binary and not (seven_bit and data.isascii()):
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    if declared is not None:
        declared_text = _decode_strictly(data, declared)
        if declared_text is not None and "\0" not in declared_text:
            return declared_text, codecs.lookup(declared).name
    return _without_mark(data) if binary else _detect(data)


def _decode_strictly(data: bytes, encoding: str) -> str | None:
    """`data` decoded as `encoding`; None if that fails or gives text that cannot be encoded as UTF-8."""
    try:
        text = data.decode(encoding)
        text.encode("utf-8")  # some codecs, such as unicode_escape, produce lone surrogates
    except UnicodeError:
        return None
    return text


_SEPARATORS = frozenset(" \n\r\t.,;:!?\u3000\u3001\u3002\uff0c\uff01\uff1f\u060c\u06d4\u0964")
"""Characters that occur every few words in any text. With swapped bytes, none of them is in common use."""

_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f\ufffe\uffff]")

_SAMPLE = 4096


def _without_mark(data: bytes) -> tuple[str, str]:
    """Decode UTF-16 or UTF-32 without a byte-order mark, if exactly one interpretation looks like text."""
    candidates = []
    for encoding in ("utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"):
        text = _decode_strictly(data, encoding)
        if text is not None and _looks_like_text(text):
            candidates.append((text, encoding))
    if len(candidates) != 1:
        raise UndecodableError(_BINARY)
    return candidates[0]


def _looks_like_text(text: str) -> bool:
    if _CONTROLS.search(text):
        return False
    sample = text[:_SAMPLE]
    if any(unicodedata.category(character) in ("Cn", "Co") for character in sample):
        return False
    return sum(character in _SEPARATORS for character in sample) * 100 >= len(sample)


_COMMON_ENCODINGS = (
    *("cp1252", "iso8859_2", "cp1250", "cp1251", "koi8_r", "cp1253", "cp1254", "cp1255", "cp1256"),
    *("cp932", "euc_jp", "gb18030", "big5", "cp949", "mac_roman", "cp850", "cp437", "cp866", "iso8859_5"),
)
"""Encodings in order of how common they are. The order decides between those that the detector rates alike."""

_COHERENCE_MARGIN = 0.041
"""In tests with a dozen languages, the correct encoding was never less coherent than the best one by more than this."""

_C1 = re.compile(rb"[\x80-\x9f]")


def _detect(data: bytes) -> tuple[str, str]:
    # Imported here: most corpora are UTF-8, and importing the detector takes a large part of the start-up time.
    from charset_normalizer import from_bytes

    matches = list(from_bytes(data))
    if not matches:
        raise UndecodableError("binary file (no text encoding fits)")
    order = list(_COMMON_ENCODINGS)
    if _C1.search(data):
        order.remove("iso8859_2")  # these bytes are printable in Windows code pages, but control characters in ISO ones
    # Several encodings often fit equally well. ("chaos" is the detector's measure of disorder, "coherence" of
    # similarity to a language; both range from 0 to 1.) The most common one then wins over the one listed first.
    best = matches[0]
    for chaos in (0.01, 0.05):
        near = [
            match
            for match in matches
            if match.chaos <= best.chaos + chaos and match.coherence >= best.coherence - _COHERENCE_MARGIN
        ]
        for encoding in order:
            for match in near:
                if encoding in match.could_be_from_charset:
                    return str(match), encoding
    return str(best), best.encoding


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
