"""Formats of results files: one module for each.

To add a format, write a module with a class that fits `Writer`, and add one line to `WRITERS`.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from authorid.errors import expect
from authorid.outputs.answers import Answers
from authorid.outputs.formats.csv_format import CsvWriter
from authorid.outputs.formats.jsonl_format import JsonlWriter
from authorid.outputs.formats.parquet_format import ParquetWriter
from authorid.outputs.formats.tsv_format import TsvWriter
from authorid.outputs.records import Attribution

__all__ = ["FORMATS", "WRITERS", "Writer", "format_for", "require_format"]


class Writer(Protocol):
    """Encodes the records of one results file, in order.

    The file is the bytes of `header`, of `row` for every record, and of `footer`. Where these bytes go, and how they
    are synced and published, is not the writer's business. The same records must always give the same bytes, because
    a resumed run encodes the records of the earlier one again.
    """

    name: ClassVar[str]
    """The name of the format, in lower case."""

    suffixes: ClassVar[tuple[str, ...]]
    """The endings of file names that stand for this format."""

    packages: ClassVar[tuple[str, ...]]
    """Packages that come with the extra of the format's name, and whose versions decide the bytes."""

    binary: ClassVar[bool]
    """Whether the bytes are no text."""

    def __init__(self, top: int, answers: Answers = ...) -> None:
        """Prepare a file whose rows rank the `top` likeliest of `answers`, if the format has room for them."""

    def header(self) -> bytes:
        """What precedes the first row; may be empty."""

    def row(self, record: Attribution) -> bytes:
        """One record. Empty if the writer collects several before it can encode them."""

    def footer(self) -> bytes:
        """What follows the last row; may be empty."""


WRITERS: tuple[type[Writer], ...] = (
    CsvWriter,
    TsvWriter,
    JsonlWriter,
    ParquetWriter,
)

FORMATS: dict[str, type[Writer]] = {writer.name: writer for writer in WRITERS}
"""The writers by the names of their formats."""


def require_format(form: str) -> None:
    """Raise `MissingExtraError` if a package that the format needs is not installed; imports none. Parts need none."""
    if form in FORMATS:
        expect(FORMATS[form].packages, form)


def format_for(out: str, wanted: str | None = None) -> str:
    """The format to write: `wanted`, or the one that the ending of the file `out` stands for, in any case.

    Raises `ValueError` if that is no ending of a format.
    """
    if wanted is not None:
        return wanted
    for writer in WRITERS:
        if out.lower().endswith(writer.suffixes):
            return writer.name
    known = ", ".join(suffix for writer in WRITERS for suffix in writer.suffixes)
    raise ValueError(f"{out}: no format has this ending; there are {known}, or choose one with --format")
