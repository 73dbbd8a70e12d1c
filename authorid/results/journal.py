"""The journal: every finished row, as soon as it is known, in a file that a crash can only cut short.

A journal is lines of ``CRC32 JSON``. The first says what the run was asked for; each of the others is the row of one
input with its place in the walk. Rows come in walk order, so a journal is always a prefix of the run. Whatever a
crash or a full disk did to the end of the file, reading stops at the first line that is not whole.
"""

from __future__ import annotations

import json
import os
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, BinaryIO

from authorid.attribution import Attribution
from authorid.documents import Found
from authorid.results import durable

__all__ = ["FORMAT", "Entry", "Journal", "entries", "header"]

FORMAT = 1

_FLUSH_SECONDS = 0.05
"""Rows that come faster than this leave the process in groups: a kill costs at most the rows of this time."""

_SYNC_SECONDS = 1.0
"""A power cut costs at most the rows of about this time; they are scored again."""

_SYNC_SHARE = 0.02
"""On slow disks, how much of the run may go into waiting for them."""

_encode = json.JSONEncoder(separators=(",", ":")).encode


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a journal: the place of its input in the walk (see `Found.place`), and the row itself."""

    root: int
    below: str
    row: Attribution

    @property
    def place(self) -> tuple[int, tuple[bytes, ...]]:
        """Sorts entries in walk order."""
        return Found(self.row.path, None, self.root, self.below).place

    def line(self, ranked: int) -> bytes:
        """The entry as a journal line, with the `ranked` likeliest authors. Exact: floats and paths come back."""
        record: dict[str, Any] = {"root": self.root, "below": self.below}
        for name, default in _FIELDS:
            value = getattr(self.row, name)
            if value != default:
                record[name] = value
        record["ranking"] = self.row.ranking[:ranked]
        return _line(record)

    @classmethod
    def read(cls, record: dict[str, Any]) -> Entry:
        """The entry that `line` wrote as `record`."""
        root, below = record.pop("root"), record.pop("below")
        record["ranking"] = tuple((author, probability) for author, probability in record["ranking"])
        record["evidence"] = tuple(record.get("evidence", ()))
        return cls(root, below, Attribution(index=0, **record))


_FIELDS = tuple((field.name, field.default) for field in fields(Attribution) if field.name not in ("index", "ranking"))
"""Fields of a row and what they are when nothing is written."""


def _line(record: dict[str, Any]) -> bytes:
    payload = _encode(record).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _records(stream: BinaryIO) -> Iterator[dict[str, Any]]:
    for line in stream:
        checksum, _, payload = line[:-1].partition(b" ")
        if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(payload):
            return
        yield json.loads(payload)


def header(path: Path) -> dict[str, Any] | None:
    """The settings of the run that wrote the journal at `path`; None when there is no (whole) journal there."""
    try:
        with path.open("rb") as stream:
            record = next(_records(stream), None)
    except FileNotFoundError:
        return None
    if record is None or record.get("journal") != FORMAT:
        return None
    settings: dict[str, Any] = record["settings"]
    return settings


def entries(path: Path) -> Iterator[Entry]:
    """The whole rows of the journal at `path`, in walk order."""
    with path.open("rb") as stream:
        records = _records(stream)
        next(records, None)
        yield from map(Entry.read, records)


class Journal:
    """A journal that is being written. Raises `OSError` when the disk does not take it.

    A row has left the process a moment after `append` (a kill loses no more) and is on the disk about a second later
    (a power cut loses no more). What is lost is scored again. `ranked` is how many authors a row keeps; `rows` counts
    those that have left the process.
    """

    def __init__(self, path: Path, settings: dict[str, Any], ranked: int) -> None:
        self.path = path
        self.rows = 0
        self._ranked = ranked
        self._descriptor = durable.create(path)
        self._flush_at = self._sync_at = 0.0
        self._synced = True
        self._waiting = [_line({"journal": FORMAT, "settings": settings})]
        try:
            self.sync()
            self.rows = 0
        except BaseException:
            self.close()
            raise

    def append(self, entry: Entry) -> None:
        """Add a row."""
        self._waiting.append(entry.line(self._ranked))
        now = time.monotonic()
        if now >= self._sync_at:
            self.sync()
        elif now >= self._flush_at:
            self.flush()

    def flush(self) -> None:
        """Hand everything so far to the system: from now on, it survives this process."""
        if not self._waiting:
            return
        data, count = b"".join(self._waiting), len(self._waiting)
        self._waiting.clear()
        self._synced = False
        durable.write_all(self._descriptor, data)
        self.rows += count
        self._flush_at = time.monotonic() + _FLUSH_SECONDS

    def sync(self) -> None:
        """Put everything so far on the disk: from now on, it survives the machine."""
        self.flush()
        if self._synced:
            return
        started = time.monotonic()
        durable.sync(self._descriptor)
        self._synced = True
        now = time.monotonic()
        self._sync_at = now + max(_SYNC_SECONDS, (now - started) / _SYNC_SHARE)

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)
