"""E-mail: what its sender wrote, without quoted replies, forwarded messages and signatures."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

from authorid.errors import MissingExtraError
from authorid.inputs.content import Content
from authorid.inputs.decoding import decode
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished
from authorid.inputs.readers.html_page import page_text

if TYPE_CHECKING:
    from email.message import Message

__all__ = ["MailReader", "MailboxReader", "own_words"]

_MOST_PARTS, _MOST_NESTED = 1000, 100
"""Lines that may separate parts, in a message; parts that hold others."""

_MOST_BOUNDARIES = 20_000
_LONGEST_FIELD = 8192
"""Bytes of a field that describes a part."""

_NESTING = re.compile(rb"^content-type:[ \t]*(?:multipart|message)/", re.IGNORECASE | re.MULTILINE)
_PART = re.compile(rb"^content-(?:type|transfer-encoding|disposition):", re.IGNORECASE | re.MULTILINE)
_FIELD = re.compile(rb"^content-[a-z-]{1,40}:[^\n]*(?:\n[ \t][^\n]*)*", re.IGNORECASE | re.MULTILINE)

_FIELDS = re.compile(rb"(?:[!-9;-~]{1,80}:[^\n]*\n(?:[ \t][^\n]*\n)*)+\r?\n")
_SENT = re.compile(rb"^(?:message-id|mime-version|received):", re.IGNORECASE | re.MULTILINE)
_FROM = re.compile(rb"^from:", re.IGNORECASE | re.MULTILINE)
_FIRST_FIELD = re.compile(rb"[A-Za-z][A-Za-z-]{1,40}:")

_ENVELOPE = re.compile(rb"From \S{1,300}[^\n]{0,100}\d{4}[^\n]{0,20}\r?\n[A-Za-z][A-Za-z-]{0,40}:")


class MailReader:
    """Reads one message."""

    name = "mail"
    suffixes = (".eml",)
    streams = False

    def recognises(self, head: bytes) -> bool:
        """Whether this begins with the header of a message that was sent."""
        if not _FIRST_FIELD.match(head):
            return False
        fields = _FIELDS.match(head[:32768].replace(b"\r\n", b"\n"))
        return fields is not None and bool(_SENT.search(fields[0])) and bool(_FROM.search(fields[0]))

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if the message is beyond a limit."""
        yield _document(content.ref, content.data(options.max_bytes), content.sha256, options, self.name)


class MailboxReader:
    """Reads a mailbox (mbox): each message is a document, named by its number."""

    name = "mbox"
    suffixes = (".mbox", ".mbx")
    streams = True

    def recognises(self, head: bytes) -> bool:
        """Whether this begins with the line before a message, and a field of its header."""
        return _ENVELOPE.match(head) is not None

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the documents. Raises `ValueError` if this is no mailbox."""
        if not content.head.startswith(b"From "):
            raise ValueError("not a mailbox (it does not begin with 'From ')")
        for number, message in enumerate(_messages(content, options.max_bytes), start=1):
            ref = DocumentRef(content.ref.source, str(number))
            if message is None:
                yield Failure(ref, f"larger than {options.max_bytes} bytes (see --max-bytes)")
                continue
            try:
                yield _document(ref, message, hashlib.sha256(message).hexdigest(), options, self.name)
            except (ValueError, MissingExtraError) as error:
                yield Failure(ref, str(error))


def _messages(content: Content, max_bytes: int) -> Iterator[bytes | None]:
    """Yield the messages of a mailbox; None for one that is too large."""
    lines: list[bytes] = []
    size, blank = 0, False
    content.stream.readline(1 << 16)
    while line := content.stream.readline(1 << 16):
        if blank and line.startswith(b"From "):
            yield b"".join(lines) if size <= max_bytes else None
            lines, size = [], 0
        else:
            size += len(line)
            if size <= max_bytes:
                lines.append(line[1:] if line.startswith(b">From ") else line)
            else:
                lines = []
        blank = line in (b"\n", b"\r\n")
    yield b"".join(lines) if size <= max_bytes else None


def _document(ref: DocumentRef, data: bytes, sha256: str, options: ReadOptions, reader: str) -> Document | Failure:
    from email import message_from_bytes  # it takes long to import, and most files are no mail

    _check_bounds(data)
    try:
        message = message_from_bytes(data)
        text, encoding = _body(message, options)
    except (RecursionError, LookupError, IndexError, TypeError, AttributeError, AssertionError) as error:
        # What the standard library raises for headers that nobody meant.
        raise ValueError(f"a damaged message ({type(error).__name__})") from None
    if text is None:
        return Failure(ref, "no text in this message")
    return finished(ref, own_words(text), encoding, sha256, reader)


def _check_bounds(data: bytes) -> None:
    """Raise `ValueError` for a message that would take too long to be taken apart."""
    if sum(1 for _ in _NESTING.finditer(data)) > _MOST_NESTED:
        raise ValueError(f"more than {_MOST_NESTED} parts that hold other parts")
    if sum(1 for _ in _PART.finditer(data)) > 3 * _MOST_PARTS:
        raise ValueError(f"more than {_MOST_PARTS} parts")
    if data.count(b"\n--") > _MOST_BOUNDARIES:
        raise ValueError(f"more than {_MOST_BOUNDARIES} lines that may separate parts")
    if any(len(field[0]) > _LONGEST_FIELD for field in _FIELD.finditer(data)):
        raise ValueError(f"a field of more than {_LONGEST_FIELD} bytes")


def _body(message: Message, options: ReadOptions) -> tuple[str | None, str]:
    """The text of `message` and its encoding: plain text where there is any, otherwise HTML."""
    texts: dict[str, list[tuple[str, str]]] = {"text/plain": [], "text/html": []}
    waiting = [message]
    while waiting:
        part = waiting.pop()
        kind = part.get_content_type()
        payload = part.get_payload()
        if isinstance(payload, list):
            if not kind.startswith("message/"):  # what was forwarded is somebody else's
                waiting += [child for child in payload[::-1] if not isinstance(child, str)]
        elif kind in texts and part.get_content_disposition() != "attachment":
            data = part.get_payload(decode=True)
            if isinstance(data, bytes) and data.strip():
                texts[kind].append(_part_text(part, data, kind, options))
    found = texts["text/plain"] or texts["text/html"]
    return "\n\n".join(text for text, _ in found) if found else None, found[0][1] if found else ""


def _part_text(part: Message, data: bytes, kind: str, options: ReadOptions) -> tuple[str, str]:
    charset = part.get_content_charset()
    try:
        "a".encode(charset or "ascii")
    except (LookupError, UnicodeError):
        charset = None
    if kind == "text/html":
        return page_text(data, options)
    text, encoding = decode(data, charset or options.encoding)
    if str(part.get_param("format", "")).lower() == "flowed":
        text = re.sub(r"(?<=[^\s-]) \r?\n(?!>|\s)", " ", text)
    return text, encoding


_REPLY = re.compile(
    r"^[ \t]*(?:-{2,}[ \t]*(?:original message|forwarded message|forwarded by|urspr\u00fcngliche nachricht"
    r"|weitergeleitete|message d'origine|mensaje original|messaggio originale)|begin forwarded message:|_{20,}[ \t]*$)"
    r"|^(?:from|von|de|da|van):[^\n]*\n(?:[^\n]*\n){0,2}"
    r"(?:sent|date|to|gesendet|datum|an|envoy\u00e9|enviado|inviato|verzonden):",
    re.IGNORECASE | re.MULTILINE,
)
"""With which a message begins that was quoted or forwarded as a whole."""

_SIGNATURE = re.compile(r"^--[ \t]?$", re.MULTILINE)
_QUOTED = re.compile(r"[ \t]*\w{0,3}>")
_WROTE = re.compile(r"\b(?:wrote|writes|schrieb|\u00e9crit|escribi\u00f3|ha scritto|schreef|skrev)\b", re.IGNORECASE)
_LONGEST_ATTRIBUTION = 300
"""Characters of a line that says who wrote what is quoted."""


def own_words(text: str) -> str:
    """`text` of a message without what others wrote, and without the signature."""
    text = text.replace("\r\n", "\n")
    for mark in (_REPLY, _SIGNATURE):
        found = mark.search(text)
        if found is not None and text[: found.start()].strip():
            text = text[: found.start()]
    kept: list[str] = []
    before_quote = True  # at the end, too: what follows may have been cut already
    lines = text.split("\n")
    for number in range(len(lines) - 1, -1, -1):
        line = lines[number]
        if _QUOTED.match(line):
            before_quote = True
        elif before_quote and _is_attribution(line, lines[number - 1] if number else ""):
            lines[number - 1 if number and not _WROTE.search(line) else number] = ""
            before_quote = False
        else:
            before_quote = before_quote and not line.strip()
            kept.append(line)
    return "\n".join(reversed(kept))


def _is_attribution(line: str, previous: str) -> bool:
    """Whether `line` says who wrote what follows; it may have begun in the `previous` one."""
    line = line.rstrip()
    if not line.endswith(":") or len(line) > _LONGEST_ATTRIBUTION:
        return False
    return _WROTE.search(line) is not None or (
        len(previous) <= _LONGEST_ATTRIBUTION and _WROTE.search(previous) is not None
    )
