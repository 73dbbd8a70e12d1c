"""The columns that every tabular format has."""

from __future__ import annotations

from typing import Any, Literal

from authorid.outputs.answers import Answers
from authorid.outputs.records import Record

__all__ = ["Kind", "columns", "values"]

Kind = Literal["text", "probability", "value", "count", "flag", "names"]
"""What a column holds: str, float (two kinds), int, bool or a list of str. All but a flag may be missing (None)."""


def columns(answers: Answers) -> dict[str, Kind]:
    """The columns of a tabular file, which are the keys of a JSON row, in order, with what they hold."""
    several: dict[str, Kind] = {"labels": "names"} if answers.several else {}
    return {
        "path": "text",
        "status": "text",
        answers.noun: "text",
        answers.measure: answers.measure,
        "runner_up": "text",
        f"runner_up_{answers.measure}": answers.measure,
        "margin": answers.measure,
        "windows": "count",
        "tokens": "count",
        "encoding": "text",
        "sha256": "text",
        "error": "text",
        "known_author_score": "probability",
        "coverage": "probability",
        "reason": "text",
        "adapted": "flag",
        **several,
    }


def values(record: Record, answers: Answers) -> list[Any]:
    """The values of the `columns` of one row."""
    (author, probability), (runner_up, runner_up_probability) = (*record.ranking[:2], (None, None), (None, None))[:2]
    row: list[Any] = [
        str(record.ref),
        record.status,
        author,
        probability,
        runner_up,
        runner_up_probability,
        None if probability is None or runner_up_probability is None else probability - runner_up_probability,
        record.windows,
        record.tokens,
        record.encoding,
        record.sha256,
        record.error,
        record.known_author_score,
        record.coverage,
        record.reason,
        record.adapted,
    ]
    if answers.several:
        row.append(answers.likely(record.ranking))
    return row
