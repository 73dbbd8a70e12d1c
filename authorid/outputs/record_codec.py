"""The encoding of records in the journal: exact, compact and fast.

An entry is a JSON array on one line. Its numbers (the probabilities of the ranking, the evidence, the known-author
score, the coverage) are one base64 string of little-endian float64, followed by the positions of the ranked authors in
the list of authors, which the journal's header holds once. The line is put together by hand: `json.dumps` would take
six times as long, and this runs for every document.
"""

from __future__ import annotations

import json
import math
import os
import struct
from binascii import a2b_base64, b2a_base64
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from json.encoder import encode_basestring_ascii as quote
from operator import itemgetter
from typing import Any, get_args

from authorid.inputs.discovery import OrderKey, order_key
from authorid.inputs.documents import DocumentRef
from authorid.outputs.records import Record, Status

__all__ = ["Entry", "RecordCodec"]

_MISSING = math.nan
"""Stands for a known-author score or a coverage that is None."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A record, and where its file is in the walk (see `DiscoveredFile`)."""

    root: int
    below: str
    record: Record

    @property
    def order_key(self) -> OrderKey:
        """Sorts entries in walk order."""
        return order_key(self.root, self.below)


class RecordCodec:
    """Encodes and decodes records whose rankings name only these `authors`."""

    def __init__(self, authors: Sequence[str]) -> None:
        self._authors = tuple(authors)
        self._index_of = {author: index for index, author in enumerate(self._authors)}
        self._index_type = "H" if len(self._authors) <= 1 << 16 else "I"

    def encode(self, root: int, below: str, record: Record) -> bytes:
        """One line, with its end. Raises `KeyError` for an author that is not in the list."""
        ranking, evidence, score, coverage = record.ranking, record.evidence, record.known_author_score, record.coverage
        # Without `strict`, which takes half a microsecond: a ranking consists of pairs.
        names, probabilities = zip(*ranking) if ranking else ((), ())  # noqa: B905
        others = (*evidence, _MISSING if score is None else score, _MISSING if coverage is None else coverage)
        numbers = _layout(len(names), len(others), self._index_type).pack(
            *probabilities, *others, *self._indexes(names)
        )
        packed = b2a_base64(numbers, newline=False).decode()
        ref, encoding, sha256 = record.ref, record.encoding, record.sha256
        error, reason = record.error, record.reason
        return (
            f"[{root},{quote(below)},{quote(ref.source)},{'null' if ref.member is None else quote(ref.member)},"
            f'"{record.status}",{record.windows},{record.tokens},{"null" if encoding is None else quote(encoding)},'
            f"{'null' if sha256 is None else quote(sha256)},{'null' if error is None else quote(error)},"
            f'{"null" if reason is None else quote(reason)},{len(names)},{len(evidence)},"{packed}"]\n'
        ).encode()

    def _indexes(self, names: Sequence[str]) -> Sequence[int]:
        if len(names) < 2:  # itemgetter returns a tuple only for two names or more
            return [self._index_of[name] for name in names]
        indexes: tuple[int, ...] = itemgetter(*names)(self._index_of)
        return indexes

    def decode(self, line: bytes) -> Entry:
        """The entry that `encode` wrote. Raises `ValueError` for anything else."""
        try:
            return self._decode(json.loads(line))
        except (TypeError, IndexError, KeyError, RecursionError, struct.error) as error:
            raise ValueError(f"not an entry: {error}") from None

    def _decode(self, fields: Any) -> Entry:
        root, below, source, member, status, windows, tokens, encoding, sha256, error, reason, *packed = fields
        ranked, seen, text = packed
        whole, strings = (root, windows, tokens, ranked, seen), (below, source)
        if not (
            all(type(value) is int and value >= 0 for value in whole)
            and all(isinstance(value, str) for value in strings)
            and all(value is None or isinstance(value, str) for value in (member, encoding, sha256, error, reason))
            and status in get_args(Status)
        ):
            raise ValueError("a field has the wrong type")
        for name in (below, source):
            os.fsencode(name)  # raises ValueError for a name that no file can have
        data = a2b_base64(text, strict_mode=True)
        layout = _layout(ranked, seen + 2, self._index_type)
        if len(data) != layout.size:
            raise ValueError("the numbers have the wrong size")
        numbers = layout.unpack(data)
        end = ranked + seen
        probabilities, evidence, indexes = numbers[:ranked], numbers[ranked:end], numbers[end + 2 :]
        score, coverage = (None if math.isnan(number) else number for number in numbers[end : end + 2])
        record = Record(
            ref=DocumentRef(source, member),
            status=status,
            ranking=tuple((self._authors[index], p) for index, p in zip(indexes, probabilities, strict=True)),
            windows=windows,
            tokens=tokens,
            encoding=encoding,
            sha256=sha256,
            error=error,
            evidence=evidence,
            known_author_score=score,
            coverage=coverage,
            reason=reason,
        )
        return Entry(root, below, record)


@lru_cache(maxsize=256)
def _layout(ranked: int, others: int, index_type: str) -> struct.Struct:
    """The probabilities of `ranked` authors, `others` more numbers, and the indexes of the authors."""
    return struct.Struct(f"<{ranked + others}d{ranked}{index_type}")
