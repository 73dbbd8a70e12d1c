"""The files that a run keeps beside its results."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

__all__ = ["TOKEN_LENGTH", "RunFiles"]

TOKEN_LENGTH = 8
"""Hexadecimal digits of a token."""


class RunFiles(NamedTuple):
    """The names of the files of a run whose results go to `target`.

    ``results.csv.journal`` holds every finished record (see `authorid.outputs.journal`), and ``results.csv.lock`` is
    the lock. ``results.csv.0123abcd.partial`` is the file that will be published; its `token` makes its name the run's
    own, so that a run neither removes nor publishes a file of another program. A resumed run writes a new journal,
    ``results.csv.journal.next``, which replaces the old one after the walk has passed the last record of the old one.
    So at any moment the two together hold every record that was ever finished. ``results.csv.journal.merged`` is the
    two in one file, before it replaces the old one.
    """

    target: Path
    token: str = ""

    @classmethod
    def of_new_run(cls, target: Path) -> RunFiles:
        """The files of a run with a token of its own."""
        return cls(target, os.urandom(TOKEN_LENGTH // 2).hex())

    def _beside(self, suffix: str) -> Path:
        return self.target.with_name(self.target.name + suffix)

    @property
    def journal(self) -> Path:
        """Every finished record."""
        return self._beside(".journal")

    @property
    def next_journal(self) -> Path:
        """The journal of a resumed run, until it replaces the old one."""
        return self._beside(".journal.next")

    @property
    def merged_journal(self) -> Path:
        """Two journals in one, until it replaces the old one."""
        return self._beside(".journal.merged")

    @property
    def partial(self) -> Path:
        """The results so far, until they are published."""
        return self._beside(f".{self.token}.partial")

    @property
    def lock(self) -> Path:
        """The lock."""
        return self._beside(".lock")

    @property
    def all(self) -> frozenset[str]:
        """Every file that the run writes: none of them is a document."""
        journals = (self.journal, self.next_journal, self.merged_journal)
        return frozenset(map(str, (self.target, *journals, self.partial, self.lock)))

    @property
    def mode(self) -> int:
        """The mode of the file that will be replaced: its rows must stay hidden from the same users meanwhile."""
        return stat.S_IMODE(self.target.stat().st_mode) if self.target.exists() else 0o666
