"""Readers turn the content of one file into documents: one module for each format.

To add a format, write a module with a class that fits `Reader`, and add one line to `READERS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from authorid.inputs.compression import split_suffix
from authorid.inputs.content import Content
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.delimited import CSV_READER, TSV_READER
from authorid.inputs.readers.html_page import HtmlReader
from authorid.inputs.readers.json_lines import JsonLinesReader
from authorid.inputs.readers.mail import MailboxReader, MailReader
from authorid.inputs.readers.parquet_table import ParquetTableReader
from authorid.inputs.readers.pdf import PdfReader
from authorid.inputs.readers.rich_text import RichTextReader
from authorid.inputs.readers.text import TextReader
from authorid.inputs.readers.xml_document import XmlReader
from authorid.inputs.readers.zipped import DOCX_READER, EPUB_READER, ODT_READER

__all__ = ["READERS", "Reader", "is_streamed", "reader_for"]


class Reader(Protocol):
    """Reads the files of one format."""

    @property
    def name(self) -> str:
        """The name of the format, in lower case."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of file names that this reader handles, in lower case and with the dot, such as ``.docx``."""

    @property
    def streams(self) -> bool:
        """Whether a file may be larger than a document: then it is read in pieces."""

    def recognises(self, head: bytes) -> bool:
        """Whether a content that begins with `head` is certainly of this format, whatever its name."""

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield every document in `content`; a failure for each that cannot be read.

        A file that holds one document keeps its `ref`. A file that holds several gives each a `member`, in an order
        that depends on the content alone. Raises `ValueError` if the file as a whole is not of this format, and
        `MissingExtraError` if a package is not installed; the message becomes the failure of the file. Packages that
        take long to import are imported here.
        """


DEFAULT_READER: Reader = TextReader()
"""Reads every file that no other reader handles."""

READERS: tuple[Reader, ...] = (
    DEFAULT_READER,
    JsonLinesReader(),
    CSV_READER,
    TSV_READER,
    ParquetTableReader(),
    PdfReader(),
    RichTextReader(),
    ODT_READER,
    EPUB_READER,
    DOCX_READER,
    XmlReader(),
    HtmlReader(),
    MailboxReader(),
    MailReader(),
)

_BY_SUFFIX = {suffix: reader for reader in READERS for suffix in reader.suffixes}


def reader_for(name: str, head: bytes = b"") -> Reader:
    """The reader for a content called `name` that begins with `head`: what it begins with counts more."""
    for reader in READERS:
        if reader.recognises(head):
            return reader
    return _by_suffix(name)


def is_streamed(path: str) -> bool:
    """Whether the file `path`, compressed or not, is to be read in pieces."""
    return _by_suffix(split_suffix(path)[0]).streams


def _by_suffix(name: str) -> Reader:
    return _BY_SUFFIX.get(os.path.splitext(name)[1].lower(), DEFAULT_READER)  # noqa: PTH122
