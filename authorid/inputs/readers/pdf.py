"""PDF: the text of the pages, with words and paragraphs that lines have cut joined again."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

from authorid.errors import expect
from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers import pdf_process
from authorid.inputs.readers.finishing import finished

__all__ = ["PdfReader", "joined_pages"]

_MOST_PAGES = 20_000
_SECONDS = 60
_MEMORY = 2 << 30


class PdfReader:
    """Reads PDF with PDFium, in a process of its own."""

    name = "pdf"
    suffixes = (".pdf",)
    streams = False

    def recognises(self, head: bytes) -> bool:
        """Whether this begins as a PDF does."""
        return b"%PDF-" in head[:1024] and head[:1024].lstrip()[:5] == b"%PDF-"

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `ValueError` if it is no PDF, or beyond a limit."""
        expect(["pypdfium2"], "formats")
        pages = _pages(content.data(options.max_bytes), options.max_bytes)
        text = joined_pages(pages)
        if not text.strip():
            yield Failure(content.ref, "no text (its pages are images: recognise their text first)")
        else:
            yield finished(content.ref, text, "utf-8", content.sha256, self.name)


def _pages(data: bytes, max_bytes: int) -> list[str]:
    limits = [str(number) for number in (max_bytes, _MOST_PAGES, _SECONDS, _MEMORY)]
    command = [sys.executable, "-P", str(Path(pdf_process.__file__)), *limits]
    try:
        # In a session of its own: Ctrl-C ends the run in order, and this document is still read.
        done = subprocess.run(command, input=data, capture_output=True, timeout=2 * _SECONDS, start_new_session=True)
    except subprocess.TimeoutExpired:
        raise ValueError(f"a PDF that is not read within {2 * _SECONDS} s") from None
    if done.returncode < 0:
        raise ValueError(f"a PDF that takes more than {_SECONDS} s, or that PDFium breaks off at")
    if done.returncode:
        message = (done.stderr.decode("utf-8", "replace").strip().splitlines() or [""])[-1]
        if message in ("", "MemoryError"):
            message = f"a PDF that takes more than {_MEMORY >> 20} MB of memory"
        raise ValueError(message)
    return done.stdout.decode("utf-8", "replace").split("\f")[:-1]


_EDGE = 2
"""Lines at the top and the bottom of a page that may be running heads."""

_NUMBERS = re.compile(r"\b(?:\d+|[ivxlc]+)\b", re.IGNORECASE)
_PAGE_NUMBER = re.compile(
    r"[\W_]*(?:page|p\.|seite|s\.)?[\W_]*(?:\d{1,5}|[ivxl]{1,6})(?:[\W_]*(?:of|von|/)[\W_]*\d{1,5})?[\W_]*",
    re.IGNORECASE,
)
_HYPHENS = "-\u00ad\u2010\ufffe\u0002"
_CONTROLS = re.compile(r"[\x00-\x08\x0b\x0e-\x1f\ufffe\uffff]")
_FULL = 0.75
"""A line that is shorter than this share of a usual one ends a paragraph, if a sentence ends with it."""


def joined_pages(pages: Sequence[str]) -> str:
    """The text of `pages` in paragraphs, without page numbers and running heads."""
    split = [[line.strip() for line in page.splitlines() if line.strip()] for page in pages]
    lines = [line for page in _without_heads(split) for line in page]
    if not lines:
        return ""
    lengths = sorted(map(len, lines))
    full = _FULL * lengths[len(lengths) * 8 // 10]
    hyphenated = set(re.findall(r"\w+-\w+", "\n".join(lines)))
    parts: list[str] = []
    for line, following in zip(lines, [*lines[1:], ""], strict=True):
        if line[-1] in _HYPHENS and following[:1].islower():
            start, rest = re.split(r"[\W_]", line[:-1])[-1], re.split(r"[\W_]", following)[0]
            keep = line[-1] == "-" and (f"{start}-{rest}" in hyphenated or not start)
            parts.append(line if keep else line[:-1])
        elif len(line) < full and line[-1] in ".!?:\"'\u201d\u2019\u00bb)*":
            parts.append(line + "\n\n")
        else:
            parts.append(line + " ")
    return _CONTROLS.sub("", "".join(parts)).strip() + "\n"


def _without_heads(pages: list[list[str]]) -> list[list[str]]:
    """The lines of `pages`, without page numbers and what is the same at the edge of many pages."""
    edges = Counter(line for page in pages for line in {_pattern(line) for line in page[:_EDGE] + page[-_EDGE:]})
    often = max(3, len(pages) // 4)

    def is_head(line: str) -> bool:
        return edges[_pattern(line)] >= often or _PAGE_NUMBER.fullmatch(line) is not None

    kept = []
    for page in pages:
        start, stop = 0, len(page)
        while start < min(_EDGE, stop) and is_head(page[start]):
            start += 1
        while stop > max(start, len(page) - _EDGE) and is_head(page[stop - 1]):
            stop -= 1
        kept.append(page[start:stop])
    return kept


def _pattern(line: str) -> str:
    """`line` without its numbers: those of pages and chapters differ."""
    return _NUMBERS.sub("#", line) if len(line) < 200 else line
