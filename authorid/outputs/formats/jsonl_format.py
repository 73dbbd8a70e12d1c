"""JSON Lines: one object for each record, with full precision."""

from __future__ import annotations

import base64
import json
import os
from typing import Any, ClassVar

from authorid.outputs.formats.columns import COLUMNS, answer
from authorid.outputs.records import Record

__all__ = ["JsonlWriter"]


class JsonlWriter:
    """Writes the columns, ``top`` (the likeliest authors with their probabilities) and the evidence, if there is any.

    ``path`` is exact. If a name is not valid UTF-8, its undecodable bytes appear as U+FFFD, and ``path_b64`` holds all
    of its bytes.
    """

    name: ClassVar[str] = "jsonl"
    suffixes: ClassVar[tuple[str, ...]] = (".jsonl", ".ndjson")

    def __init__(self, top: int = 5) -> None:
        self._top = top

    def header(self) -> bytes:
        """Nothing."""
        return b""

    def row(self, record: Record) -> bytes:
        """One object on a line."""
        raw = os.fsencode(str(record.ref))
        path = raw.decode("utf-8", "replace")
        values = (
            path,
            record.status,
            *(answer(record) or (None,) * 5),
            record.windows,
            record.tokens,
            record.encoding,
            record.sha256,
            record.error,
            record.known_author_score,
            record.coverage,
            record.reason,
            record.adapted,
        )
        row: dict[str, Any] = dict(zip(COLUMNS, values, strict=True))
        if path.encode("utf-8") != raw:
            row["path_b64"] = base64.b64encode(raw).decode("ascii")
        row["top"] = [{"author": author, "probability": p} for author, p in record.ranking[: self._top]]
        if record.evidence:
            row["evidence"] = list(record.evidence)
        # ASCII only, so that no control, separator or bidirectional character reaches a person who views the file.
        return json.dumps(row, ensure_ascii=True).encode("ascii") + b"\n"

    def footer(self) -> bytes:
        """Nothing."""
        return b""
