"""The journal: every finished row, as soon as it is known, in a file that a crash can only cut short.

A journal is lines of ``CRC32 JSON``. The first says what the run was asked for; each of the others is the row of one
input with its place in the walk. Rows come in walk order, so a journal is always a prefix of the run. Whatever a
crash or a full disk did to the end of the file, reading stops at the first line that is not whole.

What it costs is the processor's time: all threads of a run share one interpreter, and the thread that takes rows wakes
for a few at a time with its caches cold. So a row is only cut down to what is kept of it, and made into a line later,
in a group. (Whole rows must not wait: their many tuples set off the garbage collector, at more than was gained.) And
half of a line's time went into the decimals of its probabilities, so they are hexadecimal: the bytes of the numbers.
"""

from __future__ import annotations

import json
import os
import struct
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, fields
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO

from authorid.attribution import Attribution
from authorid.documents import Found
from authorid.results import durable

__all__ = ["FORMAT", "Entry", "Journal", "entries", "header"]

FORMAT = 2

_FLUSH_SECONDS = 0.05
"""Rows that come faster than this leave the process in groups: a kill costs at most the rows of this time."""

_GROUP = 128
"""Rows that may wait for one another: few enough to be bounded, and not to set off the garbage collector."""

_SYNC_SECONDS = 1.0
"""A power cut costs at most the rows of about this time; they are scored again."""

_SYNC_SHARE = 0.02
"""On slow disks, how much of the run may go into waiting for them."""

_encode = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


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

    @classmethod
    def read(cls, record: list[Any]) -> Entry:
        """The entry that `_row_line` wrote as `record`."""
        root, below, authors, numbers, *others = record
        probabilities = struct.unpack(f"<{len(authors)}d", bytes.fromhex(numbers))
        values = dict(zip(_OTHERS, others, strict=True))
        values["evidence"] = tuple(values["evidence"])
        return cls(root, below, Attribution(index=0, ranking=tuple(zip(authors, probabilities, strict=True)), **values))


_OTHERS = tuple(field.name for field in fields(Attribution) if field.name not in ("index", "ranking"))
"""The fields of a row that stand in its line as they are, in this order."""

_others = attrgetter(*_OTHERS)


_Kept = tuple[int, str, tuple[tuple[str, float], ...], tuple[Any, ...]]
"""What is kept of an entry: root, below, the likeliest authors, and `_OTHERS`."""


def _row_line(kept: _Kept) -> bytes:
    """The line of an entry. Exact: floats and paths come back."""
    root, below, ranking, others = kept
    authors, probabilities = zip(*ranking, strict=True) if ranking else ((), ())
    return _line((root, below, authors, struct.pack(f"<{len(ranking)}d", *probabilities).hex(), *others))


def _line(record: dict[str, Any] | tuple[Any, ...]) -> bytes:
    payload = _encode(record).encode("ascii")
    return b"%08x %s\n" % (zlib.crc32(payload), payload)


def _records(stream: BinaryIO) -> Iterator[Any]:
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
    if not isinstance(record, dict) or record.get("journal") != FORMAT:
        return None
    settings: dict[str, Any] = record["settings"]
    return settings


def entries(path: Path) -> Iterator[Entry]:
    """The whole rows of the journal at `path`, in walk order."""
    with path.open("rb") as stream:
        records = _records(stream)
        next(records, None)
        for record in records:
            try:
                entry = Entry.read(record)
            except (ValueError, TypeError, KeyError, struct.error):
                return  # whole, but no row: what follows is not to be believed either
            yield entry


class Journal:
    """A journal that is being written. Raises `OSError` when the disk does not take it.

    A row has left the process a moment after `append` (a kill loses no more) and is on the disk about a second later
    (a power cut loses no more), whether or not others follow. What is lost is scored again. `ranked` is how many
    authors a row keeps; `rows` counts those that have left the process.
    """

    def __init__(self, path: Path, settings: dict[str, Any], ranked: int) -> None:
        self.path = path
        self.rows = 0
        self._ranked = ranked
        self._waiting: list[_Kept] = []
        self._failure: OSError | None = None
        self._synced = True
        self._flush_at = self._sync_at = 0.0
        # Whoever holds it may use the file. Syncing is done under it too: a disk that falls behind holds up the run,
        # rather than letting rows pile up.
        self._turn = threading.RLock()
        self._closing = threading.Event()
        self._lulls = threading.Thread(target=self._keep_time, name="authorid-journal", daemon=True)
        self._descriptor = durable.create(path)
        try:
            self._write(_line({"journal": FORMAT, "settings": settings}))
            self.sync()
            self._lulls.start()
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, root: int, below: str, row: Attribution) -> None:
        """Add a `row` and the place of its input in the walk."""
        with self._turn:
            self._waiting.append((root, below, row.ranking[: self._ranked], _others(row)))
            self._on_time()

    def flush(self) -> None:
        """Hand everything so far to the system: from now on, it survives this process."""
        with self._turn:
            if self._failure is not None:
                raise self._failure
            if self._waiting:
                data, count = b"".join(map(_row_line, self._waiting)), len(self._waiting)
                self._waiting.clear()
                self._write(data)
                self.rows += count

    def sync(self) -> None:
        """Put everything so far on the disk: from now on, it survives the machine."""
        with self._turn:
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
        self._closing.set()
        self._lulls.join()
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        self._synced = False
        durable.write_all(self._descriptor, data)
        self._flush_at = time.monotonic() + _FLUSH_SECONDS

    def _on_time(self) -> None:
        now = time.monotonic()
        if now >= self._sync_at:
            self.sync()
        elif now >= self._flush_at or len(self._waiting) >= _GROUP:
            self.flush()

    def _keep_time(self) -> None:
        """Run by a thread, so that rows need not wait for the next one, which may be long in coming."""
        while not self._closing.wait(_FLUSH_SECONDS):
            with self._turn:
                try:
                    self._on_time()
                except OSError as error:
                    # For the caller, as soon as it comes by. Nothing may follow what is perhaps half a line.
                    self._failure = error
                    return
