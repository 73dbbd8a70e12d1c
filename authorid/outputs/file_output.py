"""Results that go to a file, which appears complete or not at all and survives crashes."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from authorid import portability
from authorid.errors import OutputError, os_error_reason
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, Failure
from authorid.outputs import atomic
from authorid.outputs.formats import Writer
from authorid.outputs.journal import Journal, JournalHeader, is_begun, read_entries, read_header, remove_journal
from authorid.outputs.record_codec import Place
from authorid.outputs.records import Attribution
from authorid.outputs.resume import EarlierRun, FileDigest, differences, merge_journals
from authorid.outputs.run_files import RunFiles
from authorid.outputs.write_errors import output_error, raising_output_errors

__all__ = ["FileOutput", "RowWriter", "closing_quietly", "file_without_journal", "resume_earlier_run"]


Row = TypeVar("Row", contravariant=True)


class RowWriter(Protocol[Row]):
    """What encodes the rows of one file: records, or anything else (see `Writer`)."""

    def header(self) -> bytes:
        """What precedes the first row."""

    def row(self, record: Row, /) -> bytes:
        """One row."""

    def footer(self) -> bytes:
        """What follows the last row."""


class FileOutput:
    """Writes every record to the journal and its row to the file that is published at the end.

    `out` is the name that the user gave. `earlier` is the run to resume; None begins a new one. Raises `OSError` if the
    files cannot be created.
    """

    def __init__(
        self, out: str, files: RunFiles, writer: Writer, header: JournalHeader, earlier: EarlierRun | None
    ) -> None:
        self.earlier = earlier
        self._out = out
        self._files = files
        self._writer = writer
        # Documents whose rows are still to come: where they are, and whether the walk had then passed the old journal.
        self._expected: deque[tuple[Place, bool]] = deque()
        self._promoted = self._finished = False
        self._failure: OSError | None = None
        self._lost: bool | None = None
        remove_journal(files.next_journal)
        self._journal = Journal(files.next_journal, header.fingerprint, header.authors, files.mode)
        try:
            if earlier is None:
                self._promote()
            self._stream = os.fdopen(atomic.create(files.partial, files.mode), "wb")
        except BaseException:
            self._journal.close()
            raise
        self._stream.write(writer.header())

    def recall(
        self, file: DiscoveredFile, items: Iterator[Document | Failure]
    ) -> Iterator[Document | Failure | Attribution]:
        """Yield the `items` of `file`, and in the place of some the record of the earlier run that still holds."""
        earlier = self.earlier
        for position, item in enumerate(items if earlier is None else earlier.recall(file, items)):
            passed = earlier is None or earlier.exhausted
            self._expected.append((Place(file.root, file.below, position), passed))
            yield item

    def write(self, record: Attribution) -> None:
        """Write the record of the next document that `recall` has yielded."""
        place, passed = self._expected.popleft()
        try:
            self._journal.append(place, record)
            if passed and not self._promoted:
                self._promote()
            self._stream.write(self._writer.row(record))
        except OSError as error:
            raise output_error(self._out, error, self._advice()) from error

    def _promote(self) -> None:
        """The new journal now holds all that the old one did: replace the old one."""
        self._journal.sync()
        if not self._journal.is_at(self._files.next_journal):
            raise _replaced(self._files.next_journal)
        self._journal.publish(self._files.journal)
        self._promoted = True

    def finish(self) -> None:
        """Publish the file and remove the journals."""
        with raising_output_errors(self._out, self._advice):
            if self.earlier is not None:
                self.earlier.finish()
            self._journal.flush()
            self._stream.write(self._writer.footer())
            _publish(self._stream, self._files)
            self._lost = self._is_lost()
            self._journal.close()
            # A power cut may bring the journals back. The run is then resumed, to the same result, or forced.
            for journal in (self._files.journal, self._files.next_journal, self._files.merged_journal):
                remove_journal(journal)
            self._finished = True

    def close(self) -> None:
        """Close the files; a run that is not finished can be resumed."""
        if not self._finished:
            try:
                self._journal.sync()
            except OSError as error:
                self._failure = error
            self._lost = self._is_lost()
        with contextlib.suppress(OSError):
            self._journal.close()
        _discard(self._stream, self._files.partial)

    def _is_lost(self) -> bool:
        """Whether somebody has removed the records of this run, or put another file in their place."""
        if self._lost is not None:
            return self._lost
        return not self._journal.is_at(self._files.journal if self._promoted else self._files.next_journal)

    @property
    def resumable(self) -> bool:
        """Whether another run can continue this one."""
        return not self._is_lost() or (not self._promoted and is_begun(self._files.journal))

    @property
    def saved(self) -> str:
        """How many records are safe, in words."""
        if self._is_lost():
            journal = self._files.journal if self._promoted else self._files.next_journal
            return f"the rows of this run are lost, because {journal.name} was removed or replaced"
        rows = f"{self._journal.rows} rows"
        if not self._promoted:
            rows += " of this run and all of the one before"
        lost = (
            "" if self._failure is None else f"; what came after could not be written: {os_error_reason(self._failure)}"
        )
        return f"{rows} are safe{lost}"

    def _advice(self) -> str:
        if self._is_lost():
            return f"; {self.saved}"
        files = self._files
        names = files.journal.name if self._promoted else f"{files.next_journal.name} and {files.journal.name}"
        return f". {self.saved} in {names}: free some space or fix the cause, then run the same command with --resume"


def resume_earlier_run(out: str, files: RunFiles, header: JournalHeader, file_digest: FileDigest) -> EarlierRun:
    """What the interrupted run of `files` knew. Raises `OutputError` if it was another run than `header` describes."""
    before = read_header(files.journal)
    changes = differences({} if before is None else before.fingerprint, header.fingerprint)
    if before is not None and not changes and before.authors != header.authors:
        changes = ["the authors of the model differ"]
    if changes:
        raise OutputError(
            f"{out}: cannot resume, this is not the run that was interrupted: {'; '.join(changes)}. "
            "Call it as before, or pass --force without --resume to start over."
        )
    # The earlier run had itself been resumed, and stopped before it had passed the end of the old journal.
    if read_header(files.next_journal) == header:
        merge_journals(files.next_journal, files.journal, files.merged_journal)
        atomic.publish(files.merged_journal, files.journal)
    return EarlierRun(read_entries(files.journal), file_digest)


@contextmanager
def file_without_journal(out: str, files: RunFiles, writer: RowWriter[Row]) -> Iterator[Callable[[Row], None]]:
    """Write rows to a file without a journal; publish it if the block ends without an error.

    Raises `OutputError` if the disk fails.
    """
    with raising_output_errors(out):
        stream = os.fdopen(atomic.create(files.partial, files.mode), "wb")

    def write(row: Row) -> None:
        try:
            stream.write(writer.row(row))
        except OSError as error:
            raise output_error(out, error) from error

    try:
        with raising_output_errors(out):
            stream.write(writer.header())
        yield write
        with raising_output_errors(out):
            stream.write(writer.footer())
            _publish(stream, files)
    finally:
        _discard(stream, files.partial)


@contextmanager
def closing_quietly(stream: BinaryIO) -> Iterator[None]:
    """Close the stream at the end of the block. Data that it cannot take has already raised an error."""
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            stream.close()


def _publish(stream: BinaryIO, files: RunFiles) -> None:
    """Replace the target by the file that was written through `stream`. Raises `OSError`."""
    stream.flush()
    with contextlib.suppress(OSError):  # keep the mode of the old file
        if hasattr(os, "fchmod"):
            os.fchmod(stream.fileno(), stat.S_IMODE(files.target.stat().st_mode))
    atomic.sync(stream.fileno())
    if not atomic.is_at(stream.fileno(), files.partial):
        raise _replaced(files.partial)
    if not portability.MOVES_OPEN_FILES:
        stream.close()
    atomic.publish(files.partial, files.target)


def _discard(stream: BinaryIO, path: Path) -> None:
    """Close the file that was written through `stream`, and remove it if it is still at `path`."""
    is_own = not stream.closed and atomic.is_at(stream.fileno(), path)
    with contextlib.suppress(OSError):
        stream.close()
    if is_own:
        with contextlib.suppress(OSError):
            atomic.remove(path)


def _replaced(path: Path) -> OSError:
    return FileNotFoundError(errno.ENOENT, f"{path.name} was removed or replaced")
