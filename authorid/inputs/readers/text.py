"""Plain text: the whole file is one document."""

from __future__ import annotations

from collections.abc import Iterator

from authorid.inputs.content import Content
from authorid.inputs.decoding import decode
from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers.finishing import finished

__all__ = ["TextReader"]


class TextReader:
    """Decodes plain text in any encoding that can be declared or detected."""

    name = "text"
    suffixes = (".txt",)
    streams = False

    def recognises(self, head: bytes) -> bool:
        """False: text is what no other reader recognises."""
        return False

    def read(self, content: Content, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `UndecodableError` if the content is not text."""
        text, encoding = decode(content.data(options.max_bytes), options.encoding)
        yield finished(content.ref, text, encoding, content.sha256, self.name)
