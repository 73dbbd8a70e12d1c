"""What an interrupted run already knew, handed out as the walk comes by."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path
from typing import Any

from authorid.inputs.documents import DiscoveredFile
from authorid.outputs.journal import Entry, Journal, entries, header
from authorid.scoring.attribution import Attribution

__all__ = ["Earlier", "Known", "differences", "merge"]

_NAMED = 5


@dataclass(frozen=True, slots=True)
class Known:
    """A row that an interrupted run had finished, as it was read back, and its `line` in the results."""

    row: Attribution
    line: bytes


class Earlier:
    """Merges the entries of a journal with a fresh walk, both in walk order, holding one row at a time.

    `parse` reads their lines. A row is kept when its input is still there and `digest` gives the same SHA-256; failed
    inputs are always tried again. `kept`, `changed` and `vanished` count, `names` holds the first few that changed or
    vanished.
    """

    def __init__(
        self,
        entries: Iterator[Entry],
        parse: Callable[[bytes], Attribution],
        digest: Callable[[DiscoveredFile], str | None],
    ) -> None:
        self.kept = self.changed = self.vanished = 0
        self.names: list[str] = []
        self._rows = _read_back(entries, parse)
        self._digest = digest
        self._next = next(self._rows, None)

    @property
    def exhausted(self) -> bool:
        """Whether the walk has passed the last row."""
        return self._next is None

    def recall(self, found: DiscoveredFile) -> Known | None:
        """What is known of `found`, when it still holds. To be asked for every input, in walk order."""
        place = found.place
        while self._next is not None and self._next[0] < place:
            self._miss()
        if self._next is None or self._next[0] != place or self._next[1].row.path != found.path:
            return None
        _, known = self._next
        self._next = next(self._rows, None)
        if known.row.status == "failed":
            return None
        if self._digest(found) == known.row.sha256:
            self.kept += 1
            return known
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
            self._name(f"{self._next[1].row.path} (vanished)")
        self._next = next(self._rows, None)

    def _name(self, name: str) -> None:
        if len(self.names) < _NAMED:
            self.names.append(name)


_Place = tuple[int, tuple[bytes, ...]]


def _read_back(entries: Iterator[Entry], parse: Callable[[bytes], Attribution]) -> Iterator[tuple[_Place, Known]]:
    for entry in entries:
        try:
            row = parse(entry.line)
        except (ValueError, TypeError, KeyError):
            return  # whole, but no row: what follows is not to be believed either
        yield entry.place, Known(row, entry.line)


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


def merge(newer: Path, older: Path, target: Path) -> None:
    """Write to `target` the rows of journal `newer`, and then those of `older` that lie beyond them in the walk."""
    settings = header(older)
    if settings is None:
        raise ValueError(f"{older} is no journal")
    merged = Journal(target, settings, older.stat().st_mode)
    try:
        last: _Place = (-1, ())
        for entry in entries(newer):
            merged.append(entry.root, entry.below, entry.line)
            last = entry.place
        for entry in dropwhile(lambda entry: entry.place <= last, entries(older)):
            merged.append(entry.root, entry.below, entry.line)
        merged.sync()
    finally:
        merged.close()
