"""The canonical row of a results file: complete, exact, and independent of every format."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from authorid.inputs.documents import DocumentRef

__all__ = ["Record", "Status"]

Status = Literal["scored", "unknown", "failed"]


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that any format, the report or a resumed run may want to know of one document.

    `ranking` holds every author with its probability, likeliest first; it is empty when `status` is ``failed``, and then
    `error` says why. `windows` and `tokens` count what the encoder read, special tokens included. `evidence` holds the
    winner's probability in each window alone, where it was asked for. `known_author_score` says how much the text looks
    as if one of the known authors wrote it (0 to 1); None without an n-gram model.
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
