"""The journal: every finished row, as soon as it is known, in a file that a crash can only cut short.

A journal is lines that begin with their CRC32. The first says, as JSON, what the run was asked for; each of the others
has the place of one input in the walk and its row as it stands in the results, which goes into them again to the letter
when the run is resumed. Rows come in walk order, so a journal is always a prefix of the run. Whatever a crash or a full
disk did to the end of the file, reading stops at the first line that is not whole. An empty journal says only that a
run was asked for, and has still to begin.

A row's line was made for the results anyway, so what the journal costs is a checksum. And the thread that takes rows
comes by with its caches cold, so it only puts them down: lines are made, and handed to the system, for a group of rows.
"""

from __future__ import annotations

import json
import os
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from json.encoder import encode_basestring_ascii
from pathlib import Path
from typing import Any, BinaryIO

from authorid.inputs.documents import DiscoveredFile
from authorid.outputs import atomic

__all__ = ["FORMAT", "Entry", "Journal", "announce", "entries", "header", "is_begun"]

FORMAT = 3

_FLUSH_SECONDS = 0.05
"""Rows that come faster than this leave the process in groups: a kill costs at most the rows of this time."""

_GROUP = 128
"""Rows that may wait for one another, at most."""

_SYNC_SECONDS = 1.0
"""A power cut costs at most the rows of about this time; they are scored again."""

_SYNC_SHARE = 0.02
"""On slow disks, how much of the run may go into waiting for them."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One row of a journal: the place of its input in the walk (see `DiscoveredFile.place`), and its `line` in the results."""

    root: int
    below: str
    line: bytes

    @property
    def place(self) -> tuple[int, tuple[bytes, ...]]:
        """Sorts entries in walk order."""
        return DiscoveredFile("", None, self.root, self.below).place

    @classmethod
    def read(cls, payload: bytes) -> Entry:
        """The entry that `_payload` wrote; raises `ValueError`."""
        root, _, rest = payload.decode("utf-8").partition(" ")
        below, end = _DECODER.raw_decode(rest) if rest.startswith('"') else ("", 0)
        if rest[end : end + 1] != " ":
            raise ValueError("no entry")
        os.fsencode(below)  # a name that there can be, or a ValueError
        return cls(int(root), below, rest[end + 1 :].encode())


_DECODER = json.JSONDecoder()


def _payload(root: int, below: str, line: bytes) -> bytes:
    # A name may hold anything, line breaks too; a row of results is one line.
    return b"%d %b %b" % (root, encode_basestring_ascii(below).encode("ascii"), line)


def _line(payload: bytes) -> bytes:
    """A line of the journal, with a `payload` that is a line itself."""
    return b"%08x %b" % (zlib.crc32(payload), payload)


def _payloads(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        checksum, _, payload = line.partition(b" ")
        if checksum != b"%08x" % zlib.crc32(payload) or not payload.endswith(b"\n"):
            return
        yield payload


def announce(path: Path) -> None:
    """Put an empty journal at `path`, for a run that has still to begin. Raises `OSError`."""
    os.close(atomic.create(path))
    atomic.sync_directory(path.parent)


def is_begun(path: Path) -> bool:
    """Whether there is a journal at `path` with more in it than `announce` puts there."""
    return path.exists() and path.stat().st_size > 0


def header(path: Path) -> dict[str, Any] | None:
    """The settings of the run that wrote the journal at `path`; None when there is no (whole) journal there."""
    try:
        with path.open("rb") as stream:
            payload = next(_payloads(stream), b"")
        record = json.loads(payload)
    except (FileNotFoundError, ValueError):
        return None
    if not isinstance(record, dict) or record.get("journal") != FORMAT:
        return None
    settings: dict[str, Any] = record["settings"]
    return settings


def entries(path: Path) -> Iterator[Entry]:
    """The whole rows of the journal at `path`, in walk order."""
    with path.open("rb") as stream:
        payloads = _payloads(stream)
        next(payloads, None)
        for payload in payloads:
            try:
                entry = Entry.read(payload)
            except ValueError:
                return  # whole, but no row: what follows is not to be believed either
            yield entry


class Journal:
    """A journal that is being written. Raises `OSError` when the disk does not take it.

    A row has left the process a moment after `append` (a kill loses no more) and is on the disk about a second later
    (a power cut loses no more), whether or not others follow. What is lost is scored again. `rows` counts those that
    have left the process; once the disk has failed to take them, those that are on it. `mode` is the file's (see
    `atomic.create`).
    """

    def __init__(self, path: Path, settings: dict[str, Any], mode: int = 0o666) -> None:
        self.path = path
        self.rows = 0
        self._waiting: list[tuple[int, str, bytes]] = []
        self._failure: OSError | None = None
        self._synced, self._synced_rows = True, 0
        self._sync_at = 0.0
        # Whoever holds it may use the file. Syncing is done under it too: a disk that falls behind holds up the run,
        # rather than letting rows pile up.
        self._turn = threading.RLock()
        self._closing = threading.Event()
        self._lulls = threading.Thread(target=self._keep_time, name="authorid-journal", daemon=True)
        self._descriptor = atomic.create(path, mode)
        try:
            self._write(_line(f"{json.dumps({'journal': FORMAT, 'settings': settings})}\n".encode("ascii")))
            self.sync()
            self._lulls.start()
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, root: int, below: str, line: bytes) -> None:
        """Add the place of an input in the walk, and the `line` of its row."""
        self._waiting.append((root, below, line))
        if len(self._waiting) >= _GROUP or self._failure is not None:
            self._on_time()

    def flush(self) -> None:
        """Hand everything so far to the system: from now on, it survives this process."""
        with self._turn:
            if self._failure is not None:
                raise self._failure
            # Rows may be added meanwhile: those are for the next time.
            if count := len(self._waiting):
                data = b"".join([_line(_payload(*kept)) for kept in self._waiting[:count]])
                del self._waiting[:count]
                self._write(data)
                self.rows += count

    def sync(self) -> None:
        """Put everything so far on the disk: from now on, it survives the machine."""
        with self._turn:
            self.flush()
            if self._synced:
                return
            started = time.monotonic()
            try:
                atomic.sync(self._descriptor)
            except OSError as error:
                # The system may have dropped what it had taken, and would not say so twice.
                self._failure, self.rows = error, self._synced_rows
                raise
            self._synced, self._synced_rows = True, self.rows
            now = time.monotonic()
            self._sync_at = now + max(_SYNC_SECONDS, (now - started) / _SYNC_SHARE)

    def close(self) -> None:
        """Close the file."""
        self._closing.set()
        self._lulls.join()
        os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        self._synced = False
        atomic.write_all(self._descriptor, data)

    def _on_time(self) -> None:
        if time.monotonic() >= self._sync_at:
            self.sync()
        else:
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
