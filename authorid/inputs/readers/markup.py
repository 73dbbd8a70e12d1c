"""Text from markup: one pass over the events of a parser, without a tree, so that memory and nesting are bounded."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from authorid.errors import first_line, require

__all__ = ["MarkupRules", "MarkupText", "html_text", "xml_text"]

_MOST_DEPTH = 1000
"""How deeply elements may be nested."""

_MOST_ELEMENTS = 3_000_000
"""A long novel has some hundred thousand in Word's format; a million take about two seconds."""

_PIECE = 1 << 16

_SPACES = re.compile(r"[ \t\r\n\f]+")
_RUNS = re.compile(r" {2,}")
_AROUND_BREAKS = re.compile(r" ?\n[ \n]*")


@dataclass(frozen=True, slots=True)
class MarkupRules:
    """How elements become text; names are local, without a namespace.

    `blocks` are paragraphs of their own. `skipped` are left out with all that is in them; `alternatives` are, too,
    directly in an element ``choice``. `inside` are the elements that hold the text, if not all do. Where an element
    `only` occurs, text elsewhere is left out. `marks` are elements that stand for characters. With `verbatim`, white
    space is kept as it is.
    """

    blocks: frozenset[str]
    skipped: frozenset[str] = frozenset()
    alternatives: frozenset[str] = frozenset()
    inside: frozenset[str] = frozenset()
    only: str | None = None
    marks: Mapping[str, str] = field(default_factory=dict)
    verbatim: bool = False


class MarkupText:
    """Collects the text of a document from the events of an lxml parser. Raises `ValueError` beyond a limit."""

    def __init__(self, rules: MarkupRules, most_characters: int) -> None:
        self.root = ""
        self._rules = rules
        self._most = most_characters
        self._depth = self._skipping = self._inside = 0
        self._choice = -1
        self._elements = 0
        self._parts: list[str] = []
        self._found = False
        self._size = 0

    def start(self, tag: str, attributes: Mapping[str, str]) -> None:
        """An element begins."""
        self._depth += 1
        self._elements += 1
        if self._depth > _MOST_DEPTH:
            raise ValueError(f"elements are nested more than {_MOST_DEPTH} deep")
        if self._elements > _MOST_ELEMENTS:
            raise ValueError(f"more than {_MOST_ELEMENTS} elements")
        name = tag.rpartition("}")[2]
        self.root = self.root or name
        in_choice = self._depth == self._choice + 1
        if self._skipping or name in self._rules.skipped or (in_choice and name in self._rules.alternatives):
            self._skipping += 1
            return
        if name == "choice":
            self._choice = self._depth
        if name == self._rules.only and not self._found:
            self._found = True
            self._parts.clear()
            self._inside = 0
        if name in self._rules.inside or name == self._rules.only:
            self._inside += 1
        if name in self._rules.marks:
            self._add(self._rules.marks[name] * _count(attributes))
        elif name in self._rules.blocks:
            self._parts.append("\n")

    def end(self, tag: str) -> None:
        """An element ends."""
        self._depth -= 1
        if self._skipping:
            self._skipping -= 1
            return
        name = tag.rpartition("}")[2]
        if name in self._rules.inside or name == self._rules.only:
            self._inside -= 1
        if name in self._rules.blocks:
            self._parts.append("\n")

    def data(self, text: str) -> None:
        """Characters."""
        if self._skipping or ((self._found or self._rules.inside) and self._inside <= 0):
            return
        self._add(text if self._rules.verbatim else _SPACES.sub(" ", text))

    def close(self) -> str:
        """The text; paragraphs are separated by an empty line."""
        text = "".join(self._parts)
        if self._rules.verbatim:
            return _paragraphs(text)
        return _AROUND_BREAKS.sub("\n\n", _RUNS.sub(" ", text)).strip() + "\n"

    def _add(self, text: str) -> None:
        self._parts.append(text)
        self._size += len(text)
        if self._size > self._most:
            raise ValueError(f"more than {self._most} characters of text (see --max-bytes)")


def _paragraphs(text: str) -> str:
    return re.sub(r"\n{2,}", "\n\n", text).strip("\n") + "\n"


def _count(attributes: Mapping[str, str]) -> int:
    """How often a mark is meant: OpenDocument counts spaces."""
    number = next((value for name, value in attributes.items() if name.rpartition("}")[2] == "c"), "1")
    return min(int(number), 100) if number.isdecimal() and len(number) < 9 else 1


def xml_text(pieces: Iterable[bytes], collector: MarkupText) -> str:
    """The text of an XML document. External entities are not loaded. Raises `ValueError` and `MissingExtraError`."""
    etree = require("lxml.etree", "formats")
    parser = etree.XMLParser(
        target=collector, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False, recover=False
    )
    return _fed(etree, parser, pieces, "not well-formed XML")


def html_text(text: str, collector: MarkupText) -> str:
    """The text of an HTML document. Raises `ValueError` and `MissingExtraError`."""
    etree = require("lxml.etree", "formats")
    parser = etree.HTMLParser(target=collector, encoding="utf-8", no_network=True, huge_tree=False)
    data = text.encode("utf-8", "replace")
    return _fed(etree, parser, (data[start : start + _PIECE] for start in range(0, len(data), _PIECE)), "not HTML")


def _fed(etree: Any, parser: Any, pieces: Iterable[bytes], problem: str) -> str:
    try:
        for piece in pieces:
            parser.feed(piece)
        text: str = parser.close()
    except etree.LxmlError as error:
        raise ValueError(f"{problem} ({first_line(error)})") from None
    return text
