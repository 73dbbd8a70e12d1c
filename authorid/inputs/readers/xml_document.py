"""TEI and other XML. Of TEI only the body is text: no header, front matter, notes or running heads."""

from __future__ import annotations

import re
from collections.abc import Iterator

from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished
from authorid.inputs.readers.html_page import HTML_ROOTS, HTML_RULES
from authorid.inputs.readers.markup import MarkupRules, MarkupText, xml_text
from authorid.inputs.readers.sniffing import first_tag

__all__ = ["XmlReader"]

_TEI_ROOTS = frozenset({"tei", "tei.2", "teicorpus", "teicorpus.2", "teiheader"})

_BLOCKS = """
    ab argument byline cell chapter closer div0 div1 div2 div3 div4 div5 div6 div7 epigraph group head item l lg list
    opener para postscript row salute section signed sp speaker stage stanza subtitle text title trailer v verse
"""
_SKIPPED = """
    teiHeader front back note noteGrp fw figDesc del gap
    binary description info bookinfo articleinfo metadata script style footnote indexterm
"""
"""Of TEI, then of FictionBook, DocBook and others."""

_RULES = MarkupRules(
    blocks=HTML_RULES.blocks | frozenset(_BLOCKS.split()),
    skipped=frozenset(_SKIPPED.split()),
    alternatives=frozenset({"sic", "orig", "abbr"}),
    only="body",
    marks={"lb": " ", "pb": " ", "milestone": " ", "cb": " "},
)

_ENCODING = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})")


class XmlReader:
    """Reads XML with lxml; entities that are defined elsewhere are not loaded."""

    name = "xml"
    suffixes = (".xml", ".tei", ".fb2")
    streams = False

    def recognises(self, head: bytes) -> bool:
        """Whether the first tag is one of TEI, or there is a declaration of XML."""
        tag = first_tag(head)
        if tag is None or tag in HTML_ROOTS:
            return False
        return tag in _TEI_ROOTS or head.lstrip(b"\xef\xbb\xbf \r\n\t").startswith(b"<?xml") or tag == "?xml"

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if the content is not well-formed XML."""
        data = content.data(options.max_bytes)
        collector = MarkupText(_RULES, options.max_bytes)
        text = xml_text((data[start : start + (1 << 16)] for start in range(0, len(data), 1 << 16)), collector)
        declared = _ENCODING.search(data, 0, 1024)
        encoding = declared[1].decode("ascii").lower() if declared else "utf-8"
        name = "tei" if collector.root.lower() in _TEI_ROOTS else self.name
        yield finished(content.ref, text, encoding, content.sha256, name)
