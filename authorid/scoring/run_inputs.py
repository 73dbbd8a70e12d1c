"""What a run scores: files, texts in memory; with folded typography where the model wants it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import replace

from authorid.errors import first_line
from authorid.inputs.decoding import lacks_text, tidy
from authorid.inputs.discovery import DiscoveredFile, InputPath, walk
from authorid.inputs.documents import Document, DocumentRef, Failure, ReadOptions
from authorid.inputs.reading import read_file
from authorid.inputs.timeouts import Timeout
from authorid.inputs.typography import fold_typography
from authorid.scoring.attribution import Attribution
from authorid.scoring.scheduler import Inputs

__all__ = ["Recall", "folded", "read_files", "read_texts", "refuse_single_path", "refuse_single_text"]

Recall = Callable[[DiscoveredFile, Iterator[Document | Failure]], Iterator[Document | Failure | Attribution]]
"""Yields the documents of a file, and in the place of some the record that an earlier run made of it."""


def read_files(paths: Iterable[InputPath], options: ReadOptions, recall: Recall | None) -> Inputs:
    """The documents of the files in `paths`, and the rows that `recall` knows; see `Scorer.score`."""
    with Timeout(options.timeout) as timeout:
        for file in walk(paths, options, timeout):
            items = read_file(file, options, timeout)
            yield from items if recall is None else recall(file, items)


def read_texts(texts: Iterable[object]) -> Inputs:
    """The items of `texts` as documents that are named by their positions: ``"0"``, ``"1"``, ..."""
    return (_text_document(str(index), text) for index, text in enumerate(texts))


def _text_document(name: str, item: object) -> Document | Failure:
    ref = DocumentRef(name)
    try:
        # Iterating over an array of pyarrow gives objects that hold the text.
        text = item.as_py() if hasattr(item, "as_py") else item
    except Exception as error:  # such as for bytes that are not UTF-8
        return Failure(ref, f"not a text: {first_line(error)}")
    if not isinstance(text, str):
        return Failure(ref, f"not a text: {type(text).__name__} instead of str")
    tidied = tidy(text)
    lacking = lacks_text(tidied)
    return Document(ref, tidied, "unicode", "") if lacking is None else Failure(ref, lacking)


def folded(inputs: Inputs) -> Inputs:
    """The `inputs`, with folded typography in the texts."""
    with closing(inputs):
        for item in inputs:
            if not isinstance(item, Document):
                yield item
                continue
            text = fold_typography(item.text)
            if text.strip():
                yield item if text is item.text else replace(item, text=text)
            else:
                yield Failure(item.ref, "no text (only white space)")


def refuse_single_path(paths: object, method: str) -> None:
    """Raise `TypeError` when `paths` is one path, whose letters would be taken for paths."""
    if isinstance(paths, str | bytes | os.PathLike):
        raise TypeError(f"paths is a single path: write {method}([{paths!r}])")


def refuse_single_text(texts: object, method: str) -> None:
    """Raise `TypeError` when `texts` is one text, or a path."""
    if isinstance(texts, str | bytes | os.PathLike):
        raise TypeError(f"texts is a single text: write {method}([text]), or score([path]) for a file")
