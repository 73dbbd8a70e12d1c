"""What the commands show about work that was interrupted."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.outputs import Output
    from authorid.outputs.resume import EarlierRun

__all__ = ["explaining_interrupts", "how_to_resume", "resuming_command", "show_resumed"]


def show_resumed(terminal: Terminal, earlier: EarlierRun, *, complete: bool) -> None:
    """Show what became of the rows of the interrupted run."""
    message = f"resumed: {earlier.kept} rows kept"
    if earlier.changed:
        message += f", {earlier.changed} documents changed since and were scored again"
    if earlier.vanished:
        message += f", {earlier.vanished} no longer exist and have no row"
    if earlier.names:
        more = earlier.changed + earlier.vanished - len(earlier.names)
        message += ": " + ", ".join(earlier.names) + (f" and {more} more" if more else "")
    terminal.info(message if complete else f"{message} so far")


def how_to_resume(output: Output) -> str:
    """The command that continues this run, for the end of a message; empty when it cannot be continued."""
    return f". To go on: {resuming_command()}" if output.resumable else ""


@contextmanager
def explaining_interrupts(terminal: Terminal, out: Path) -> Iterator[None]:
    """When Ctrl-C ends the block, which makes the directory `out`, say how to go on."""
    from authorid.outputs.directory import Workspace

    try:
        yield
    except KeyboardInterrupt:
        if Workspace.of(out).state.is_dir():
            terminal.error(f"interrupted; finished work is safe. To go on: {resuming_command()}")
        else:
            terminal.error(f"interrupted; {out} was not written. The same command starts again")
        raise


def resuming_command() -> str:
    """The command line of this process, with --resume."""
    from authorid.inputs.urls import without_secrets

    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument not in ("--force", "--resume")]
    return without_secrets(shlex.join(["authorid", *options, "--resume", *arguments[end:]]))
