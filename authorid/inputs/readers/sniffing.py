"""What a content begins with: which tag, if it is markup."""

from __future__ import annotations

import codecs
import re

__all__ = ["first_tag"]

_WIDE = (
    *((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be")),
    *((b"<\0", "utf-16-le"), (b"\0<", "utf-16-be")),
)
_BEFORE = re.compile(
    rb"\s+|<\?[^>]{0,2000}\?>|<!--.{0,20000}?-->|<!DOCTYPE\s[^<>\[]{0,2000}(?:\[[^\]]{0,40000}\]\s*)?>",
    re.DOTALL | re.IGNORECASE,
)
"""What may come before the first element."""

_TAG = re.compile(rb"<((?:[A-Za-z][\w.-]{0,60}:)?[A-Za-z][\w.-]{0,60})(?=[\s/>])[^<]{0,20000}>")
_PAGE = re.compile(rb"<!DOCTYPE\s+html", re.IGNORECASE)


def first_tag(head: bytes) -> str | None:
    """The local name of the first element, in lower case, if a content that begins with `head` begins with a tag.

    ``!doctype html`` for a page that declares itself, and ``?xml`` where a declaration is all that can be seen.
    """
    head = _narrow(head)
    if head[:1] != b"<":
        return None
    position, declared = 0, False
    for _ in range(20):
        if _PAGE.match(head, position):
            return "!doctype html"
        match = _BEFORE.match(head, position)
        if match is None:
            break
        declared = declared or head.startswith(b"<?xml", position)
        position = match.end()
    tag = _TAG.match(head, position)
    if tag is None:
        return "?xml" if declared or head.startswith(b"<?xml") else None
    return tag[1].rpartition(b":")[2].decode("ascii", "replace").lower()


def _narrow(head: bytes) -> bytes:
    """`head` from its first character that is not white space, in an encoding that has ASCII."""
    if head[:1] == b"<" and head[1:2] != b"\0":
        return head
    for mark, encoding in _WIDE:
        if head.startswith(mark):
            head = head[: len(head) // 2 * 2].decode(encoding, "replace").encode("utf-8", "replace")
            break
    return head.removeprefix(codecs.BOM_UTF8).lstrip()
