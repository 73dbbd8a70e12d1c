"""The canonical row of a results file: complete, exact, and independent of any format."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from operator import itemgetter
from typing import Literal

from authorid.inputs.documents import DocumentRef

__all__ = ["Ranking", "Record", "Status"]

Status = Literal["scored", "unknown", "failed"]


class Ranking(tuple[tuple[str, float], ...]):
    """Authors with their probabilities, the likeliest first, and the numbers from which this order was made.

    `authors` and `packed` are the authors in the order of the model and their probabilities, as the bytes of float64 in
    the byte order of the machine. The journal copies these bytes: to collect the numbers from a hundred Python objects
    again would take four times as long as everything else that it does for a row.
    """

    authors: tuple[str, ...]
    packed: bytes

    @classmethod
    def of(cls, authors: tuple[str, ...], packed: bytes) -> Ranking:
        """Rank the authors. Those that are equally likely stay in their order."""
        pairs = zip(authors, array("d", packed), strict=True)
        ranking = cls(sorted(pairs, key=itemgetter(1), reverse=True))
        ranking.authors, ranking.packed = authors, packed
        return ranking


@dataclass(frozen=True, slots=True)
class Record:
    """Everything that a format, the report or a resumed run may need to know about one document.

    `ranking` holds every author with its probability (float64), the likeliest first. It is empty if `status` is
    ``failed``; `error` then gives the reason. `windows` and `tokens` count what the encoder read, special tokens
    included. `encoding` and `sha256` describe the file. `evidence` holds the probability of the likeliest author in
    each window, if that was requested. `known_author_score` is how much the text looks as if one of the known authors
    wrote it (0 to 1), and `coverage` the share of its n-grams that the n-gram model knows; both are None without an
    n-gram model. `reason` says why the status is ``unknown``. `adapted` is whether the model was adapted to the run.
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
    adapted: bool = False
