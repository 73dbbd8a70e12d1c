"""Files that a command writes beside its main output: checked before the work, written after it.

The path ``-`` is standard output.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["STANDARD_OUTPUT", "check_writable", "make_directory", "write_json"]

STANDARD_OUTPUT = Path("-")


def make_directory(path: Path) -> None:
    """Make the directory `path`, with its parents, if it does not exist; raises `OutputError`."""
    from authorid.errors import OutputError, os_error_reason

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


def check_writable(path: Path) -> None:
    """Raise `OutputError` when the file `path` cannot be written; leaves nothing behind."""
    from tempfile import TemporaryFile

    from authorid.errors import OutputError, os_error_reason

    if path == STANDARD_OUTPUT:
        return
    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            with TemporaryFile(dir=path.parent):
                return
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


def write_json(path: Path, record: dict[str, Any]) -> None:
    """Write `record` as indented JSON; raises `OutputError`."""
    from authorid.errors import OutputError, os_error_reason

    text = json.dumps(record, indent=2) + "\n"
    try:
        if path == STANDARD_OUTPUT:
            sys.stdout.write(text)
            sys.stdout.flush()
        else:
            path.write_text(text, "utf-8")
    except BrokenPipeError:
        raise
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None
