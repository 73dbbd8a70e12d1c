"""The formats, and the file they are written to."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from authorid.attribution import Attribution
from authorid.errors import OutputError
from authorid.results.text import cell

__all__ = ["COLUMNS", "FORMATS", "ResultWriter", "csv_header", "csv_row", "format_for", "jsonl_row", "open_writer"]

COLUMNS = (
    "path",
    "status",
    "author",
    "probability",
    "runner_up",
    "runner_up_probability",
    "margin",
    "windows",
    "tokens",
    "encoding",
    "sha256",
    "error",
)
"""The columns of a CSV and the keys of a JSONL row, in order."""

ResultWriter = Callable[[Attribution], None]


def _csv_line(values: list[str]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(values)
    return line.getvalue().encode("utf-8")


def csv_header() -> bytes:
    """The first line of a CSV."""
    return _csv_line(list(COLUMNS))


def csv_row(attribution: Attribution) -> bytes:
    """One CSV line: text made visible and harmless to spreadsheets, probabilities with six decimals."""
    values = []
    for column in COLUMNS:
        value = getattr(attribution, column)
        if value is None:
            values.append("")
        elif isinstance(value, float):
            values.append(f"{value:.6f}")
        else:
            values.append(cell(value) if isinstance(value, str) else str(value))
    return _csv_line(values)


def jsonl_row(attribution: Attribution, top: int = 5) -> bytes:
    """One JSON line: the columns with full precision, ``top`` (the `top` likeliest), the evidence if kept.

    ``path`` is exact; for a name that is not UTF-8, undecodable bytes show as U+FFFD and ``path_b64`` has them all.
    """
    row: dict[str, Any] = {column: getattr(attribution, column) for column in COLUMNS}
    raw = os.fsencode(attribution.path)
    row["path"] = raw.decode("utf-8", "replace")
    if row["path"].encode("utf-8") != raw:
        row["path_b64"] = base64.b64encode(raw).decode("ascii")
    row["top"] = [{"author": author, "probability": p} for author, p in attribution.ranking[:top]]
    if attribution.evidence:
        row["evidence"] = list(attribution.evidence)
    # ASCII output: no control, separator or bidi character reaches whoever looks at the file.
    return json.dumps(row, ensure_ascii=True).encode("ascii") + b"\n"


FORMATS: dict[str, tuple[Callable[[], bytes], Callable[..., bytes]]] = {
    "csv": (csv_header, lambda attribution, top=5: csv_row(attribution)),
    "jsonl": (lambda: b"", jsonl_row),
}
"""Name of a format -> what makes its first line and its rows."""


def format_for(out: str, wanted: str | None = None) -> str:
    """The format to write: the one that is `wanted`, or by the ending of `out` (``.jsonl``), or CSV."""
    if wanted is not None:
        return wanted
    return "jsonl" if out.endswith((".jsonl", ".ndjson")) else "csv"


@contextmanager
def open_writer(out: str, form: str, *, top: int = 5) -> Iterator[ResultWriter]:
    """Write rows to the file `out`, or to standard output when it is ``-``.

    The file appears, or replaces an older one, only when the block ends without an error. Raises `OutputError`.
    """
    header, row = FORMATS[form]
    if out == "-":
        stream = sys.stdout.buffer
        stream.write(header())
        yield lambda attribution: _discard(stream.write(row(attribution, top=top)))
        stream.flush()
        return
    target = Path(out)
    if target.is_dir():
        raise OutputError(f"{out}: is a directory; --out takes the name of a file")
    try:
        descriptor, name = tempfile.mkstemp(prefix=f".{target.name}.", suffix=".partial", dir=target.parent)
    except OSError as error:
        raise OutputError(f"{out}: cannot write there: {(error.strerror or str(error)).lower()}") from None
    partial = Path(name)
    try:
        with open(descriptor, "wb") as stream:
            stream.write(header())
            yield lambda attribution: _discard(stream.write(row(attribution, top=top)))
            _settle(stream)
        umask = os.umask(0)
        os.umask(umask)
        partial.chmod(0o666 & ~umask)
        partial.replace(target)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def _discard(_: int) -> None:
    """A writer returns nothing; `write` counts bytes."""


def _settle(stream: BinaryIO) -> None:
    stream.flush()
    os.fsync(stream.fileno())
