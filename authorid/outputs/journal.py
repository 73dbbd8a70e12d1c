"""The journal: every finished record, as soon as it is known, in a file that a crash can only cut short.

A journal is lines that begin with their CRC32. The first line is the header, as JSON: the version of the journal's
format, the authors of the model, and the fingerprint of the run. Every other line is one `Entry`: a complete record,
from which a resumed run encodes the row again in any format. Records come in walk order, so a journal is always a
prefix of the run. Whatever a crash or a full disk did to the end of the file, reading stops at the first line that is
not intact. An empty journal only means that a run was requested and has not begun.

A record is encoded as soon as it is appended, while its numbers are in the processor's caches. Keeping records until
their group is written would also make them long-lived objects, which the garbage collector looks through again and
again: together that costs twice as much. Lines are given to the system for a group of records at a time.
"""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import threading
import time
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from authorid import portability
from authorid.outputs import atomic
from authorid.outputs.record_codec import Entry, Place, RecordCodec
from authorid.outputs.records import Attribution
from authorid.portability import open_flags

__all__ = [
    "FORMAT",
    "Journal",
    "JournalHeader",
    "checked_line",
    "create_empty",
    "intact_payload",
    "is_begun",
    "is_foreign",
    "read_entries",
    "read_header",
    "remove_journal",
]

FORMAT = 8
"""The version of the format. It changes whenever this release could not read an older journal, or the reverse."""

_FLUSH_SECONDS = 0.05
"""Records that come faster than this leave the process in groups. A kill loses at most the records of this time."""

_GROUP = 128
"""The maximum number of records that wait for each other."""

_SYNC_SECONDS = 1.0
"""A power cut loses at most the records of about this time; they are scored again."""

_SYNC_SHARE = 0.02
"""On slow disks, the share of the run time that may be spent on syncing."""


class JournalHeader(NamedTuple):
    """The first line of a journal. If `format` is not `FORMAT`, the rest is unknown and stays empty."""

    format: int
    fingerprint: dict[str, Any]
    authors: tuple[str, ...] = ()


def checked_line(payload: bytes) -> bytes:
    """A line with its checksum, made of a `payload` that ends with a line break."""
    return b"%08x %b" % (zlib.crc32(payload), payload)


def intact_payload(line: bytes) -> bytes | None:
    """The payload of a line that `checked_line` made; None if it is not intact."""
    checksum, _, payload = line.partition(b" ")
    return payload if checksum == b"%08x" % zlib.crc32(payload) and payload.endswith(b"\n") else None


def _payloads(stream: BinaryIO) -> Iterator[bytes]:
    for line in stream:
        payload = intact_payload(line)
        if payload is None:
            return
        yield payload


def create_empty(path: Path) -> None:
    """Create an empty journal at `path`, for a run that has not begun yet. Raises `OSError`."""
    os.close(atomic.create(path))
    atomic.sync_directory(path.parent)


def is_begun(path: Path) -> bool:
    """Whether there is a journal at `path` that is not empty."""
    return path.exists() and path.stat().st_size > 0


_EXAMPLE = b'00000000 {"journal": '
_BEGINNING = re.compile(rb"[0-9a-f]{8} \{\"journal\": ")


def is_foreign(path: Path) -> bool:
    """Whether there is something at `path` that no run has left, not even one that was killed. Raises `OSError`."""
    try:
        descriptor = os.open(path, open_flags("O_RDONLY", "O_NOFOLLOW", "O_NONBLOCK"))
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENXIO):  # nothing, a symbolic link, a socket
            return error.errno != errno.ENOENT
        raise
    try:
        kind = os.fstat(descriptor).st_mode
        if not stat.S_ISREG(kind) and not stat.S_ISDIR(kind):
            return True
        # A power cut may leave only a part of the first line, with NULs for the rest.
        beginning = os.read(descriptor, len(_EXAMPLE)).rstrip(b"\0")
    finally:
        os.close(descriptor)
    return not _BEGINNING.match(beginning + _EXAMPLE[len(beginning) :])


def remove_journal(path: Path) -> None:
    """Remove the journal at `path` if there is one. What is not a journal is left alone."""
    if not is_foreign(path):
        atomic.remove(path)


def read_header(path: Path) -> JournalHeader | None:
    """The header of the journal at `path`; None if there is no journal, or if its first line is not intact."""
    try:
        with path.open("rb") as stream:
            return _parse_header(next(_payloads(stream), b""))
    except FileNotFoundError:
        return None


def _parse_header(payload: bytes) -> JournalHeader | None:
    try:
        fields = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    if not isinstance(fields, dict) or type(fields.get("journal")) is not int:
        return None
    if fields["journal"] != FORMAT:
        return JournalHeader(fields["journal"], {})
    return JournalHeader(FORMAT, fields["fingerprint"], tuple(fields["authors"]))


def read_entries(path: Path) -> Iterator[Entry]:
    """Yield the intact entries of the journal at `path`, in walk order."""
    with path.open("rb") as stream:
        payloads = _payloads(stream)
        header = _parse_header(next(payloads, b""))
        if header is None or header.format != FORMAT:
            return
        codec = RecordCodec(header.authors)
        for payload in payloads:
            try:
                entry = codec.decode(payload)
            except ValueError:
                return  # the checksum is right, but this is not an entry: what follows cannot be trusted either
            yield entry


class Journal:
    """A journal that is being written. Every method raises `OSError` if the disk fails.

    A record leaves the process a moment after `append`, so that a kill loses nothing older, and is on the disk about a
    second later, so that a power cut loses nothing older, whether or not more records follow. What is lost is scored
    again. `rows` counts the records that have left the process; after a failure of the disk, those that are on it.
    Records name only the `authors`. `mode` is the file's mode (see `atomic.create`).
    """

    def __init__(self, path: Path, fingerprint: dict[str, Any], authors: Sequence[str] = (), mode: int = 0o666) -> None:
        self.path = path
        self.rows = 0
        self._codec = RecordCodec(authors)
        self._waiting: list[bytes] = []
        self._failure: OSError | None = None
        self._synced, self._synced_rows = True, 0
        self._sync_at = 0.0
        # Protects the file. Syncing happens under this lock too: a disk that is too slow then holds up the run, instead
        # of letting records accumulate in memory.
        self._lock = threading.RLock()
        self._closing = threading.Event()
        self._timer = threading.Thread(target=self._flush_regularly, name="authorid-journal", daemon=True)
        self._descriptor = atomic.create(path, mode)
        try:
            header = {"journal": FORMAT, "authors": list(authors), "fingerprint": fingerprint}
            self._write(checked_line(f"{json.dumps(header)}\n".encode("ascii")))
            self.sync()
            self._timer.start()
        except BaseException:
            os.close(self._descriptor)
            raise

    def append(self, place: Place, record: Attribution) -> None:
        """Add the record of the document at `place`. Raises `KeyError` for an unknown author."""
        self._waiting.append(checked_line(self._codec.encode(place, record)))
        if len(self._waiting) >= _GROUP or self._failure is not None:
            self._flush_or_sync()

    def flush(self) -> None:
        """Give all records so far to the system: from now on, they survive this process."""
        with self._lock:
            if self._failure is not None:
                raise self._failure
            # Records may be added meanwhile; they are left for the next flush.
            if count := len(self._waiting):
                data = b"".join(self._waiting[:count])
                del self._waiting[:count]
                self._write(data)
                self.rows += count

    def sync(self) -> None:
        """Put all records so far on the disk: from now on, they survive a power cut."""
        with self._lock:
            self.flush()
            if self._synced or self._closing.is_set():
                return
            started = time.monotonic()
            try:
                atomic.sync(self._descriptor)
            except OSError as error:
                # The system may have dropped data that it had accepted, and reports that only once.
                self._failure, self.rows = error, self._synced_rows
                raise
            self._synced, self._synced_rows = True, self.rows
            now = time.monotonic()
            self._sync_at = now + max(_SYNC_SECONDS, (now - started) / _SYNC_SHARE)

    def is_at(self, path: Path) -> bool:
        """Whether this journal is the file at `path`; call it before `close`."""
        return atomic.is_at(self._descriptor, path)

    def publish(self, target: Path) -> None:
        """Rename the journal to `target`, replacing what is there, and go on writing it."""
        with self._lock:
            if portability.MOVES_OPEN_FILES:
                atomic.publish(self.path, target)
            else:
                os.close(self._descriptor)
                try:
                    atomic.publish(self.path, target)
                    self.path = target
                finally:
                    self._descriptor = os.open(self.path, open_flags("O_WRONLY", "O_APPEND"))

    def close(self) -> None:
        """Close the file; a second call does nothing."""
        if not self._closing.is_set():
            self._closing.set()
            self._timer.join()
            os.close(self._descriptor)

    def _write(self, data: bytes) -> None:
        self._synced = False
        atomic.write_all(self._descriptor, data)

    def _flush_or_sync(self) -> None:
        if time.monotonic() >= self._sync_at:
            self.sync()
        else:
            self.flush()

    def _flush_regularly(self) -> None:
        """Run by a thread, so that a record need not wait for the next one, which may take long to arrive."""
        while not self._closing.wait(_FLUSH_SECONDS):
            with self._lock:
                try:
                    self._flush_or_sync()
                except OSError as error:
                    # Raised to the caller at its next call. Nothing may follow, since the last line may be incomplete.
                    self._failure = error
                    return
