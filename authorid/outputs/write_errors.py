"""Errors of the disk, turned into the messages that users get."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from authorid.errors import OutputError, os_error_reason

__all__ = ["output_error", "raising_output_errors"]


@contextmanager
def raising_output_errors(out: str, saved: Callable[[], str] = str) -> Iterator[None]:
    """Turn every `OSError` in the block into an `OutputError` about `out`; `saved` tells what is safe.

    A broken pipe stays as it is: the reader of the output has gone, which is not an error of this program.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise output_error(out, error, saved()) from error


def output_error(out: str, error: OSError, saved: str = "") -> OutputError:
    """The error that `out` cannot be written, followed by what is `saved`."""
    return OutputError(f"{out}: cannot write there: {os_error_reason(error)}{saved}")
