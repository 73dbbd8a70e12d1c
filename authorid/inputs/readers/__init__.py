"""Readers turn the bytes of one file into documents: one module for each format.

To add a format, write a module with a class that fits `Reader`, and add one line to `READERS`.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Protocol

from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.readers.text import TextReader

__all__ = ["READERS", "Reader", "reader_for"]


class Reader(Protocol):
    """Reads the files of one format."""

    @property
    def name(self) -> str:
        """The name of the format, in lower case."""

    @property
    def suffixes(self) -> tuple[str, ...]:
        """The endings of file names that this reader handles, in lower case and with the dot, such as ``.docx``."""

    def read(self, data: bytes, ref: DocumentRef, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield every document in `data`, the content of the file `ref`; a failure for each that cannot be read.

        A file that holds one document keeps its `ref`. A file that holds several gives each a `member`, in an order
        that depends on the content alone. Raises `ValueError` if the file as a whole is not of this format; the
        message becomes the failure of the file. Packages that take long to import are imported here.
        """


DEFAULT_READER: Reader = TextReader()
"""Reads every file whose suffix no other reader handles."""

READERS: tuple[Reader, ...] = (DEFAULT_READER,)

_BY_SUFFIX = {suffix: reader for reader in READERS for suffix in reader.suffixes}


def reader_for(path: str) -> Reader:
    """The reader for the file `path`, chosen by its suffix."""
    return _BY_SUFFIX.get(os.path.splitext(path)[1].lower(), DEFAULT_READER)  # noqa: PTH122
