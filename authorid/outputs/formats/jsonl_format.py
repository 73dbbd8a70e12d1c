"""JSON Lines: one object for each record, with full precision."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, ClassVar

from authorid.outputs.answers import Answers
from authorid.outputs.formats.columns import columns, values
from authorid.outputs.records import Record

__all__ = ["JsonlWriter"]


class JsonlWriter:
    """Writes the columns, ``top`` (the likeliest authors with their probabilities) and the evidence, if there is any.

    ``path`` is exact. If a name is not valid UTF-8, its undecodable bytes appear as U+FFFD, and ``path_b64`` holds all
    of its bytes.
    """

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def __init__(self, top: int = 5, answers: Answers = Answers()) -> None:
        self._top = top
        self._answers = answers
        self._keys = tuple(columns(answers))

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def row(self, record: Record) -> bytes:
        """One object on a line."""
        row: dict[str, Any] = dict(zip(self._keys, values(record, self._answers), strict=True))
        raw = os.fsencode(str(record.ref))
        row["path"] = raw.decode("utf-8", "replace")
        if row["path"].encode("utf-8") != raw:
            row["path_b64"] = base64.b64encode(raw).decode("ascii")
        noun, measure = self._answers.noun, self._answers.measure
        row["top"] = [{noun: name, measure: number} for name, number in record.ranking[: self._top]]
        if record.evidence:
            row["evidence"] = list(record.evidence)
        # ASCII only, so that no control, separator or bidirectional character reaches a person who views the file.
        return json.dumps(row, ensure_ascii=True).encode("ascii") + b"\n"

    def footer(self) -> bytes:
        """Nothing."""
        return b""
