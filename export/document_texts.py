"""Texts for INT8: documents to calibrate it on, and others to compare graphs on. Their labels are not needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np

from authorid.errors import CorpusError
from authorid.inputs.documents import Failure, ReadOptions
from authorid.inputs.reading import read_documents
from authorid.reporter import SILENT, Reporter

__all__ = ["DocumentTexts", "read_texts"]

_MOST_CHARACTERS = 1 << 26
"""Characters that are read at most: thousands of documents, in less than a minute."""

_HELD_OUT = 0.25
"""Share of the documents that graphs are compared on; the others are calibrated on."""


class DocumentTexts(NamedTuple):
    """The texts to calibrate on, and those to compare graphs on. `origin` names the latter in reports."""

    calibration: Sequence[str]
    verification: Sequence[str]
    origin: str


def read_texts(
    path: Path,
    options: ReadOptions,
    text_column: str | None = None,
    seed: int = 0,
    reporter: Reporter = SILENT,
) -> DocumentTexts:
    """Read the documents at `path`: a directory at any depth, a file, or a table with a column of texts.

    They are shuffled with `seed`. A document that cannot be read is left out, with a warning about all of them. Raises
    `CorpusError` when there is nothing to read.
    """
    if not path.exists():
        raise CorpusError(f"{path}: there is nothing at that path; name documents to calibrate INT8 on")
    texts: list[str] = []
    failures: list[str] = []
    characters = 0
    for item in read_documents([path], replace(options, text_column=text_column)):
        if isinstance(item, Failure):
            failures.append(f"{item.ref}: {item.reason}")
        else:
            texts.append(item.text)
            characters += len(texts[-1])
        if characters >= _MOST_CHARACTERS:
            reporter.info(f"{path}: the first {len(texts)} documents are used")
            break
    if not texts:
        reason = f" ({failures[0]})" if failures else ""
        raise CorpusError(f"{path}: no document that can be read{reason}; name documents to calibrate INT8 on")
    if failures:
        reporter.warning(f"{len(failures)} documents left out, the first is {failures[0]}")
    order = np.random.default_rng(seed).permutation(len(texts))
    held_out = int(len(texts) * _HELD_OUT)
    chosen = [texts[index] for index in order]
    if not held_out:  # so few that they have to serve for both
        return DocumentTexts(chosen, chosen, "calibration")
    return DocumentTexts(chosen[held_out:], chosen[:held_out], "held-out")
