"""What an interrupted run already knew, handed out as the walk comes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import dropwhile
from pathlib import Path
from typing import Any

from authorid.attribution import Attribution
from authorid.documents import Found
from authorid.results.journal import Entry, Journal, entries, header

__all__ = ["Earlier", "differences", "merge"]

_NAMED = 5


class Earlier:
    """Merges the rows of a journal with a fresh walk, both in walk order, holding one row at a time.

    A row is kept when its input is still there and `digest` gives the same SHA-256; failed inputs are always tried
    again. `kept`, `changed` and `vanished` count, `names` holds the first few that changed or vanished.
    """

    def __init__(self, rows: Iterator[Entry], digest: Callable[[Found], str | None]) -> None:
        self.kept = self.changed = self.vanished = 0
        self.names: list[str] = []
        self._rows = rows
        self._digest = digest
        self._next = next(rows, None)

    @property
    def exhausted(self) -> bool:
        """Whether the walk has passed the last row."""
        return self._next is None

    def recall(self, found: Found) -> Attribution | None:
        """The row of `found`, when it still holds. To be asked for every input, in walk order."""
        place = found.place
        while self._next is not None and self._next.place < place:
            self._miss()
        entry = self._next
        if entry is None or entry.place != place or entry.row.path != found.path:
            return None
        self._next = next(self._rows, None)
        if entry.row.status == "failed":
            return None
        if self._digest(found) == entry.row.sha256:
            self.kept += 1
            return entry.row
        self.changed += 1
        self._name(f"{found.path} (changed)")
        return None

    def finish(self) -> None:
        """Say that the walk is over: rows that are left have lost their inputs."""
        while self._next is not None:
            self._miss()

    def _miss(self) -> None:
        if self._next is not None:
            self.vanished += 1
            self._name(f"{self._next.row.path} (vanished)")
        self._next = next(self._rows, None)

    def _name(self, name: str) -> None:
        if len(self.names) < _NAMED:
            self.names.append(name)


def differences(then: dict[str, Any], now: dict[str, Any]) -> list[str]:
    """What differs between the settings of two runs, one line each."""
    lines = []
    for name in sorted(then.keys() | now.keys()):
        if name == "paths" and then.get(name) != now.get(name):
            lines.append(_different_paths(then.get(name) or [], now.get(name) or []))
        elif isinstance(then.get(name), dict) and isinstance(now.get(name), dict):
            lines += [f"{name} {line}" for line in differences(then[name], now[name])]
        elif then.get(name) != now.get(name):
            lines.append(f"{name} was {_brief(then.get(name))}, now {_brief(now.get(name))}")
    return lines


def _different_paths(then: list[str], now: list[str]) -> str:
    if len(then) != len(now):
        return f"paths were {len(then)}, now {len(now)}"
    place = next(i for i, (a, b) in enumerate(zip(then, now, strict=True)) if a != b)
    return f"path {place + 1} was {then[place]!r}, now {now[place]!r}"


def _brief(value: Any) -> str:
    shown = repr(value)
    return shown if len(shown) <= 80 else f"{shown[:77]}..."


def merge(newer: Path, older: Path, target: Path, ranked: int) -> None:
    """Write to `target` the rows of journal `newer`, and then those of `older` that lie beyond them in the walk."""
    settings = header(older)
    if settings is None:
        raise ValueError(f"{older} is no journal")
    merged = Journal(target, settings, ranked)
    try:
        last: tuple[int, tuple[bytes, ...]] = (-1, ())
        for entry in entries(newer):
            merged.append(entry.root, entry.below, entry.row)
            last = entry.place
        for entry in dropwhile(lambda entry: entry.place <= last, entries(older)):
            merged.append(entry.root, entry.below, entry.row)
        merged.sync()
    finally:
        merged.close()
