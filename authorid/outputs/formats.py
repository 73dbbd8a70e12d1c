"""The formats: what rows look like in bytes."""

from __future__ import annotations

import base64
import csv
import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from authorid.inputs.documents import DocumentRef
from authorid.outputs.escaping import cell, exact
from authorid.scoring.attribution import Attribution

__all__ = ["COLUMNS", "FORMATS", "Format", "csv_header", "csv_row", "format_for", "jsonl_row"]

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


def csv_row(attribution: Attribution, top: int = 0) -> bytes:
    """One CSV line: text made visible and harmless to spreadsheets, probabilities with six decimals."""
    answer = [""] * 5
    if attribution.ranking:
        (author, probability), (runner_up, next_best) = attribution.ranking[:2]
        margin = probability - next_best
        answer = [cell(author), f"{probability:.6f}", cell(runner_up), f"{next_best:.6f}", f"{margin:.6f}"]
    return _csv_line(
        [
            cell(attribution.path),
            attribution.status,
            *answer,
            str(attribution.windows),
            str(attribution.tokens),
            cell(attribution.encoding or ""),
            attribution.sha256 or "",
            cell(attribution.error or ""),
        ]
    )


_CELL = r'("[^"]*(?:""[^"]*)*"|[^",\n]*)'
_CSV_LINE = re.compile(",".join([_CELL] * len(COLUMNS)) + "\n")
"""What `csv_row` writes. The csv module's reader has a bound on cells, for the whole process, that a path may pass."""


def _of_csv(line: bytes) -> Attribution:
    match = _CSV_LINE.fullmatch(line.decode("utf-8"))
    if match is None:
        raise ValueError("no row")
    values = (value[1:-1].replace('""', '"') if value.startswith('"') else value for value in match.groups())
    row = {column: value or None for column, value in zip(COLUMNS, values, strict=True)}
    return _parsed({name: value and exact(value) for name, value in row.items()})


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


def _of_jsonl(line: bytes) -> Attribution:
    row = json.loads(line)
    if "path_b64" in row:
        row["path"] = os.fsdecode(base64.b64decode(row["path_b64"], validate=True))
    return _parsed(row)


def _parsed(row: dict[str, Any]) -> Attribution:
    ranking = (row["author"], row["probability"]), (row["runner_up"], row["runner_up_probability"])
    return Attribution(
        ref=DocumentRef(row["path"]),
        status=row["status"],
        ranking=() if row["probability"] is None else tuple((name or "", float(share)) for name, share in ranking),
        windows=int(row["windows"]),
        tokens=int(row["tokens"]),
        encoding=row["encoding"],
        sha256=row["sha256"],
        error=row["error"],
    )


@dataclass(frozen=True, slots=True)
class Format:
    """What makes a format's first line, what makes its rows, and what reads a row back.

    What is read back has the two likeliest authors, and a CSV's probabilities have six decimals. Raises `ValueError`,
    `TypeError` or `KeyError` for what is no row.
    """

    header: Callable[[], bytes]
    row: Callable[[Attribution, int], bytes]
    parse: Callable[[bytes], Attribution]


FORMATS: dict[str, Format] = {
    "csv": Format(csv_header, csv_row, _of_csv),
    "jsonl": Format(lambda: b"", jsonl_row, _of_jsonl),
}
"""The formats by their names."""


def format_for(out: str, wanted: str | None = None) -> str:
    """The format to write: the one that is `wanted`, or by the ending of `out` (``.jsonl``), or CSV."""
    if wanted is not None:
        return wanted
    return "jsonl" if out.endswith((".jsonl", ".ndjson")) else "csv"
