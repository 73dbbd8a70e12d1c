"""What became of the attempts to score a shard: how many processes died, and on which document.

A process that dies reports nothing, so it writes beforehand what it is about to do. The log has a line for the
beginning and for the orderly end of each attempt; an attempt that has no end has died. Two deaths can have any cause,
such as a node that was lost. From then on the shard is scored one document at a time, and the file ``current`` names
the document in progress. A document during which two processes have died is not tried again: it becomes a row that
failed.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.portability import open_flags

__all__ = ["MOST_DEATHS", "Attempt", "Step"]

MOST_DEATHS = 20
"""So many processes may die on one shard in a run; then the run ends."""

_UNGUARDED = 2
"""Deaths after which documents are scored one at a time."""

_STRIKES = 2
"""Deaths on one document after which it is not tried again."""

_CURRENT_BYTES = 64
"""Bytes of the file `current`, which is overwritten in place."""

_LONGEST_LOG = 1 << 20

_REASON = f"the process that {{}} this document died {_STRIKES} times"


class Step(NamedTuple):
    """What is done with a document: the `file`, counted from 0 in the shard, the `position` in it, and the `task`."""

    file: int
    position: int
    task: Literal["read", "score"]

    @classmethod
    def parse(cls, text: str) -> Step | None:
        """The step that `str` has written; None for anything else, such as a line cut short."""
        match text.split():
            case [file, position, ("read" | "score") as task] if file.isdigit() and position.isdigit():
                return cls(int(file), int(position), task)
        return None

    def __str__(self) -> str:
        return f"{self.file} {self.position} {self.task}"


class Attempt:
    """One attempt to score a shard; a context manager, which notes that it ended in order, with or without an error.

    `log` and `current` are files that outlive the process. `run` is different in each run of the driver: when the
    driver dies, so do all workers, and that is no sign of a harmful document.

    Raises `OSError` if the files cannot be written.

    Attributes:
        deaths: How many attempts of this run have died before.
        is_guarded: Whether documents have to be scored one at a time, through `guard`.

    """

    def __init__(self, log: Path, current: Path, run: str) -> None:
        self.deaths = 0
        self._harmful: set[Step] = set()
        self._files = 0
        self._read_log(log, current, run)
        self.is_guarded = self.deaths >= _UNGUARDED or bool(self._harmful)
        self._log = os.open(log, open_flags("O_WRONLY", "O_CREAT", "O_APPEND"), 0o666)
        try:
            self._current = os.open(current, open_flags("O_RDWR", "O_CREAT"), 0o666)
        except BaseException:
            os.close(self._log)
            raise
        if self._suspect is not None:
            self._append(f"died {self._suspect}")
        self._note("")
        self._append(f"begin {run} {'guarded' if self.is_guarded else 'plain'}")

    def __enter__(self) -> Attempt:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._append("end")
        finally:
            os.close(self._log)
            os.close(self._current)

    def guard(self, path: str, items: Iterator[Document | Failure]) -> Iterator[Document | Failure]:
        """Yield the documents of the next file, with a failure in the place of one that is harmful.

        Call this for every file, whether or not its documents are needed. What follows a document that kills the
        process that reads it cannot be read either.
        """
        self._files += 1
        return self._guard(self._files - 1, path, items)

    def _guard(self, file: int, path: str, items: Iterator[Document | Failure]) -> Iterator[Document | Failure]:
        position = 0
        while True:
            if (step := Step(file, position, "read")) in self._harmful:
                yield Failure(DocumentRef(path), _REASON.format("read"))
                return
            self._note(str(step))
            item = next(items, None)
            if item is None:
                return
            if (step := Step(file, position, "score")) in self._harmful:
                item = Failure(item.ref, _REASON.format("scored"))
            self._note(str(step))
            yield item
            position += 1

    def _read_log(self, log: Path, current: Path, run: str) -> None:
        """Find out what the attempts so far have come to."""
        try:
            lines = log.read_bytes()[:_LONGEST_LOG].decode("ascii", "replace").splitlines()
        except FileNotFoundError:
            lines = []
        strikes: Counter[Step] = Counter()
        open_attempt = ""
        for line in lines:
            verb, _, rest = line.partition(" ")
            if verb == "died" and (step := Step.parse(rest)) is not None:
                strikes[step] += 1
            elif verb == "begin":
                self.deaths += open_attempt.startswith(f"{run} ")
                open_attempt = rest
            elif verb == "end":
                open_attempt = ""
        self.deaths += open_attempt.startswith(f"{run} ")
        self._suspect: Step | None = None
        if open_attempt == f"{run} guarded":
            self._suspect = Step.parse(current.read_bytes().decode("ascii", "replace")) if current.exists() else None
            if self._suspect is not None:
                strikes[self._suspect] += 1
        self._harmful = {step for step, count in strikes.items() if count >= _STRIKES}

    def _append(self, line: str) -> None:
        os.write(self._log, f"{line}\n".encode("ascii"))

    def _note(self, step: str) -> None:
        os.lseek(self._current, 0, os.SEEK_SET)
        os.write(self._current, step.ljust(_CURRENT_BYTES - 1).encode("ascii") + b"\n")
