"""``authorid merge``: put the parts of a run together."""

from __future__ import annotations

from pathlib import Path

import click

from authorid.cli.exit_codes import EXIT_SOME_FAILED
from authorid.cli.files import check_writable, write_json
from authorid.cli.interrupts import Interrupts
from authorid.cli.options import PATH, SectionedCommand, quiet_option, usage_error, verbose_option

__all__ = ["merge"]

_SHOWN = 12
"""Rows in the table at the end."""


@click.command(cls=SectionedCommand)
@click.argument("parts", nargs=-1, type=PATH, metavar="PART...", required=True)
@click.option("--out", "-o", type=PATH, metavar="FILE", required=True, help="Write the results to FILE.")
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
    show_default="from the ending of FILE",
    help="Format of the results.",
)
@click.option("--top", type=click.IntRange(min=1), default=5, help="Number of authors in a JSONL or Parquet row.")
@click.option("--force", is_flag=True, help="Replace an existing FILE.")
@click.option(
    "--stats", type=PATH, metavar="FILE", help="Write the statistics of all parts as JSON; - is standard output."
)
@quiet_option
@verbose_option
def merge(
    parts: tuple[Path, ...],
    out: Path,
    form: str | None,
    top: int,
    force: bool,
    stats: Path | None,
    quiet: bool,
    verbose: bool,
) -> None:
    """Put the parts of a run together, in the order of the run.

    PART is a file that `authorid score --shard` has written, or a directory of them. The results are the bytes of a run
    that was not divided. Parts that are missing, damaged, there twice, or of another run are refused.
    """
    from authorid.cli.console import Terminal
    from authorid.cli.final_screen import show_run
    from authorid.errors import PartError
    from authorid.outputs import FORMATS, format_for, require_format
    from authorid.outputs.destination import open_rows
    from authorid.outputs.part_order import find_parts, merged_records, ordered_parts
    from authorid.scoring.merged_stats import merge_statistics

    try:
        form = format_for(str(out), form)
    except ValueError as error:
        raise usage_error(str(error), "--out") from None
    require_format(form)
    if stats is not None:
        check_writable(stats)
    terminal = Terminal(quiet=quiet, verbose=verbose)
    files = find_parts(parts)
    if any(out.exists() and out.samefile(file) for file in files if file.exists()):
        raise usage_error("is one of the parts: name another file", "--out")
    ordered = ordered_parts(files)
    answers, total = ordered[0].answers, sum(part.rows for part in ordered)
    try:
        merged, report = merge_statistics(part.statistics() for part in ordered)
    except ValueError as error:
        raise PartError(f"the statistics of the parts cannot be merged: {error}") from None
    first = []
    with (
        Interrupts() as interrupts,
        open_rows(str(out), FORMATS[form](top, answers), force=force) as (write, _),
        terminal.progress("Merging") as reporter,
    ):
        for done, record in enumerate(merged_records(ordered), start=1):
            interrupts.exit_if_interrupted()
            write(record)
            if done <= _SHOWN:
                first.append(record)
            reporter.progress(done, total)
    if stats is not None:
        write_json(stats, report)
    show_run(terminal, first, merged, report, answers)
    if failed := merged.status["failed"]:
        terminal.warning(f"{failed} of {merged.documents} documents failed; their rows give the reasons")
        raise click.exceptions.Exit(EXIT_SOME_FAILED)
