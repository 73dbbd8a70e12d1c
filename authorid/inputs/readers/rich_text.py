"""RTF: the text of the document, without headers, footers, notes, deleted text and hidden tables."""

from __future__ import annotations

import codecs
import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished

__all__ = ["RichTextReader"]

_MOST_DEPTH = 1000
"""How deeply groups may be nested."""

_MOST_TOKENS = 3_000_000
"""Control words, groups and runs of text: a novel has some ten thousand, and a million take about a second."""

_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?[0-9]{1,10})? ?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z])|([{}])|[\r\n\0]+|([^\\{}\r\n\0]+)|\\"
)
_LEFT_OUT = frozenset(
    b"""
    annotation atnauthor atndate atnid atrfend atrfstart author background colorschememapping colortbl comment
    company creatim datafield datastore do docvar falt file filetbl fldinst fonttbl footer footerf footerl footerr
    footnote ftncn ftnsep ftnsepc generator header headerf headerl headerr info keywords latentstyles
    listoverridetable listtable mmathPr nonshppict objdata operator panose pgptbl pict pntext pntxta pntxtb printim
    private revtbl revtim rsidtbl shpinst stylesheet subject tc template themedata title txe userprops wgrffmtfilter
    xe xmlnstbl
    """.split()
)
_WRITTEN = {
    **{b"par": "\n\n", b"line": "\n", b"sect": "\n\n", b"page": "\n\n", b"row": "\n", b"cell": "\t", b"tab": "\t"},
    **{
        b"emdash": "\u2014",
        b"endash": "\u2013",
        b"bullet": "\u2022",
        b"emspace": " ",
        b"enspace": " ",
        b"qmspace": " ",
    },
    **{b"lquote": "\u2018", b"rquote": "\u2019", b"ldblquote": "\u201c", b"rdblquote": "\u201d"},
    **{b"~": "\u00a0", b"_": "-", b"{": "{", b"}": "}", b"\\": "\\", b"\n": "\n\n", b"\r": "\n\n"},
}
_CHARSETS = {77: "mac_roman", 128: "cp932", 129: "cp949", 134: "gbk", 136: "big5", 161: "cp1253", 162: "cp1254"} | {
    **{163: "cp1258", 177: "cp1255", 178: "cp1256", 186: "cp1257", 204: "cp1251", 222: "cp874", 238: "cp1250"}
}


@dataclass(frozen=True, slots=True)
class _Group:
    """What holds in a group: whether its text is shown, the code page, and the characters that follow a Unicode one."""

    shown: bool = True
    encoding: str = "cp1252"
    substitutes: int = 1


class RichTextReader:
    """Reads RTF."""

    name = "rtf"
    suffixes = (".rtf",)
    streams = False

    def recognises(self, head: bytes) -> bool:
        """Whether this begins as RTF does."""
        return head.startswith(b"{\\rtf")

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if it is no RTF, or beyond a limit."""
        data = content.data(options.max_bytes)
        if not data.lstrip().startswith(b"{\\rtf"):
            raise ValueError("not an .rtf file")
        parser = _RichText()
        yield finished(content.ref, parser.text(data), parser.base, content.sha256, self.name)


class _RichText:
    """Turns RTF into text, token by token."""

    def __init__(self) -> None:
        self.base = "cp1252"
        self._stack: list[_Group] = []
        self._group = _Group()
        self._parts: list[str] = []
        self._bytes = bytearray()
        self._skip = 0
        self._fonts: dict[int, str] = {}
        self._font = -1

    def text(self, data: bytes) -> str:
        """The text of `data`. Raises `ValueError`."""
        position = count = 0
        while match := _TOKEN.match(data, position):
            position = match.end()
            count += 1
            if count > _MOST_TOKENS:
                raise ValueError(f"more than {_MOST_TOKENS} control words and groups")
            word, number, byte, symbol, brace, plain = match.groups()
            if word == b"bin":
                position += max(0, int(number or 0))
            elif word:
                self._word(word, None if number is None else int(number))
            elif byte:
                self._raw(bytes.fromhex(byte.decode()))
            elif symbol:
                self._symbol(symbol)
            elif plain:
                self._raw(plain)
            elif brace:
                self._brace(brace)
                if not self._stack:
                    break
        self._flush()
        text = "".join(self._parts)
        # Characters beyond the first 65,536 are written as two numbers.
        return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")

    def _brace(self, brace: bytes) -> None:
        self._flush()
        self._skip = 0
        if brace == b"{":
            if len(self._stack) >= _MOST_DEPTH:
                raise ValueError(f"groups are nested more than {_MOST_DEPTH} deep")
            self._stack.append(self._group)
        elif self._stack:
            self._group = self._stack.pop()

    def _symbol(self, symbol: bytes) -> None:
        if symbol == b"*":
            self._group = replace(self._group, shown=False)
        elif symbol in _WRITTEN:
            self._show(_WRITTEN[symbol])

    def _word(self, word: bytes, number: int | None) -> None:
        if word == b"u" and number is not None:
            self._flush()
            self._show(chr(number & 0xFFFF))
            self._skip = self._group.substitutes
            return
        self._flush()
        if word in _WRITTEN:
            self._show(_WRITTEN[word])
        elif word == b"uc":
            self._group = replace(self._group, substitutes=max(0, min(number or 0, 99)))
        elif word in _LEFT_OUT or (word in (b"deleted", b"v") and number != 0):
            self._group = replace(self._group, shown=False)
        elif word in (b"deleted", b"v"):
            self._group = replace(self._group, shown=True)
        elif word == b"ansicpg":
            self.base = _codec(f"cp{number}", self.base)
            self._group = replace(self._group, encoding=self.base)
        elif word == b"mac":
            self.base = "mac_roman"
            self._group = replace(self._group, encoding=self.base)
        elif word == b"f" and number is not None:
            self._font = number
            self._group = replace(self._group, encoding=self._fonts.get(number, self.base))
        elif word == b"fcharset" and number in _CHARSETS and len(self._fonts) < 10_000:
            self._fonts[self._font] = _CHARSETS[number]

    def _raw(self, data: bytes) -> None:
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        if self._group.shown:
            self._bytes += data

    def _show(self, text: str) -> None:
        self._flush()
        if self._group.shown:
            self._parts.append(text)

    def _flush(self) -> None:
        if self._bytes:
            self._parts.append(self._bytes.decode(self._group.encoding, "replace"))
            self._bytes.clear()


def _codec(name: str, default: str) -> str:
    try:
        return codecs.lookup(name).name
    except (LookupError, ValueError):
        return default
