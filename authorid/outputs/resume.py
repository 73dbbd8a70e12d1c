"""What an interrupted run already knew, looked up while the walk of the resumed run goes on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

from authorid.inputs.discovery import DiscoveredFile, OrderKey
from authorid.outputs.journal import FORMAT, Journal, read_entries, read_header, remove_journal
from authorid.outputs.record_codec import Entry
from authorid.outputs.records import Attribution

__all__ = ["EarlierRun", "FileDigest", "differences", "merge_journals"]

FileDigest = Callable[[DiscoveredFile], str | None]
"""Gives the SHA-256 of a file as it is now, or None if it cannot be read."""

_EXAMPLES = 5


class EarlierRun:
    """Merges the entries of a journal with a new walk, both in walk order, and holds one entry at a time.

    A record is kept if its file is still there and `file_digest` gives the same SHA-256. Documents that failed are
    always tried again. `kept`, `changed` and `vanished` are counts; `names` holds the first few files that changed or
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

    def recall(self, file: DiscoveredFile) -> Attribution | None:
        """The record of `file`, if there is one that still holds. Call this for every file, in walk order."""
        key = file.order_key
        while self._next is not None and self._next.order_key < key:
            self._skip()
        if self._next is None or self._next.order_key != key or self._next.record.ref.source != file.path:
            return None
        record = self._next.record
        self._next = next(self._entries, None)
        if record.status == "failed":
            return None
        if self._file_digest(file) == record.sha256:
            self.kept += 1
            return record
        self.changed += 1
        self._add_example(f"{file.path} (changed)")
        return None

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
        last: OrderKey = (-1, ())
        for entry in read_entries(newer):
            merged.append(entry.root, entry.below, entry.record)
            last = entry.order_key
        for entry in dropwhile(lambda entry: entry.order_key <= last, read_entries(older)):
            merged.append(entry.root, entry.below, entry.record)
        merged.sync()
    finally:
        merged.close()
