"""``authorid list``: find the files of a run once, and keep them in a listing."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from authorid.cli.interrupts import Interrupts
from authorid.cli.options import PATH, SectionedCommand, quiet_option, usage_error, walk_options

if TYPE_CHECKING:
    from authorid.inputs.documents import ReadOptions

__all__ = ["list"]


@click.command("list", cls=SectionedCommand)
@click.argument("paths", nargs=-1, metavar="PATH...", required=True)
@click.option(
    "--out", "-o", type=PATH, metavar="FILE", required=True, help="Write the listing to FILE (.parquet, .jsonl, .csv)."
)
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@walk_options
@quiet_option
def list(paths: tuple[str, ...], out: Path, force: bool, documents: ReadOptions, quiet: bool) -> None:
    """List the files to score once, for many shards or runs.

    PATH is a file, a directory with documents at any depth, a URL such as s3://bucket/letters/, or - for a list of
    paths on standard input. A listing has each file with its size. `authorid score --listing` takes the files from it
    and does not look for others.
    """
    from authorid.cli.console import Terminal
    from authorid.cli.score_inputs import input_paths, require_any
    from authorid.inputs.listing import listed_files, listing_format
    from authorid.outputs.destination import open_rows
    from authorid.outputs.listing_writers import LISTING_WRITERS

    try:
        writer = LISTING_WRITERS[listing_format(out)]()
    except ValueError as error:
        raise usage_error(str(error), "--out") from None
    terminal = Terminal(quiet=quiet)
    require_any(paths, documents, terminal)
    count = size = problems = 0
    with (
        Interrupts() as interrupts,
        open_rows(str(out), writer, force=force) as (write, own),
        terminal.progress("Listing") as reporter,
        closing(listed_files(input_paths(paths, interrupts), replace(documents, skip=own))) as files,
    ):
        for count, file in enumerate(files, start=1):
            interrupts.exit_if_interrupted()
            write(file)
            size += file.size or 0
            problems += file.problem is not None
            reporter.progress(count)
        interrupts.exit_if_interrupted()
    terminal.info(f"{count:,} files, {size:,} bytes: {out}")
    if problems:
        terminal.warning(f"{problems:,} of them cannot be opened; they will be failed rows")
