"""HTML: the text of a page, without scripts, styles and what surrounds the article."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authorid.inputs.content import Content
from authorid.inputs.decoding import decode
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished
from authorid.inputs.readers.markup import MarkupRules, MarkupText, html_text
from authorid.inputs.readers.sniffing import first_tag

__all__ = ["HTML_ROOTS", "HTML_RULES", "HtmlReader", "page_text"]

_BLOCKS = """
    address article blockquote br body caption center dd div dl dt figcaption figure h1 h2 h3 h4 h5 h6 hr li main ol p
    pre section table tbody td th thead tr ul
"""
_SKIPPED = """
    aside button footer form head header iframe map math menu nav noscript object script select style svg template
    textarea
"""
HTML_RULES = MarkupRules(blocks=frozenset(_BLOCKS.split()), skipped=frozenset(_SKIPPED.split()))

_CHARSET = re.compile(
    rb"<(?:meta[^>]{0,200}?charset|\?xml[^>]{0,100}?encoding)\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE
)

HTML_ROOTS = frozenset({"html", "!doctype html", "head", "body"})


class HtmlReader:
    """Reads HTML and XHTML with lxml."""

    name = "html"
    suffixes = (".html", ".htm", ".xhtml", ".xht")
    streams = False

    def recognises(self, head: bytes) -> bool:
        """Whether the first tag is one of a page, or many tags of one follow."""
        tag = first_tag(head)
        return tag is not None and (tag in HTML_ROOTS or (tag in HTML_RULES.blocks and _is_fragment(head)))

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if the content is not text."""
        text, encoding = page_text(content.data(options.max_bytes), options)
        yield finished(content.ref, text, encoding, content.sha256, self.name)


def page_text(data: bytes, options: ReadOptions) -> tuple[str, str]:
    """The text of a page and its encoding. Raises `ValueError`."""
    declared = _CHARSET.search(data, 0, 4096)
    source, encoding = decode(data, options.encoding or _known(declared[1].decode() if declared else None))
    return html_text(source, MarkupText(HTML_RULES, options.max_bytes)), encoding


def _known(name: str | None) -> str | None:
    """The name of an encoding, if Python has it."""
    try:
        if name is not None:
            "a".encode(name)
    except (LookupError, UnicodeError):
        return None
    return name


_CLOSING = re.compile(rb"</(\w{1,12})\s*>")


def _is_fragment(head: bytes) -> bool:
    """Whether elements of a page are closed again and again."""
    closed = [name for name in _CLOSING.findall(head) if name.lower().decode("ascii", "replace") in HTML_RULES.blocks]
    return len(closed) >= 2 and len(closed) * 4000 >= len(head)
