"""The canonical row of a results file: complete, exact, and independent of any format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from authorid.inputs.documents import DocumentRef

__all__ = ["Record", "Status"]

Status = Literal["scored", "unknown", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that a format, the report or a resumed run may need to know about one document.

    `ranking` holds every author with its probability (float64), the likeliest first. It is empty if `status` is
    ``failed``; `error` then gives the reason. `windows` and `tokens` count what the encoder read, special tokens
    included. `encoding` and `sha256` describe the file. `evidence` holds the probability of the likeliest author in
    each window, if that was requested. `known_author_score` is how much the text looks as if one of the known authors
    wrote it (0 to 1), and `coverage` the share of its n-grams that the n-gram model knows; both are None without an
    n-gram model. `reason` says why the status is ``unknown``.
    """

    ref: DocumentRef
    status: Status
    ranking: tuple[tuple[str, float], ...] = ()
    windows: int = 0
    tokens: int = 0
    encoding: str | None = None
    sha256: str | None = None
    error: str | None = None
    evidence: tuple[float, ...] = ()
    known_author_score: float | None = None
    coverage: float | None = None
    reason: str | None = None
