"""The command line: the group of commands, and what becomes of their errors.

Exit codes: 0 done; 1 fatal; 2 wrong usage; 3 done, but some documents failed; 130 interrupted (143 by SIGTERM).
The commands parse options, call the library and show what it returns.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Sequence

import click

from authorid.cli.bench_command import bench
from authorid.cli.evaluate_command import evaluate
from authorid.cli.exit_codes import EXIT_FATAL, EXIT_INTERRUPTED
from authorid.cli.export_command import export
from authorid.cli.score_command import score
from authorid.cli.train_command import train
from authorid.cli.tune_command import tune

__all__ = ["app", "main"]


def main() -> None:
    """Entry point of the ``authorid`` command."""
    _open_standard_descriptors()
    if threading.current_thread() is threading.main_thread():
        # Before and after a run, which handles signals itself (see Interrupts), SIGTERM unwinds as Ctrl-C does.
        signal.signal(signal.SIGTERM, _exit_on_signal)
    sys.exit(_run(sys.argv[1:]))


def _run(arguments: Sequence[str]) -> int:
    """Run one command and return the exit code; an error has then been shown."""
    from authorid.errors import AuthoridError, os_error_reason

    try:
        # `app.main` would turn a Ctrl-C into exit code 1 and print "Aborted!".
        with app.make_context("authorid", list(arguments)) as context:
            app.invoke(context)
        return 0
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
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # The reader of standard output has gone: close it, so that the flush at exit does not fail too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FATAL
    except OSError as error:
        # An error of the system that has no message of its own, such as a current directory that was removed.
        file = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        return _fatal(f"{file}{os_error_reason(error)}")


def _fatal(message: str) -> int:
    from authorid.cli.console import Terminal

    Terminal().error(message)
    return EXIT_FATAL


def _exit_on_signal(number: int, _: object) -> None:
    sys.exit(128 + number)


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


class _OrderedGroup(click.Group):
    """Lists its commands in the order in which they were added, instead of by name."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_OrderedGroup, no_args_is_help=True, context_settings={"show_default": True})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_show_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Who wrote this? Authorship attribution for whole directories, on ordinary CPUs."""


for _command in (score, train, evaluate, export, tune, bench):
    app.add_command(_command)


if __name__ == "__main__":
    main()
