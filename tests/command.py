"""The real command in a process of its own, unchanged or with a fault injected."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from pathlib import Path

import click

from authorid.cli.app import app

PLAIN = "from authorid.__main__ import main; main()"


def every_command() -> dict[str, click.Command]:
    """Return all commands by their names, those in groups as ``models list``."""
    found: dict[str, click.Command] = {}
    for name, one in app.commands.items():
        if isinstance(one, click.Group):
            found.update({f"{name} {below}": subcommand for below, subcommand in one.commands.items()})
        else:
            found[name] = one
    return found


def command(*arguments: object, prelude: str = "") -> list[str]:
    """Return the command line of `authorid ARGUMENTS`, which first runs the Python statements in `prelude`."""
    return [sys.executable, "-c", f"{prelude}\n{PLAIN}", *map(str, arguments)]


def environment(home: Path) -> dict[str, str]:
    """Return environment variables with which a run keeps its caches below `home`."""
    return {**os.environ, "XDG_CACHE_HOME": str(home / "cache"), "PYTHONHASHSEED": "0"}


def journal_size(results: Path) -> int:
    """Return the bytes that the journals of a run with these results have, which it may replace or remove meanwhile."""
    sizes = [0]
    for path in results.parent.glob(f"{results.name}.journal*"):
        with contextlib.suppress(FileNotFoundError):
            sizes.append(path.stat().st_size)
    return max(sizes)


def run(
    *arguments: object, prelude: str = "", timeout: float = 120, stdin: bytes = b"", **kwargs: object
) -> subprocess.CompletedProcess[str]:
    """Run the command to its end; its outputs are returned as text."""
    done = subprocess.run(
        command(*arguments, prelude=prelude), capture_output=True, timeout=timeout, input=stdin, **kwargs
    )
    return subprocess.CompletedProcess(
        done.args, done.returncode, done.stdout.decode("utf-8"), done.stderr.decode("utf-8", "replace")
    )
