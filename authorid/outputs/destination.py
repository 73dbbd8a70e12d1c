"""Where rows go: a file that appears whole or not at all and survives crashes, or a stream.

Beside ``results.csv`` a run keeps ``results.csv.journal`` (every finished row; see `authorid.outputs.journal`),
``results.csv.partial`` (the file to be) and ``results.csv.lock``. A run that resumes writes a new journal,
``results.csv.journal.next``, and puts it in the old one's place once it has passed the old one's last row; so at any
moment the two together hold every row that was ever finished. A run that is to replace a file leaves an empty journal
as soon as it is asked for: what is there then is not what was wanted, however early the run ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from authorid.errors import OutputError, reason
from authorid.inputs.documents import DiscoveredFile
from authorid.outputs import atomic
from authorid.outputs.formats import FORMATS, Format
from authorid.outputs.journal import Journal, announce, entries, header, is_begun
from authorid.outputs.lock import exclusive
from authorid.outputs.resume import Earlier, differences, merge
from authorid.scoring.attribution import Attribution

__all__ = ["Destination", "Digest", "Output", "open_writer", "reserve"]

Digest = Callable[[DiscoveredFile], str | None]
"""Gives the SHA-256 of an input as it is now, or None."""


class Output(Protocol):
    """Takes the rows of one run, in walk order."""

    earlier: Earlier | None
    """What an interrupted run already knew, when this one resumes it."""

    def recall(self, found: DiscoveredFile) -> Attribution | None:
        """The row of an input that is known already. To be asked for every input, before its row is written."""

    def write(self, row: Attribution) -> None:
        """Take one row. Raises `OutputError` when it cannot be kept."""

    def finish(self) -> None:
        """All rows are written: publish them. Raises `OutputError`. Without it, what was written stays resumable."""

    @property
    def saved(self) -> str:
        """What has become of the rows of a run that was cut short, in words. To be asked when the output is closed."""


class Destination:
    """Where the results of a run go, reserved for it. Made by `reserve`.

    `complete` says that there is nothing to resume: the file is there, and no journal.
    """

    def __init__(self, out: str | None) -> None:
        self.out = out or ""
        self.target: Path | None = None
        self.stream: BinaryIO | None = None
        self.resuming = self.complete = False
        if out is None or out == "-":
            return
        # Links are followed once and for all: the file must be renamed in the directory where it really is.
        target = Path(os.path.realpath(out))
        mode = Path(out).stat().st_mode if Path(out).exists() else stat.S_IFREG
        if stat.S_ISDIR(mode):
            raise OutputError(f"{out}: is a directory; --out takes the name of a file")
        if stat.S_ISREG(mode) and _descriptor(out) is None:
            self.target = target

    def beside(self, suffix: str) -> Path:
        """A file that the run keeps beside its target."""
        if self.target is None:
            raise ValueError("a stream has nothing beside it")
        return self.target.with_name(self.target.name + suffix)

    @property
    def mode(self) -> int:
        """The mode of the file that is replaced: whom it is hidden from, its rows are to be hidden from meanwhile."""
        if self.target is None or not self.target.exists():
            return 0o666
        return stat.S_IMODE(self.target.stat().st_mode)

    @property
    def files(self) -> frozenset[str]:
        """Every file that the run writes here: none of them is a document."""
        if self.target is None:
            return frozenset()
        suffixes = ("", ".journal", ".journal.next", ".journal.merged", ".partial", ".lock")
        return frozenset(str(self.beside(suffix)) for suffix in suffixes)

    @contextmanager
    def open(self, form: str, *, top: int, settings: dict[str, Any], digest: Digest) -> Iterator[Output]:
        """Take rows in the format `form`. Raises `OutputError`, also when the `settings` are not those to resume."""
        written = FORMATS[form]
        if self.target is not None:
            with _refusing(self.out):
                output = _File(self, written, top, settings, digest)
            with contextlib.closing(output):
                yield output
        elif self.out == "-":
            if sys.stdout is None:
                raise OutputError("standard output: cannot write there: it is closed")
            yield _Stream(self.out, sys.stdout.buffer, written, top)
        else:
            yield _Stream(self.out, self.stream, written, top)


@contextmanager
def reserve(out: str | None, *, resume: bool = False, force: bool = False) -> Iterator[Destination]:
    """Claim the place `out`: a file, ``-`` for standard output, None for nowhere.

    Raises `OutputError` when another run is writing there, or when something is there already and neither `resume`
    nor `force` says what to do about it.
    """
    with _refusing(out or ""):
        place = Destination(out)
    if place.target is None and resume:
        raise OutputError("there is nothing to resume without a file: name the one to go on with as --out FILE")
    with _held(place):
        if place.target is not None:
            with _refusing(place.out):
                journal = place.beside(".journal")
                _check(place, journal, resume=resume, force=force)
                place.resuming = resume and is_begun(journal)
                place.complete = resume and not force and not journal.exists() and place.target.exists()
                if place.complete:
                    atomic.remove(place.beside(".journal.next"))
                    atomic.remove(place.beside(".journal.merged"))
                elif place.target.exists() and not journal.exists():
                    announce(journal)
        yield place


@contextmanager
def open_writer(out: str, form: str, *, top: int = 5) -> Iterator[Callable[[Attribution], None]]:
    """Write rows that are at hand to `out`, replacing what is there, without a journal: for use from Python.

    The file appears only when the block ends without an error. Raises `OutputError`, also when a run is writing there.
    """
    with _refusing(out):
        place = Destination(out)
    with _held(place):
        if place.target is None:
            with place.open(form, top=top, settings={}, digest=lambda _: None) as output:
                yield output.write
            return
        written = FORMATS[form]
        partial = place.beside(".partial")
        with _refusing(out):
            stream = os.fdopen(atomic.create(partial, place.mode), "wb")

        def put(row: Attribution) -> None:
            try:
                stream.write(written.row(row, top))
            except OSError as error:
                raise _refusal(out, error, "") from error

        try:
            with _closing(stream):
                with _refusing(out):
                    stream.write(written.header())
                yield put
                with _refusing(out):
                    _publish(stream, partial, place.target)
        except BaseException:
            with contextlib.suppress(OSError):
                atomic.remove(partial)
            raise


def _check(place: Destination, journal: Path, *, resume: bool, force: bool) -> None:
    if is_begun(journal) and header(journal) is None and not (force and not resume):
        raise OutputError(f"{journal}: not a journal that this release can read; move it away, or pass --force")
    if resume or force:
        return
    if journal.exists():
        raise OutputError(
            f"{journal}: a run was interrupted here; pass --resume to go on with it, or --force to start over"
        )
    if place.target is not None and place.target.exists():
        raise OutputError(f"{place.out}: already exists; pass --force to replace it, or another name to --out")


_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


def _descriptor(out: str) -> int | None:
    """The open descriptor that `out` names, if it names one: a stream, also when the shell has sent it into a file."""
    match = _DESCRIPTOR.fullmatch(out)
    return _STANDARD.get(out) if match is None else int(match[1])


@contextmanager
def _held(place: Destination) -> Iterator[None]:
    """Lock the file of `place`, or open its stream."""
    if place.target is not None:
        with exclusive(place.beside(".lock"), place.out):
            yield
    elif place.out in ("", "-"):
        yield
    else:
        # Here and not later: a FIFO waits for its reader, and here Ctrl-C still ends that at once.
        with _refusing(place.out):
            # A descriptor is not opened anew: rows go where those who share it are, behind what is there.
            own = _descriptor(place.out)
            opened = os.open(place.out, os.O_WRONLY | os.O_CLOEXEC) if own is None else os.dup(own)
            place.stream = os.fdopen(opened, "wb")
        with _closing(place.stream):
            yield


@contextmanager
def _closing(stream: BinaryIO) -> Iterator[None]:
    try:
        yield
    finally:
        with contextlib.suppress(OSError):  # what it could not take was an error before
            stream.close()


def _publish(stream: BinaryIO, partial: Path, target: Path) -> None:
    """Put the file that was written through `stream` in the place of `target`. Raises `OSError`."""
    stream.flush()
    with contextlib.suppress(OSError):  # whom the old file was hidden from, the new one is too
        os.fchmod(stream.fileno(), stat.S_IMODE(target.stat().st_mode))
    atomic.sync(stream.fileno())
    atomic.publish(partial, target)


@contextmanager
def _refusing(out: str, saved: Callable[[], str] = str) -> Iterator[None]:
    """Make the disk's errors those that users are promised; `saved` says what is safe."""
    try:
        yield
    except BrokenPipeError:
        raise  # whoever read has gone: no error of ours
    except OSError as error:
        raise _refusal(out, error, saved()) from error


def _refusal(out: str, error: OSError, saved: str) -> OutputError:
    return OutputError(f"{out}: cannot write there: {reason(error)}{saved}")


class _Stream:
    """Rows to whoever reads them, at once. There is nothing to resume."""

    def __init__(self, out: str, stream: BinaryIO | None, written: Format, top: int) -> None:
        self.earlier: Earlier | None = None
        self._out = "standard output" if out == "-" else out
        self._stream = stream
        self._row = written.row
        self._top = top
        self._rows = 0
        self._put(written.header())

    def recall(self, found: DiscoveredFile) -> Attribution | None:
        return None

    def write(self, row: Attribution) -> None:
        self._put(self._row(row, self._top))
        self._rows += 1

    def finish(self) -> None:
        """Nothing is left to do: every row was passed on at once."""

    @property
    def saved(self) -> str:
        return f"{self._rows} rows were written"

    def _put(self, data: bytes) -> None:
        if self._stream is not None:
            with _refusing(self._out):
                self._stream.write(data)
                self._stream.flush()


class _File:
    """Rows to a journal, and to the file that is published at the end."""

    def __init__(self, place: Destination, written: Format, top: int, settings: dict[str, Any], digest: Digest) -> None:
        if place.target is None:
            raise ValueError("not a file")
        self.earlier: Earlier | None = None
        self._place = place
        self._target = place.target
        self._partial = place.beside(".partial")
        self._path = place.beside(".journal")
        self._next = place.beside(".journal.next")
        self._merged = place.beside(".journal.merged")
        # Inputs that the walk has met and whose rows are still to come, their lines where they are known, and whether
        # it had passed the old journal.
        self._met: deque[tuple[int, str, bytes | None, bool]] = deque()
        self._top = top
        self._row = written.row
        if place.resuming:
            self._continue(settings)
            self.earlier = Earlier(entries(self._path), written.parse, digest)
        self._journal = Journal(self._next, settings, place.mode)
        self._promoted = self._finished = False
        self._failure: OSError | None = None
        try:
            if not place.resuming:
                self._promote()
            self._stream = os.fdopen(atomic.create(self._partial, place.mode), "wb")
        except BaseException:
            self._journal.close()
            raise
        self._stream.write(written.header())

    def _continue(self, settings: dict[str, Any]) -> None:
        changes = differences(header(self._path) or {}, settings)
        if changes:
            raise OutputError(
                f"{self._place.out}: cannot resume, this is not the run that was interrupted: {'; '.join(changes)}. "
                "Call it as before, or pass --force without --resume to start over."
            )
        # The last run was resumed itself and stopped before it had passed the old journal's end.
        if header(self._next) == settings:
            merge(self._next, self._path, self._merged)
            atomic.publish(self._merged, self._path)

    def recall(self, found: DiscoveredFile) -> Attribution | None:
        known = None if self.earlier is None else self.earlier.recall(found)
        passed = self.earlier is None or self.earlier.exhausted
        self._met.append((found.root, found.below, None if known is None else known.line, passed))
        return None if known is None else known.row

    def write(self, row: Attribution) -> None:
        root, below, line, passed = self._met.popleft()
        line = line or self._row(row, self._top)
        try:
            self._journal.append(root, below, line)
            if passed and not self._promoted:
                self._promote()
            self._stream.write(line)
        except OSError as error:
            raise _refusal(self._place.out, error, self._advice()) from error

    def _promote(self) -> None:
        """The new journal holds all that the old one did, and takes its place."""
        self._journal.sync()
        atomic.publish(self._next, self._path)
        self._promoted = True

    def finish(self) -> None:
        with _refusing(self._place.out, self._advice):
            if self.earlier is not None:
                self.earlier.finish()
            self._journal.flush()
            _publish(self._stream, self._partial, self._target)
            # A power cut may bring the journals back; then the run is resumed to the same end, or forced.
            for journal in (self._path, self._next, self._merged):
                atomic.remove(journal)
            self._finished = True

    def close(self) -> None:
        """Leave things so that the run can be resumed, unless it is finished."""
        if not self._finished:
            try:
                self._journal.sync()
            except OSError as error:
                self._failure = error
        with contextlib.suppress(OSError):
            self._journal.close()
        with contextlib.suppress(OSError):
            self._stream.close()
        with contextlib.suppress(OSError):
            atomic.remove(self._partial)

    @property
    def saved(self) -> str:
        rows = f"{self._journal.rows} rows"
        if not self._promoted:
            rows += " of this run and all of the one before"
        lost = "" if self._failure is None else f"; what came after could not be written: {reason(self._failure)}"
        return f"{rows} are safe{lost}"

    def _advice(self) -> str:
        where = self._path.name if self._promoted else f"{self._next.name} and {self._path.name}"
        return f". {self.saved} in {where}: make room or mend what is wrong, then run the same command with --resume"
