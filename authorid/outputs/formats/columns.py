"""The columns that every tabular format has."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterable
from operator import attrgetter
from typing import Any, Literal

from authorid.outputs.answers import Answers
from authorid.outputs.escaping import unicode_text
from authorid.outputs.records import Attribution

__all__ = ["Kind", "arrow_types", "columns", "unicode_row", "values"]

Kind = Literal["text", "number", "share", "count", "flag", "names"]
"""What a column holds: str, float (the model's own number, or a share), int, bool or a list of str.

All but a flag may be missing (None).
"""

_KINDS: dict[str, Kind] = {
    "path": "text",
    "member": "text",
    "status": "text",
    "author": "text",
    "candidate": "text",
    "probability": "number",
    "runner_up": "text",
    "runner_up_probability": "number",
    "margin": "number",
    "expert": "text",
    "windows": "count",
    "tokens": "count",
    "reader": "text",
    "encoding": "text",
    "sha256": "text",
    "error": "text",
    "known_author_score": "share",
    "coverage": "share",
    "reason": "text",
    "adapted": "flag",
}
"""Attributes of an `Attribution`, in the order of the columns that hold them."""

_attributes = attrgetter(*_KINDS)


def columns(answers: Answers) -> dict[str, Kind]:
    """The columns of a tabular file, which are the keys of a JSON row, in order, with what they hold."""
    named = {
        "author": answers.noun,
        "probability": answers.measure,
        "runner_up_probability": f"runner_up_{answers.measure}",
    }
    found = {named.get(attribute, attribute): kind for attribute, kind in _KINDS.items()}
    return {**found, "labels": "names"} if answers.several else found


def arrow_types(arrow: Any) -> dict[Kind, Any]:
    """The Arrow type of each kind of column; `arrow` is the package pyarrow."""
    text, number = arrow.string(), arrow.float64()
    return {
        "text": text,
        "number": number,
        "share": number,
        "count": arrow.int64(),
        "flag": arrow.bool_(),
        "names": arrow.list_(text),
    }


def values(record: Attribution, answers: Answers) -> tuple[Any, ...]:
    """The values of the `columns` of one row."""
    found: tuple[Any, ...] = _attributes(record)
    return (*found, answers.likely(record.ranking)) if answers.several else found


def unicode_row(record: Attribution, names: Iterable[str], answers: Answers) -> dict[str, Any]:
    """The `values` by the `names` of the columns, with valid Unicode only.

    If the path is not valid UTF-8, its undecodable bytes appear as U+FFFD, and ``path_b64`` holds all of its bytes.
    """
    row = {
        name: unicode_text(value) if type(value) is str and not value.isascii() else value
        for name, value in zip(names, values(record, answers), strict=True)
    }
    if not record.path.isascii():
        raw = os.fsencode(record.path)
        row["path"] = raw.decode("utf-8", "replace")
        if row["path"].encode("utf-8") != raw:
            row["path_b64"] = base64.b64encode(raw).decode("ascii")
    return row
