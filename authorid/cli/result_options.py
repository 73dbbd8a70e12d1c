"""The options of ``authorid score`` that say where the results go, and in which form."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import click

from authorid.cli.options import PATH, AdvancedOption, option_group, usage_error

__all__ = ["ResultOptions", "result_options"]


class ResultOptions(NamedTuple):
    """Where the results go, in which format, and what an earlier run there means."""

    out: str | None
    form: str
    top: int
    evidence: bool
    explain: bool
    stats: Path | None
    report: Path | None
    resume: bool
    force: bool
    fail_fast: bool

    @property
    def files(self) -> set[str]:
        """The files that are named here, as absolute paths: none of them is a document."""
        named = (self.out, self.stats, self.report)
        return {str(Path(path).absolute()) for path in named if path and str(path) != "-"}


@option_group(
    "Results",
    "results",
    click.option("--out", "-o", metavar="FILE", help="Write the results to FILE; - is standard output."),
    click.option(
        "--format",
        "-f",
        "form",
        type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
        show_default="from the ending of FILE; csv for a stream",
        help="Format of the results.",
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted run."),
    click.option("--force", is_flag=True, help="Replace an existing FILE, and discard an interrupted run."),
    click.option("--fail-fast", cls=AdvancedOption, is_flag=True, help="Stop at the first document that fails."),
    click.option("--top", type=click.IntRange(min=1), default=5, help="Number of authors in a JSONL or Parquet row."),
    click.option("--evidence", is_flag=True, help="Add the probabilities of each window to JSONL and Parquet rows."),
    click.option("--explain", is_flag=True, help="Add what speaks for and against the author to such rows."),
    click.option(
        "--stats", type=PATH, metavar="FILE", help="Write the statistics of the run as JSON; - is standard output."
    ),
    click.option(
        "--report", type=PATH, metavar="FILE", help="Write a page about the results, as HTML, to open and share."
    ),
)
def result_options(
    out: str | None,
    form: str | None,
    resume: bool,
    force: bool,
    fail_fast: bool,
    top: int,
    evidence: bool,
    explain: bool,
    stats: Path | None,
    report: Path | None,
) -> ResultOptions:
    """Where the results go, and in which form."""
    if resume and out in (None, "-"):
        raise usage_error("there is nothing to resume without --out FILE", "--resume")
    for option, written, path in (("--stats", "statistics", stats), ("--report", "report", report)):
        if path is not None:
            _check_apart(option, written, path, out)
    if report is not None and stats is not None and os.path.realpath(report) == os.path.realpath(stats):
        raise usage_error("the report would replace the statistics: name another file", "--report")
    form = _format(out, form)
    for option, wanted in (("--evidence", evidence), ("--explain", explain)):
        if wanted and (out is None or form not in ("jsonl", "parquet", "part")):
            raise usage_error("only JSONL and Parquet rows have room for it: --out FILE.jsonl, or --format", option)
    return ResultOptions(out, form, top, evidence, explain, stats, report, resume, force, fail_fast)


def _format(out: str | None, form: str | None) -> str:
    """The format to write; a stream has no ending, and gets CSV."""
    from authorid.outputs import format_for, is_stream

    if out is None or is_stream(out) or Path(out).is_dir():
        return form or "csv"
    try:
        return format_for(out, form)
    except ValueError as error:
        raise usage_error(str(error), "--out") from None


def _check_apart(option: str, written: str, file: Path, out: str | None) -> None:
    """Raise a usage error if what `option` writes would go to the results, or to a file that the run itself writes."""
    from authorid.outputs import is_standard_output, is_stream
    from authorid.outputs.run_files import RunFiles

    to_output = is_standard_output(str(file))
    if to_output and out is not None and is_standard_output(out):
        raise usage_error("the results go to standard output: name a file", option)
    if to_output or out is None or is_stream(out):
        return
    path, results = os.path.realpath(file), os.path.realpath(out)
    if path == results:
        raise usage_error(f"the {written} would replace the results: name another file", option)
    if path in RunFiles(Path(results)).all:
        raise usage_error("the run itself needs a file of this name: name another file", option)
