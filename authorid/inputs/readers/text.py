"""Plain text: the whole file is one document."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from authorid.inputs.decoding import decode, lacks_text, tidy
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions

__all__ = ["TextReader"]


class TextReader:
    """Decodes plain text in any encoding that can be declared or detected."""

    name = "text"
    suffixes = (".txt",)

    def read(self, data: bytes, ref: DocumentRef, options: ReadOptions) -> Iterator[Document | Failure]:
        """Yield the one document. Raises `UndecodableError` if `data` is not text."""
        text, encoding = decode(data, options.encoding)
        text = tidy(text)
        lacking = lacks_text(text)
        if lacking is None:
            yield Document(ref, text, encoding, hashlib.sha256(data).hexdigest())
        else:
            yield Failure(ref, lacking)
