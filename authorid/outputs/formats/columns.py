"""The columns that every tabular format has."""

from __future__ import annotations

from authorid.outputs.records import Record

__all__ = ["COLUMNS", "Answer", "answer"]

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
    "known_author_score",
    "coverage",
    "reason",
    "adapted",
)
"""The columns of a CSV file and the keys of a JSON row, in order."""

Answer = tuple[str, float, str, float, float]


def answer(record: Record) -> Answer | None:
    """The columns from ``author`` to ``margin``; None if the document failed."""
    if not record.ranking:
        return None
    (author, probability), (runner_up, runner_up_probability) = record.ranking[:2]
    return author, probability, runner_up, runner_up_probability, probability - runner_up_probability
