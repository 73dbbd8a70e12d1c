"""The command line: parses, calls the library, renders. Exit codes are promises:

0 all done; 1 nothing could be done; 2 wrong usage; 3 done, but some documents failed; 130 interrupted.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from authorid.console import Screen

app = typer.Typer(
    name="authorid",
    help="Who wrote this? Authorship attribution for whole directories, on ordinary CPUs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

EXIT_FATAL, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 3, 130


class Format(StrEnum):
    """Formats of a results file."""

    csv = "csv"
    jsonl = "jsonl"


class PrecisionChoice(StrEnum):
    """Precisions a graph may have; auto is the fastest that the bundle holds."""

    auto = "auto"
    int8 = "int8"
    fp32 = "fp32"


def main() -> None:
    """Entry point of the ``authorid`` command."""
    from authorid.errors import AuthoridError

    try:
        app()
    except AuthoridError as error:
        from authorid.console import Screen

        Screen().complain(f"error: {error}")
        sys.exit(EXIT_FATAL)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; close standard output so that its flush at exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FATAL)


def _version(wanted: bool) -> None:
    if wanted:
        from authorid import __version__

        typer.echo(f"authorid {__version__}")
        raise typer.Exit


@app.callback()
def _authorid(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def score(
    paths: Annotated[
        list[str], typer.Argument(metavar="PATH...", help="Files, directories, or - for a list of paths on stdin.")
    ],
    out: Annotated[
        str | None, typer.Option("--out", "-o", metavar="FILE", help="Where to write the results; - is stdout.")
    ] = None,
    model: Annotated[
        Path | None, typer.Option("--model", "-m", metavar="BUNDLE", help="Model to use instead of the embedded one.")
    ] = None,
    form: Annotated[
        Format | None, typer.Option("--format", "-f", help="Format of the results; by default, from FILE's ending.")
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many authors a JSONL row ranks.")] = 5,
    evidence: Annotated[bool, typer.Option("--evidence", help="Add per-window probabilities to JSONL rows.")] = False,
    stats: Annotated[
        Path | None, typer.Option("--stats", metavar="FILE", help="Write the run's statistics as JSON.")
    ] = None,
    precision: Annotated[PrecisionChoice, typer.Option(help="Which of the model's graphs to run.")] = PrecisionChoice.auto,
    workers: Annotated[int, typer.Option(min=0, help="Batches in flight at once; 0: one a core.")] = 0,
    threads: Annotated[int, typer.Option(min=1, help="Intra-op threads for each batch.")] = 1,
    batch_tokens: Annotated[int, typer.Option(min=1, help="Size of a batch, in tokens.")] = 1024,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only files that match.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="No files or directories that match.")] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Read hidden files too.")] = False,
    follow_symlinks: Annotated[bool, typer.Option("--follow-symlinks", help="Follow links; loops are found.")] = False,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Encoding to try when a file is not UTF-8.")
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Larger files fail unread.")] = 16 * 1024 * 1024,
    rows: Annotated[int, typer.Option(min=0, help="Rows in the table on the screen.")] = 20,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Attribute every document below PATH and write one row for each."""
    from authorid.console import Screen
    from authorid.documents import ReadOptions
    from authorid.engine import EngineOptions
    from authorid.pipeline import Scorer
    from authorid.results import format_for, open_writer
    from authorid.stats import RunStats

    screen = Screen(quiet=quiet)
    _check_encoding(encoding)
    read_options = ReadOptions(
        include=tuple(include or ()),
        exclude=tuple(exclude or ()),
        follow_symlinks=follow_symlinks,
        hidden=hidden,
        encoding=encoding,
        max_bytes=max_bytes,
        skip=frozenset(os.path.abspath(path) for path in (out, stats) if path is not None and path != "-"),
    )
    scorer = Scorer.load(model, EngineOptions(str(precision), workers, threads, batch_tokens))
    run = RunStats()
    first: list[Any] = []
    started = time.perf_counter()
    with (
        open_writer(out or os.devnull, format_for(out or "", form), top=top) as write,
        screen.progress("Scoring") as advance,
    ):
        for attribution in scorer.score(_named(paths), read_options, evidence=evidence, stats=run):
            with run.stages.stage("write"):
                write(attribution)
            if len(first) < rows:
                first.append(attribution)
            advance()
    report = run.report(time.perf_counter() - started, scorer.describe())
    if stats is not None:
        _write_json(stats, report)
    if not run.documents:
        screen.complain("warning: no documents found")
    elif not quiet:
        screen.attributions(first, run.documents)
        if run.status["scored"]:
            screen.counts(run.authors.most_common(), run.status["scored"])
        screen.statistics(report)
    if run.status["failed"]:
        screen.complain(f"{run.status['failed']} of {run.documents} documents failed; their rows say why")
        raise typer.Exit(EXIT_SOME_FAILED)


def _named(paths: list[str]) -> Iterator[str]:
    """The paths on the command line, and where one of them is ``-``, those listed on standard input."""
    for path in paths:
        if path != "-":
            yield path
            continue
        for line in sys.stdin.buffer:
            # find -print0 gives one "line" with NULs between the names.
            for name in line.rstrip(b"\n").split(b"\0"):
                if name:
                    yield os.fsdecode(name)


def _check_encoding(encoding: str | None) -> None:
    import codecs

    try:
        if encoding is not None:
            codecs.lookup(encoding)
    except LookupError:
        raise typer.BadParameter(f"Python knows no encoding {encoding!r}", param_hint="--encoding") from None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    from authorid.errors import OutputError

    try:
        path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {(error.strerror or str(error)).lower()}") from None


if __name__ == "__main__":
    main()
