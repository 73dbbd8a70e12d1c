"""The command line: the group of commands, and what becomes of their errors.

Exit codes: 0 done; 1 fatal; 2 wrong usage; 3 done, but some documents failed; 130 interrupted (143 by SIGTERM).
The commands parse options, call the library and show what it returns.
"""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from collections.abc import Iterator, Mapping, Sequence
from importlib import import_module

import click

from authorid.cli.exit_codes import EXIT_FATAL, EXIT_INTERRUPTED
from authorid.cli.interrupts import Interrupts, raise_interrupt

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``authorid`` command."""
    _open_standard_descriptors()
    interrupts = Interrupts(raise_interrupt)
    try:
        with interrupts:
            exit_code = _run(sys.argv[1:], interrupts)
    except KeyboardInterrupt:  # a signal before the command began, or when it had just ended
        exit_code = interrupts.exit_code or EXIT_INTERRUPTED
    if exit_code >= EXIT_INTERRUPTED and any(thread.name.startswith("authorid-") for thread in threading.enumerate()):
        # A thread that the run had to abandon must not wake up while Python is torn down.
        for stream in (sys.stdout, sys.stderr):
            with contextlib.suppress(OSError, ValueError, AttributeError):
                stream.flush()
        os._exit(exit_code)
    sys.exit(exit_code)


def _run(arguments: Sequence[str], interrupts: Interrupts) -> int:
    """Run one command and return the exit code; an error has then been shown."""
    from authorid.errors import AuthoridError, os_error_reason

    try:
        _invoke(arguments, interrupts)
        return interrupts.exit_code or 0
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except AuthoridError as error:
        return _fatal(str(error))
    except MemoryError:
        return _fatal("out of memory")
    except KeyboardInterrupt:
        return interrupts.exit_code or EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of standard output has gone: close it, so that the flush at exit does not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FATAL
    except OSError as error:
        # An error of the system that has no message of its own, such as a current directory that was removed.
        file = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return _fatal(f"{file}{os_error_reason(error)}")


def _invoke(arguments: Sequence[str], interrupts: Interrupts) -> None:
    try:
        # What `app.main` does, which would turn a Ctrl-C into exit code 1 and print "Aborted!".
        complete = os.environ.get(_COMPLETE)
        if complete:
            from click.shell_completion import shell_complete

            raise click.exceptions.Exit(shell_complete(app, {}, "authorid", _COMPLETE, complete))
        with app.make_context("authorid", list(arguments)) as context:
            app.invoke(context)
    except BaseException:
        if interrupts.exit_code is None:
            raise
        # Libraries turn the interrupt into errors of their own, which mean nothing: a module that cannot be imported,
        # a file that is corrupt.
        raise KeyboardInterrupt from None


def _fatal(message: str) -> int:
    from authorid.cli.console import Terminal

    Terminal().error(message)
    return EXIT_FATAL


def _open_standard_descriptors() -> None:
    """Open /dev/null for each standard descriptor that is closed.

    Otherwise the next file that is opened, such as the journal, would get its number, and with it the messages.
    """
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _show_version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from authorid import __version__

        click.echo(f"authorid {__version__}")
        context.exit()


_COMPLETE = "_AUTHORID_COMPLETE"
"""Environment variable with which a shell asks for completions, or for the script that does so."""


class _Commands(Mapping[str, click.Command]):
    """The commands by name, in the order in which the help lists them. A command is imported when it is needed."""

    _names = (
        "score",
        "list",
        "merge",
        "explain",
        "verify",
        "train",
        "evaluate",
        "export",
        "tune",
        "bench",
        "models",
        "data",
        "doctor",
    )

    def __getitem__(self, name: str) -> click.Command:
        if name not in self._names:
            raise KeyError(name)
        command: click.Command = getattr(import_module(f"authorid.cli.{name}_command"), name)
        return command

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class _CommandGroup(click.Group):
    """Lists its commands in their own order, instead of by name."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


_SETTINGS = {"show_default": True, "help_option_names": ["--help", "-h"]}


@click.group(cls=_CommandGroup, no_args_is_help=True, context_settings=_SETTINGS)
@click.option(
    "--version",
    "-V",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Who wrote this? Authorship attribution for whole directories, on ordinary CPUs."""
    from authorid.cli.threads import require_threads

    require_threads()


app.commands = _Commands()  # type: ignore[assignment]


if __name__ == "__main__":
    main()
