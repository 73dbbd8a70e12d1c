"""The encoding of records in the journal: exact, compact and fast.

An entry is a JSON array on one line. Its numbers are one base64 string of little-endian float64: the probabilities in
the order of the authors in the journal's header, the evidence, the known-author score and the coverage. From the
probabilities the ranking is made again as it was. A ranking that does not come from a model is stored with its length,
and the index of each author (32 bits) precedes the probabilities. The line is put together by hand: `json.dumps` would
take six times as long, and this runs for every document.
"""

from __future__ import annotations

import json
import math
import os
import struct
import sys
from array import array
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from typing import Any, NamedTuple, get_args

from authorid.inputs.discovery import OrderKey, order_key
from authorid.inputs.documents import DocumentRef
from authorid.inputs.urls import is_url
from authorid.outputs.records import Attribution, Expert, Ranking, Status

__all__ = ["Entry", "Place", "RecordCodec"]

_MISSING = math.nan
"""Stands for a known-author score or a coverage that is None."""


class Place(NamedTuple):
    """Where a document is: its file in the walk (see `DiscoveredFile`), and its position among those of the file."""

    root: int
    below: str
    position: int = 0

    @property
    def order_key(self) -> tuple[OrderKey, int]:
        """Sorts documents in the order of their rows."""
        return order_key(self.root, self.below), self.position


class Entry(NamedTuple):
    """A record, where its document is, and the version of the file (see `DiscoveredFile`), if the walk knew one."""

    place: Place
    record: Attribution
    version: str | None = None


class RecordCodec:
    """Encodes and decodes records whose rankings name only these `authors`."""

    def __init__(self, authors: Sequence[str]) -> None:
        self._authors = tuple(authors)
        self._index_of = {author: index for index, author in enumerate(self._authors)}

    def encode(self, place: Place, record: Attribution, version: str | None = None) -> bytes:
        """One line, with its end. Raises `KeyError` for an author that is not in the list."""
        ranking, evidence, score, coverage = record.ranking, record.evidence, record.known_author_score, record.coverage
        if type(ranking) is Ranking and (ranking.authors is self._authors or ranking.authors == self._authors):
            ranked, numbers = "null", _little_endian(ranking.packed)
        else:
            ranked, numbers = str(len(ranking)), self._pack(ranking)
        others = (*evidence, _MISSING if score is None else score, _MISSING if coverage is None else coverage)
        numbers += _doubles(len(others)).pack(*others)
        packed = b2a_base64(numbers, newline=False).decode()
        ref, encoding, sha256 = record.ref, record.encoding, record.sha256
        error, reason, reader, expert = record.error, record.reason, record.reader, record.expert
        return (
            f"[{place.root},{quote(place.below)},{place.position},{quote(ref.source)},"
            f"{'null' if ref.member is None else quote(ref.member)},"
            f'"{record.status}",{record.windows},{record.tokens},{"null" if encoding is None else quote(encoding)},'
            f"{'null' if sha256 is None else quote(sha256)},{'null' if error is None else quote(error)},"
            f"{'null' if reason is None else quote(reason)},{'true' if record.adapted else 'false'},"
            f"{'null' if reader is None else quote(reader)},{'null' if expert is None else quote(expert)},"
            f"{'null' if record.explanation is None else quote(record.explanation)},"
            f'{ranked},{len(evidence)},"{packed}"{"" if version is None else "," + quote(version)}]\n'
        ).encode()

    def _pack(self, ranking: Sequence[tuple[str, float]]) -> bytes:
        """Any ranking: the indexes of its authors, then their probabilities."""
        indexes = [self._index_of[name] for name, _ in ranking]
        return struct.pack(f"<{len(ranking)}I{len(ranking)}d", *indexes, *(p for _, p in ranking))

    def _unpack(self, data: bytes) -> tuple[tuple[str, float], ...]:
        count = len(data) // 12
        numbers = struct.unpack(f"<{count}I{count}d", data)
        return tuple((self._authors[index], p) for index, p in zip(numbers[:count], numbers[count:], strict=True))

    def decode(self, line: bytes) -> Entry:
        """The entry that `encode` wrote. Raises `ValueError` for anything else."""
        try:
            return self._decode(json.loads(line))
        except (TypeError, IndexError, KeyError, RecursionError, struct.error) as error:
            raise ValueError(f"not an entry: {error}") from None

    def _decode(self, fields: Any) -> Entry:
        root, below, position, source, member, status, windows, tokens, encoding, sha256, error, *packed = fields
        reason, adapted, reader, expert, explanation, ranked, seen, text, *rest = packed
        version = rest[0] if len(rest) == 1 else None
        counts, strings = (root, position, windows, tokens, seen), (below, source)
        if not (
            all(type(value) is int and value >= 0 for value in counts)
            and (ranked is None or (type(ranked) is int and ranked >= 0))
            and all(isinstance(value, str) for value in strings)
            and all(
                value is None or isinstance(value, str)
                for value in (member, encoding, sha256, error, reason, reader, explanation, version)
            )
            and len(rest) <= 1
            and status in get_args(Status)
            and (expert is None or expert in get_args(Expert))
            and type(adapted) is bool
        ):
            raise ValueError("a field has the wrong type")
        for name in () if is_url(source) else strings:
            os.fsencode(name)  # raises ValueError for a name that no file can have
        data = a2b_base64(text, strict_mode=True)
        size = 8 * len(self._authors) if ranked is None else 12 * ranked
        others = _doubles(seen + 2).unpack(data[size:])
        score, coverage = (None if math.isnan(number) else number for number in others[seen:])
        record = Attribution(
            ref=DocumentRef(source, member),
            status=status,
            ranking=(
                Ranking.of(self._authors, _little_endian(data[:size])) if ranked is None else self._unpack(data[:size])
            ),
            windows=windows,
            tokens=tokens,
            encoding=encoding,
            sha256=sha256,
            error=error,
            evidence=others[:seen],
            known_author_score=score,
            coverage=coverage,
            reason=reason,
            adapted=adapted,
            reader=reader,
            expert=expert,
            explanation=explanation,
        )
        return Entry(Place(root, below, position), record, version)


@lru_cache(maxsize=256)
def _doubles(count: int) -> struct.Struct:
    return struct.Struct(f"<{count}d")


def _little_endian(doubles: bytes) -> bytes:
    """Swap the bytes of float64 on machines that are not little-endian."""
    if sys.byteorder == "little":
        return doubles
    swapped = array("d", doubles)
    swapped.byteswap()
    return swapped.tobytes()
