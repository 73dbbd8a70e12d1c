"""Damage: text of which a few bytes are wrong, such as a character cut at the end of a file or a stray byte.

Each wrong byte becomes U+FFFD, the replacement character. The wrong bytes are counted, and the name of the encoding
gives their number.
"""

from __future__ import annotations

import codecs
import re
import threading

__all__ = ["decode_damaged_utf8", "decode_replacing", "name_with_damage"]


class _Wrong(threading.local):
    """The bytes that were wrong so far in the text that this thread decodes, and how many may be."""

    count = 0
    limit = 0


_wrong = _Wrong()


def _replace(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    size = error.end - error.start
    _wrong.count += size
    if _wrong.count > _wrong.limit:
        raise error
    return "\ufffd" * size, error.end


_HANDLER = "authorid.replace"
codecs.register_error(_HANDLER, _replace)


def decode_replacing(data: bytes, encoding: str, limit: int) -> tuple[str, int] | None:
    """`data` decoded as `encoding` with each wrong byte replaced by U+FFFD, and how many bytes were wrong.

    None if there are more than `limit`, or if the text cannot be encoded as UTF-8.
    """
    _wrong.count, _wrong.limit = 0, limit
    try:
        text = data.decode(encoding, _HANDLER)
        text.encode("utf-8")  # some codecs, such as utf-7, produce lone surrogates
    except UnicodeError:
        return None
    return text, _wrong.count


_LEADS_OF_TWO = bytes(range(0xC2, 0xE0))
_LEADS_OF_MORE = bytes(range(0xE0, 0xF5))

_LONG_WEIGHT = 3
"""Sequences of three bytes and more are far less often an accident than those of two."""

_VALID_PER_WRONG = 3
"""Passages of 20 letters and more in 60 other encodings had 2.0 at most for each byte not in a valid sequence."""

_CUT_SEQUENCE = re.compile(rb"[\x00-\x7f]+(?:[\xe2-\xef][\x80-\xbf]|\xf0[\x90-\xbf][\x80-\xbf]?)")
"""ASCII, and the beginning of a longer character at the very end."""

_ESCAPED = re.compile("[\udc80-\udcff]")


def decode_damaged_utf8(data: bytes) -> tuple[str, int] | None:
    """`data` as UTF-8 with wrong bytes replaced, and their number; None if `data` is more likely in another encoding.

    Letters of other encodings form a valid sequence of several bytes only by accident.
    """
    # All in C: the time must not depend on how much is wrong.
    text = data.decode("utf-8", "surrogateescape")
    valid = text.encode("utf-8", "ignore")
    wrong = len(data) - len(valid)
    evidence = _count(valid, _LEADS_OF_TWO) + _LONG_WEIGHT * _count(valid, _LEADS_OF_MORE)
    if evidence < _VALID_PER_WRONG * wrong and not _CUT_SEQUENCE.fullmatch(data):
        return None
    return _ESCAPED.sub("\ufffd", text), wrong


def _count(data: bytes, values: bytes) -> int:
    return len(data) - len(data.translate(None, values))


def name_with_damage(encoding: str, replaced: int) -> str:
    """The name of `encoding`, with the number of bytes that were replaced if there are any."""
    if not replaced:
        return encoding
    return f"{encoding} ({replaced} byte{'s' if replaced > 1 else ''} replaced)"
