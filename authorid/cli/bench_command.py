"""``authorid bench``: benchmark a model on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from authorid.cli.files import check_writable, write_json
from authorid.cli.options import PATH, FiniteRange, SectionedCommand, model_option, quiet_option, verbose_option

__all__ = ["bench"]


@click.command(cls=SectionedCommand)
@model_option("Benchmark this model instead of the embedded one.")
@click.option(
    "--documents",
    type=PATH,
    metavar="DIR",
    show_default="generated documents",
    help="Score these documents from end to end.",
)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the results as JSON; - is standard output.")
@click.option("--seconds", type=FiniteRange(min=0.1), default=40.0, help="Time for the whole benchmark.")
@quiet_option
@verbose_option
def bench(
    model: Path | None, documents: Path | None, json_file: Path | None, seconds: float, quiet: bool, verbose: bool
) -> None:
    """Benchmark a model on this machine.

    The results are latency, throughput and documents per second.
    """
    from authorid.benchmark import BenchOptions, run_benchmark, tables
    from authorid.cli.console import Terminal

    if json_file is not None:
        check_writable(json_file)
    terminal = Terminal(quiet=quiet, verbose=verbose)
    with terminal.progress("Benchmark") as reporter:
        result = run_benchmark(model, BenchOptions(documents, seconds), reporter=reporter)
    for title, columns, rows in tables(result, bar="█" if terminal.is_interactive else "#"):
        terminal.table(title, columns, rows)
    for missing in result["unavailable"]:
        terminal.info(f"not available: {missing['precision']} on {missing['provider']}: {missing['reason']}")
    if json_file is not None:
        write_json(json_file, result)
