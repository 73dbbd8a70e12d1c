"""Documents that are ZIP archives of XML: Word, OpenDocument and EPUB."""

from __future__ import annotations

import io
import posixpath
import re
import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import unquote

from authorid.errors import require
from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished
from authorid.inputs.readers.html_page import page_text
from authorid.inputs.readers.markup import MarkupRules, MarkupText, xml_text

__all__ = ["DOCX_READER", "EPUB_READER", "ODT_READER", "ZippedReader"]

_MOST_PARTS = 10_000
"""Files in an archive; each takes at least `_ENTRY` bytes in its directory."""

_ENTRY = 46

_EXPANDED = 16
"""The parts that are read may have so many times `--max-bytes` when they are unpacked: most of them is markup."""

_CHAPTERS = 2000
_PIECE = 1 << 16

_DAMAGES = (KeyError, zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError)
"""What the standard library raises for a part that is missing, damaged, encrypted or compressed in a rare way."""


class _Parts:
    """The files in an archive, each within the bounds. Methods raise `ValueError`."""

    def __init__(self, data: bytes, max_bytes: int) -> None:
        _check_directory(data)
        try:
            self._archive = zipfile.ZipFile(io.BytesIO(data))
        except (zipfile.BadZipFile, NotImplementedError, OSError, struct.error) as error:
            raise ValueError(f"damaged ZIP archive ({error})") from None
        self._names = set(self._archive.namelist())
        self._left = self._most = _EXPANDED * max_bytes

    def __contains__(self, name: str) -> bool:
        return name in self._names

    def main(self, pattern: str) -> str | None:
        """The name of the first part that matches `pattern`; None if there is none."""
        return min((name for name in self._names if re.fullmatch(pattern, name)), default=None)

    def pieces(self, name: str) -> Iterator[bytes]:
        """Yield the content of the part `name`."""
        try:
            with self._archive.open(name) as stream:
                while piece := stream.read(_PIECE):
                    self._left -= len(piece)
                    if self._left < 0:
                        raise ValueError(f"unpacks to more than {self._most} bytes (see --max-bytes)")
                    yield piece
        except (
            KeyError,
            zipfile.BadZipFile,
            zlib.error,
            EOFError,
            OSError,
            RuntimeError,
            NotImplementedError,
        ) as error:
            raise ValueError(f"damaged or encrypted part {name!r} ({error})") from None

    def read(self, name: str, most: int) -> bytes:
        """The content of a part of at most `most` bytes."""
        found = bytearray()
        for piece in self.pieces(name):
            found += piece
            if len(found) > most:
                raise ValueError(f"the part {name!r} has more than {most} bytes")
        return bytes(found)


def _check_directory(data: bytes) -> None:
    """Raise `ValueError` if the directory of an archive is too large to be read into memory."""
    end = data.rfind(b"PK\5\6", max(0, len(data) - (1 << 16) - 22))
    if end < 0 or len(data) < end + 22:
        raise ValueError("damaged ZIP archive (its end is missing)")
    entries, size = struct.unpack_from("<HI", data, end + 10)
    if entries > _MOST_PARTS or size > _MOST_PARTS * 4 * _ENTRY or data[max(0, end - 20) : end].startswith(b"PK\6\7"):
        raise ValueError(f"a ZIP archive of more than {_MOST_PARTS} parts")


class ZippedReader:
    """Reads archives with a part whose name matches `main`; `extract` returns the text, given the archive and that."""

    streams = False

    def __init__(
        self,
        name: str,
        suffixes: tuple[str, ...],
        main: str,
        signs: tuple[bytes, ...],
        extract: Callable[[_Parts, str, ReadOptions], str],
    ) -> None:
        self.name = name
        self.suffixes = suffixes
        self._main = main
        self._signs = signs
        self._extract = extract

    def recognises(self, head: bytes) -> bool:
        """Whether this is an archive that begins like one of this format."""
        return head.startswith(b"PK\3\4") and any(sign in head for sign in self._signs)

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if this is not such an archive."""
        require("lxml.etree", "formats")
        if not content.head.startswith(b"PK"):
            raise ValueError(f"not a {self.suffixes[0]} file (it is no ZIP archive)")
        parts = _Parts(content.data(options.max_bytes), options.max_bytes)
        main = parts.main(self._main)
        if main is None:
            raise ValueError(f"not a {self.suffixes[0]} file (it has no part {self._main.replace(chr(92), '')})")
        yield finished(content.ref, self._extract(parts, main, options), "utf-8", content.sha256, self.name)


_DOCX_RULES = MarkupRules(
    blocks=frozenset({"p", "tr"}),
    skipped=frozenset({"del", "moveFrom", "Fallback", "instrText", "delText", "rPr", "pPr", "footnote", "endnote"}),
    inside=frozenset({"t"}),
    marks={"tab": "\t", "br": "\n", "cr": "\n", "noBreakHyphen": "-", "ptab": "\t"},
    verbatim=True,
)
_ODT_RULES = MarkupRules(
    blocks=frozenset({"p", "h", "table-cell"}),
    skipped=frozenset({"note", "annotation", "tracked-changes", "sequence-decls", "forms", "ruby-text", "meta"}),
    only="text",
    marks={"s": " ", "tab": " ", "line-break": "\n"},
)


def _docx_text(parts: _Parts, main: str, options: ReadOptions) -> str:
    return xml_text(parts.pieces(main), MarkupText(_DOCX_RULES, options.max_bytes))


def _odt_text(parts: _Parts, main: str, options: ReadOptions) -> str:
    return xml_text(parts.pieces(main), MarkupText(_ODT_RULES, options.max_bytes))


def _epub_text(parts: _Parts, main: str, options: ReadOptions) -> str:
    """The chapters in the order of reading."""
    container = _small_tree(parts, main)
    package_name = next((node.get("full-path") for node in _named(container, "rootfile")), None)
    if package_name is None:
        raise ValueError("not an .epub file (its container names no package)")
    package = _small_tree(parts, package_name)
    files = {
        node.get("id"): node.get("href", "")
        for node in _named(package, "item")
        if "nav" not in node.get("properties", "").split()
    }
    chapters = [files.get(node.get("idref")) for node in _named(package, "itemref") if node.get("linear") != "no"]
    if len(chapters) > _CHAPTERS:
        raise ValueError(f"more than {_CHAPTERS} chapters")
    texts: list[str] = []
    left = options.max_bytes
    for href in chapters:
        name = posixpath.normpath(posixpath.join(posixpath.dirname(package_name), unquote(href or "")))
        if href and name in parts:
            texts.append(page_text(parts.read(name, options.max_bytes), options)[0])
            left -= len(texts[-1])
            if left < 0:
                raise ValueError(f"more than {options.max_bytes} characters of text (see --max-bytes)")
    return "\n".join(texts)


_MOST_TREE = 1 << 22
"""Bytes of XML that becomes a tree."""


def _small_tree(parts: _Parts, name: str) -> Any:
    etree = require("lxml.etree", "formats")
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        return etree.fromstring(parts.read(name, _MOST_TREE), parser)
    except etree.LxmlError as error:
        raise ValueError(f"the part {name!r} is not well-formed ({error})") from None


def _named(tree: Any, name: str) -> Iterator[Any]:
    yield from tree.iter(f"{{*}}{name}")


DOCX_READER = ZippedReader(
    "docx", (".docx", ".docm"), r"word/document\d*.xml", (b"word/", b"[Content_Types].xml"), _docx_text
)
ODT_READER = ZippedReader(
    "odt", (".odt", ".ott"), "content.xml", (b"mimetypeapplication/vnd.oasis.opendocument.text",), _odt_text
)
EPUB_READER = ZippedReader("epub", (".epub",), "META-INF/container.xml", (b"mimetypeapplication/epub+zip",), _epub_text)
