"""Detection: the encoding of text that is older than Unicode, and the type of files that are not text.

The library chardet compares the bytes with models of languages. This module chooses what it sees, and looks again when
its answer gives characters that no writer uses.
"""

from __future__ import annotations

import codecs
import re

from authorid.inputs.damage import decode_replacing

__all__ = ["detect", "file_type"]


def detect(data: bytes) -> tuple[str, str, int] | None:
    """The text of `data`, its encoding, and how many bytes were replaced; None if no encoding is likely.

    `data` is not UTF-8 and has no NUL bytes.
    """
    # The line break hides the beginning, which the detector compares with file types: "BMW" is not a bitmap.
    sample = b"\n" + _sample(data)
    encoding, confidence = _ask(sample)
    if confidence < _ASSURED:
        encoding, confidence = max((encoding, confidence), _damaged_east_asian(sample), key=lambda answer: answer[1])
    if encoding is None:
        return None
    encoding = _second_look(sample, encoding, confidence)
    if confidence <= _NOISE_CONFIDENCE and _is_noise(sample, encoding):
        return None
    # Control characters and gaps in the code page are signs of a binary file. Old texts may end with Ctrl-Z.
    limit = len(data) // _TEXT_PER_DAMAGE + 1
    reading = decode_replacing(data, encoding, limit)
    if reading is None or len(_CONTROLS.findall(reading[0].rstrip("\x1a")[:_LARGE])) > limit:
        return None
    return reading[0], codecs.lookup(encoding).name, reading[1]


def file_type(data: bytes) -> str | None:
    """The MIME type of a file that is not text, such as ``image/png``; None if it is text or of an unknown type."""
    if data.startswith(b"%PDF-"):
        return "application/pdf"
    import chardet

    head = data[:4096]
    answer = chardet.detect(head, max_bytes=len(head), exclude_encodings=_WIDE)
    mime_type = answer["mime_type"]
    return mime_type if answer["encoding"] is None and mime_type != "application/octet-stream" else None


def _ask(sample: bytes) -> tuple[str | None, float]:
    # Imported here: most corpora are UTF-8, and importing the detector takes longer than scoring a document.
    import chardet

    answer = chardet.detect(sample, max_bytes=len(sample), compat_names=False, exclude_encodings=_HARDLY_USED)
    return answer["encoding"], answer["confidence"]


_HARDLY_USED = ("iso8859-4", "iso8859-10", "iso8859-16")
"""Standards that ISO-8859-13, ISO-8859-15 and Unicode replaced soon; they must be declared."""


_WIDE = ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be")

_TEXT_PER_DAMAGE = 100

_CONTROLS = re.compile(r"[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x84\x86-\x9f]")

_LARGE = 16 * 1024
"""The detector's models of languages look at the beginning of a text, as far as this."""

_CONTEXT = 64

_NOT_ASCII = re.compile(rb"[\x80-\xff]+")


def _sample(data: bytes) -> bytes:
    """The beginning of large `data`, where markup declares an encoding, and the passages that are not ASCII."""
    if len(data) <= _LARGE:
        return data
    start, stop = 0, data.rfind(b"\n", 0, 1024) + 1
    parts: list[bytes] = []
    left = 2 * _LARGE
    for match in _NOT_ASCII.finditer(data, stop):
        begin = match.start() - _CONTEXT
        if begin > stop:
            parts.append(data[start:stop])
            left -= stop - start
            space = data.find(b" ", begin, match.start())
            start = match.start() if space < 0 else space + 1
        stop = match.end() + _CONTEXT
        if stop - start >= left:
            break
    return b"\n".join([*parts, data[start : min(stop, start + left)]])


_NOISE_CONFIDENCE = 0.1
"""The most that noise was rated at, in 20 to 5,000 random bytes of seven kinds; texts of 60 characters got 0.11."""


_SHORT = 50
"""Of so few bytes nobody can tell."""


def _is_noise(sample: bytes, encoding: str) -> bool:
    """True if `sample` is neither mostly ASCII nor free of oddities."""
    high = len(sample) - len(sample.translate(None, _HIGH))
    return len(sample) >= _SHORT and high * 8 > len(sample) and _is_odd(sample.decode(encoding, "replace"))


_ASSURED = 0.5
"""Undamaged text in the encodings of East Asia is rated at 0.85 and more, and at 0.25 at most with one wrong byte."""

_EAST_ASIAN = ("gb18030", "big5hkscs", "cp932", "euc_jis_2004", "cp949")


def _damaged_east_asian(sample: bytes) -> tuple[str | None, float]:
    """The encoding, and the confidence of the detector, when bytes that are wrong in that encoding are taken out."""
    best: tuple[str | None, float] = (None, 0.0)
    if len(sample.translate(None, _HIGH)) * 4 > len(sample) * 3:
        return best
    for encoding in _EAST_ASIAN:
        reading = decode_replacing(sample, encoding, limit=len(sample) // _EAST_ASIAN_PER_DAMAGE)
        if reading is not None and reading[1]:
            mended = reading[0].replace("\ufffd", "").encode(encoding, "ignore")
            found, confidence = _ask(mended)
            if found == encoding and confidence > best[1]:
                best = (encoding, confidence)
    return best


_HIGH = bytes(range(0x80, 0x100))

_EAST_ASIAN_PER_DAMAGE = 40

_SYMBOLS = (
    "\x80-\x9f\xa1-\xa7\xa9-\xac\xae\xb1\xb6\xba\xbc-\xbf\xd7\xf7\u02c6\u02dc\u03a9\u201a\u201e\u2020\u2021\u2030"
    "\u2202\u2206\u220f\u2211\u221a\u221e\u222b\u2248\u2260\u2264\u2265\u2500-\u259f\u25ca"
)
_ODD = re.compile(
    rf"(?<=[^\W\d_])[{_SYMBOLS}](?=[^\W\d_])|[\x80-\x84\x86-\x9f\ufffd]"
    "|[A-Za-z][\u0370-\u06ff]|[\u0370-\u06ff][A-Za-z]"
)
"""Symbols between two letters, two scripts in a word, and control characters: signs of a wrong encoding."""


def _is_odd(text: str) -> bool:
    high = len(text) - len(text.encode("ascii", "ignore"))
    return len(_ODD.findall(text)) * _TEXT_PER_DAMAGE > high


_DOS_SYMBOLS = re.compile("[\u2500-\u259f\u0370-\u03ff\u2200-\u22ff\u2320\u2321\u207f\u20a7\xa4]")

_DOS_LATIN = ("cp850", "cp437", "cp858", "cp860", "cp861", "cp863", "cp865")
"""Code pages of DOS for western languages, the commonest first. They share most letters."""


def _second_look(sample: bytes, encoding: str, confidence: float) -> str:
    """`encoding`, or another one that is about as likely and gives no symbols where letters belong."""
    import chardet

    text = sample.decode(encoding, "replace")
    if encoding in _DOS_LATIN and _DOS_SYMBOLS.search(text):
        order = (encoding, *_DOS_LATIN)
        return min(order, key=lambda other: len(_DOS_SYMBOLS.findall(sample.decode(other, "replace"))))
    if not _is_odd(text):
        return encoding
    for other in chardet.detect_all(
        sample, max_bytes=len(sample), compat_names=False, exclude_encodings=_HARDLY_USED, ignore_threshold=True
    ):
        name = other["encoding"]
        if name is not None and other["confidence"] >= confidence / 3:
            reading = decode_replacing(sample, name, limit=0)
            if reading is not None and not _ODD.search(reading[0]):
                return name
    return encoding
