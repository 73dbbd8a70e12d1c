"""JSON Lines: one object for each record, with full precision."""

from __future__ import annotations

import json
from typing import ClassVar

from authorid.outputs.answers import Answers
from authorid.outputs.formats.columns import columns, unicode_row
from authorid.outputs.records import Attribution

__all__ = ["JsonlWriter"]


class JsonlWriter:
    """Writes the columns, ``top`` (the likeliest authors with their probabilities), evidence and explanation if any.

    ``path`` is exact. If a name is not valid UTF-8, its undecodable bytes appear as U+FFFD, and ``path_b64`` holds all
    of its bytes.
    """

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")
    packages: ClassVar[tuple[str, ...]] = ()
    binary: ClassVar[bool] = False

    def __init__(self, top: int = 5, answers: Answers = Answers()) -> None:
        self._top = top
        self._answers = answers
        self._keys = tuple(columns(answers))

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def row(self, record: Attribution) -> bytes:
        """One object on a line."""
        row = unicode_row(record, self._keys, self._answers)
        noun, measure = self._answers.noun, self._answers.measure
        row["top"] = [{noun: name, measure: number} for name, number in record.ranking[: self._top]]
        if record.evidence:
            row["evidence"] = list(record.evidence)
        if record.explanation is not None:
            row["explanation"] = json.loads(record.explanation)
        # ASCII only, so that no control, separator or bidirectional character reaches a person who views the file.
        return json.dumps(row, ensure_ascii=True).encode("ascii") + b"\n"

    def footer(self) -> bytes:
        """Nothing."""
        return b""
