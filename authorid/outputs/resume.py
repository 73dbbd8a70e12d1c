"""What an interrupted run already knew, looked up while the walk of the resumed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from itertools import dropwhile
from pathlib import Path
from typing import Any

from authorid.inputs.discovery import DiscoveredFile, OrderKey
from authorid.inputs.documents import Document, Failure
from authorid.outputs.journal import FORMAT, Journal, read_entries, read_header, remove_journal
from authorid.outputs.record_codec import Entry, Place
from authorid.outputs.records import Attribution

__all__ = ["EarlierRun", "FileDigest", "differences", "merge_journals"]

FileDigest = Callable[[DiscoveredFile], str | None]
"""Gives the SHA-256 of a file as it is now, or None if it cannot be read."""

_EXAMPLES = 5


class EarlierRun:
    """Merges the entries of a journal with a new walk, both in walk order, and holds one entry at a time.

    The record of a file that is one document is kept if the file has the same version or, where there are no versions,
    if `file_digest` gives the same SHA-256: the file is not read for its documents then. Files with several documents
    are read again, and a record is kept if the document at its position is the same. Documents that failed are always
    tried again. `kept`, `changed` and `vanished` are counts; `names` holds the first few documents that changed or
    vanished.
    """

    def __init__(self, entries: Iterator[Entry], file_digest: FileDigest) -> None:
        self.kept = self.changed = self.vanished = 0
        self.names: list[str] = []
        self._entries = entries
        self._file_digest = file_digest
        self._next = next(entries, None)

    @property
    def exhausted(self) -> bool:
        """Whether the walk has passed the last entry."""
        return self._next is None

    def recall(
        self, file: DiscoveredFile, items: Iterator[Document | Failure]
    ) -> Iterator[Document | Failure | Attribution]:
        """Yield the `items` of `file`, and for those whose record still holds, the record.

        Call this for every file, in walk order. `items` is not begun if the file has not changed and is one document.
        """
        place = Place(file.root, file.below)
        entry = self._entry_at(place, file.path)
        if entry is not None and entry.record.ref.member is None:
            self._next = next(self._entries, None)
            if self._holds(entry.record, partial(self._is_unchanged, file, entry.version)):
                yield entry.record
                return
        for position, item in enumerate(items):
            entry = self._entry_at(place._replace(position=position), file.path)
            if entry is None:
                yield item
                continue
            self._next = next(self._entries, None)
            same = self._holds(entry.record, partial(_is_record_of, item))
            yield entry.record if same else item

    def _is_unchanged(self, file: DiscoveredFile, version: str | None, record: Attribution) -> bool:
        """Whether `file` has the content of which `record` was made, when it had this `version`."""
        if version is not None and file.version is not None:
            return version == file.version
        return self._file_digest(file) == record.sha256

    def _entry_at(self, place: Place, path: str) -> Entry | None:
        """The next entry, if it is of the document at `place`. Those before it have vanished."""
        key = place.order_key
        while self._next is not None and self._next.place.order_key < key:
            self._skip()
        entry = self._next
        if entry is None or entry.place.order_key != key or entry.record.ref.source != path:
            return None
        return entry

    def _holds(self, record: Attribution, is_same: Callable[[Attribution], bool]) -> bool:
        """Whether `record` is still right; counts what became of it."""
        if record.status == "failed":
            return False
        if is_same(record):
            self.kept += 1
            return True
        self.changed += 1
        self._add_example(f"{record.ref} (changed)")
        return False

    def finish(self) -> None:
        """End the walk: the files of all entries that are left have vanished."""
        while self._next is not None:
            self._skip()

    def _skip(self) -> None:
        if self._next is not None:
            self.vanished += 1
            self._add_example(f"{self._next.record.ref} (vanished)")
        self._next = next(self._entries, None)

    def _add_example(self, name: str) -> None:
        if len(self.names) < _EXAMPLES:
            self.names.append(name)


def _is_record_of(item: Document | Failure, record: Attribution) -> bool:
    """Whether `record` is that of the document `item`."""
    return (
        isinstance(item, Document)
        and (item.ref, item.sha256) == (record.ref, record.sha256)
        and (item.encoding, item.reader) == (record.encoding, record.reader)
    )


def differences(before: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the fingerprints of two runs, one line for each difference."""
    lines = []
    for name in sorted(before.keys() | now.keys()):
        if name == "paths" and before.get(name) != now.get(name):
            lines.append(_different_paths(before.get(name) or [], now.get(name) or []))
        elif isinstance(before.get(name), dict) and isinstance(now.get(name), dict):
            lines += [f"{name} {line}" for line in differences(before[name], now[name])]
        elif before.get(name) != now.get(name):
            lines.append(f"{name} was {_shorten(before.get(name))}, now {_shorten(now.get(name))}")
    return lines


def _different_paths(before: list[str], now: list[str]) -> str:
    if len(before) != len(now):
        return f"paths were {len(before)}, now {len(now)}"
    index = next(i for i, (a, b) in enumerate(zip(before, now, strict=True)) if a != b)
    return f"path {index + 1} was {before[index]!r}, now {now[index]!r}"


def _shorten(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def merge_journals(newer: Path, older: Path, target: Path) -> None:
    """Write to `target` the entries of journal `newer`, then those of `older` that come after them in walk order."""
    header = read_header(older)
    if header is None or header.format != FORMAT:
        raise ValueError(f"{older} is not a journal of this format")
    remove_journal(target)
    merged = Journal(target, header.fingerprint, header.authors, older.stat().st_mode)
    try:
        last: tuple[OrderKey, int] = ((-1, ()), 0)
        for entry in read_entries(newer):
            merged.append(entry.place, entry.record, entry.version)
            last = entry.place.order_key
        for entry in dropwhile(lambda entry: entry.place.order_key <= last, read_entries(older)):
            merged.append(entry.place, entry.record, entry.version)
        merged.sync()
    finally:
        merged.close()
