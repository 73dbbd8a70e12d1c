"""What ``authorid score`` reads: the paths of its command line, and standard input."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from authorid.cli.options import usage_error
from authorid.errors import AuthoridError

if TYPE_CHECKING:
    from authorid.cli.interrupts import Interrupts
    from authorid.inputs.documents import Document, Failure, ReadOptions
    from authorid.outputs.records import Attribution
    from authorid.scoring.run_inputs import Recall

__all__ = ["checked_paths", "input_paths", "read_standard_input"]

_STANDARD_INPUT = "stdin"
"""Stands for standard input in the place of a file."""

_LIST = "-"
"""Stands for standard input on a command line."""


def checked_paths(paths: tuple[str, ...], stdin_text: bool, *, adapt: bool) -> tuple[str, ...]:
    """What to score. Raises a usage error when there is nothing, or too much."""
    if not stdin_text and not paths:
        raise click.UsageError("name files or directories to score, or pass --stdin-text")
    if stdin_text and (paths or adapt):
        other = "PATH" if paths else "--adapt"
        raise usage_error(f"one document comes from standard input: leave out {other}", "--stdin-text")
    return paths or (_LIST,)


def input_paths(paths: Iterable[str], interrupts: Interrupts) -> Iterator[str]:
    """The paths on the command line, with those listed on standard input where one of them is ``-``."""
    from authorid.inputs.path_lists import listed_paths

    # A signal may come before there is a run that it could stop.
    if interrupts.exit_code is not None:
        return
    for path in paths:
        if path == _LIST:
            yield from listed_paths(_standard_input("there is no list of paths to read"))
        else:
            yield path


def read_standard_input(options: ReadOptions, recall: Recall) -> Iterator[Document | Failure | Attribution]:
    """Yield the document on standard input, or several if it is a mailbox, for instance, through `recall`."""
    from authorid.inputs.discovery import DiscoveredFile
    from authorid.inputs.reading import read_stream

    stream = _standard_input("there is no document to read")
    yield from recall(DiscoveredFile(_STANDARD_INPUT), read_stream(stream, _STANDARD_INPUT, options))


def _standard_input(consequence: str) -> BinaryIO:
    """Raises `AuthoridError` when it is closed."""
    if sys.stdin is None:
        raise AuthoridError(f"standard input is closed: {consequence}")
    return sys.stdin.buffer
