"""``authorid data``: public corpora to train and measure on."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from authorid.cli.options import HELP_OPTIONS, PATH, AdvancedOption, SectionedCommand, quiet_option

__all__ = ["data"]


@click.group(no_args_is_help=True, context_settings=HELP_OPTIONS)
def data() -> None:
    """Download a public corpus to train and measure on."""


@data.command("c50", cls=SectionedCommand, parent="data")
@click.argument("directory", type=PATH, metavar="DIR")
@click.option("--url", metavar="URL", cls=AdvancedOption, help="Download the archive from another place.")
@quiet_option
def c50(directory: Path, url: str | None, quiet: bool) -> None:
    """Download Reuters C50 into DIR.

    That is DIR/C50train and DIR/C50test, each with 50 articles by each of 50 journalists. The archive comes from the
    UCI Machine Learning Repository and is for research. An interrupted download goes on where it stopped. The
    directories appear when every text has been checked.
    """
    from authorid.cli.console import Terminal
    from authorid.datasets import C50, fetch

    terminal = Terminal(quiet=quiet)
    with terminal.progress("Download") as reporter:
        fetched = fetch(C50, directory, url=url, reporter=reporter)
    if not fetched:
        terminal.info(f"{directory} is complete: {' and '.join(C50.parts)} are there, and every text is right")
        return
    terminal.info(f"{' and '.join(fetched)} written to {directory}, and every text is right")
    train, model = shlex.quote(str(directory / "C50train")), shlex.quote(str(directory / "model"))
    terminal.info(f"next: authorid train {train} --no-encoder --out {model}")
