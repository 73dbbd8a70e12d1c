"""What `score` shows about runs that were interrupted."""

from __future__ import annotations

import shlex
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.outputs import Output
    from authorid.outputs.resume import EarlierRun

__all__ = ["how_to_resume", "show_resumed"]


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
    if not output.resumable:
        return ""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument not in ("--force", "--resume")]
    return f". To go on: {shlex.join(['authorid', *options, '--resume', *arguments[end:]])}"
