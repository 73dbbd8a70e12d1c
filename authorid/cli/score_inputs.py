"""What ``authorid score`` reads: the paths of its command line, and standard input."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, BinaryIO

import click

from authorid.cli.exit_codes import EXIT_USAGE
from authorid.cli.options import usage_error
from authorid.errors import AuthoridError

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.cli.interrupts import Interrupts
    from authorid.inputs.documents import Document, Failure, ReadOptions
    from authorid.outputs.records import Attribution
    from authorid.scoring.run_inputs import Recall

__all__ = ["checked_paths", "countable", "input_paths", "no_documents", "read_standard_input", "require_any"]

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
    from authorid.inputs.urls import local_path

    return tuple(map(local_path, paths)) or (_LIST,)


def require_any(paths: tuple[str, ...], options: ReadOptions, terminal: Terminal) -> None:
    """End the command, with one line, when none of the `paths` exists; where some do, the others are failed rows."""
    from authorid.inputs.timeouts import Timeout
    from authorid.inputs.urls import is_url, shown_path

    urls = [path for path in paths if is_url(path)]
    local = [path for path in paths if not is_url(path)]
    with Timeout(options.timeout) as timeout:
        try:
            if _LIST in paths or timeout.call(lambda: any(map(os.path.lexists, local))):
                return
        except (OSError, ValueError):
            return  # a file system that does not respond: the rows say so
    problem: str | None = "no such file or directory"
    if urls:
        from authorid.inputs.url_walk import problem_at

        for url in urls:
            if (problem := problem_at(url, options)) is None:
                return
    terminal.error(f"{', '.join(map(shown_path, paths[:3]))}{', ...' if len(paths) > 3 else ''}: {problem}")
    raise click.exceptions.Exit(EXIT_USAGE)


def countable(paths: tuple[str, ...], stdin_text: bool) -> tuple[str, ...] | None:
    """The `paths` whose files can be counted beforehand; None if they come from standard input or a store."""
    from authorid.inputs.urls import is_url

    return None if stdin_text or _LIST in paths or any(map(is_url, paths)) else paths


def no_documents(paths: tuple[str, ...], options: ReadOptions) -> str:
    """What was looked for where no document was found."""
    from authorid.inputs.urls import shown_path

    wanted = ["files"]
    if options.include:
        wanted.append(f"that match {' or '.join(options.include)}")
    if options.exclude:
        wanted.append(f"that do not match {' or '.join(options.exclude)}")
    if not options.hidden:
        wanted.append("that are not hidden (--hidden)")
    first, *rest = wanted
    where = (
        "the list" if _LIST in paths else ", ".join(map(shown_path, paths[:3])) + (", ..." if len(paths) > 3 else "")
    )
    return f"no documents found: {where} has no {first}{' ' if rest else ''}{', '.join(rest)}"


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
