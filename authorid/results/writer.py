"""The formats: what rows look like in bytes."""

from __future__ import annotations

import base64
import csv
import json
import os
from collections.abc import Callable
from typing import Any

from authorid.attribution import Attribution
from authorid.results.text import cell

__all__ = ["COLUMNS", "FORMATS", "Encoder", "csv_header", "csv_row", "format_for", "jsonl_row"]

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


class _Echo:
    """A file for `csv.writer` that hands back what is written to it: `writerow` returns what `write` does."""

    def write(self, line: str) -> str:
        return line


_ECHO = _Echo()


def _csv_line(values: list[str]) -> bytes:
    # A writer of its own: one keeps its line while it works on it, and several runs may write at once.
    line: str = csv.writer(_ECHO, lineterminator="\n").writerow(values)
    return line.encode("utf-8")


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


Encoder = tuple[Callable[[], bytes], Callable[..., bytes]]
"""What makes a format's first line, and what makes its rows."""

FORMATS: dict[str, Encoder] = {
    "csv": (csv_header, lambda attribution, top=5: csv_row(attribution)),
    "jsonl": (lambda: b"", jsonl_row),
}
"""Encoders by the names of their formats."""


def format_for(out: str, wanted: str | None = None) -> str:
    """The format to write: the one that is `wanted`, or by the ending of `out` (``.jsonl``), or CSV."""
    if wanted is not None:
        return wanted
    return "jsonl" if out.endswith((".jsonl", ".ndjson")) else "csv"
