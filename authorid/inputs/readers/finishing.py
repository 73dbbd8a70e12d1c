"""What all readers do with a text at last."""

from __future__ import annotations

from authorid.inputs.decoding import lacks_text, tidy
from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.inputs.gutenberg import without_gutenberg

__all__ = ["GUTENBERG_NOTE", "finished"]

GUTENBERG_NOTE = " (without Project Gutenberg's licence)"
"""Follows the name of the reader when that was cut."""


def finished(ref: DocumentRef, text: str, encoding: str, sha256: str, reader: str) -> Document | Failure:
    """The document of `text`, in the form that the models get, or a failure if there is no letter or digit in it."""
    text, cut = without_gutenberg(tidy(text))
    lacking = lacks_text(text)
    if lacking is not None:
        return Failure(ref, lacking)
    return Document(ref, text, encoding, sha256, reader + GUTENBERG_NOTE if cut else reader)
