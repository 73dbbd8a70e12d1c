"""Where the results of a run go: what is there already, and whether the run may write there.

A run that is to replace a file leaves an empty journal as soon as it has reserved its destination. From then on the
file counts as unfinished, however early the run ends.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from authorid.errors import OutputError
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, Failure
from authorid.outputs.answers import Answers
from authorid.outputs.file_output import (
    FileOutput,
    Row,
    RowWriter,
    closing_quietly,
    file_without_journal,
    resume_earlier_run,
)
from authorid.outputs.formats import FORMATS, Writer
from authorid.outputs.journal import (
    FORMAT,
    JournalHeader,
    create_empty,
    is_begun,
    is_foreign,
    read_header,
    remove_journal,
)
from authorid.outputs.lock import run_lock
from authorid.outputs.records import Attribution
from authorid.outputs.resume import EarlierRun, FileDigest
from authorid.outputs.run_files import RunFiles
from authorid.outputs.stream_output import StreamOutput
from authorid.outputs.write_errors import raising_output_errors
from authorid.portability import open_flags

__all__ = ["Destination", "Output", "is_standard_output", "is_stream", "open_rows", "open_writer", "reserve"]


class Output(Protocol):
    """Takes the records of one run, in walk order."""

    earlier: EarlierRun | None
    """What the interrupted run knew, if this run resumes it."""

    def recall(
        self, file: DiscoveredFile, items: Iterator[Document | Failure]
    ) -> Iterator[Document | Failure | Attribution]:
        """Yield the `items` of `file`, and in the place of those that are known already, their records.

        Call this for every file, and write a record for everything that comes from it.
        """

    def write(self, record: Attribution) -> None:
        """Write one record. Raises `OutputError` if that fails."""

    def finish(self) -> None:
        """Publish the results after the last record. Raises `OutputError`. Without this, the run can be resumed."""

    @property
    def resumable(self) -> bool:
        """Whether another run can continue this one. Read this after the output is closed."""

    @property
    def saved(self) -> str:
        """What has become of the records of an incomplete run, in words. Read this after the output is closed."""


class Destination:
    """Where the results of a run go, reserved for it. `reserve` makes it.

    `target` is the file to write, with symbolic links resolved, and `run_files` are the files of the run; both are None
    for a stream. `complete` means that there is
    nothing to resume: the file exists and has no journal.
    """

    def __init__(self, out: str | None) -> None:
        self.out = out or ""
        self.target: Path | None = None
        self.run_files: RunFiles | None = None
        self.stream: BinaryIO | None = None
        self.resuming = self.complete = False
        if out is None or out == "-":
            return
        # Links are resolved once: the file has to be renamed in the directory in which it really is.
        target = Path(os.path.realpath(out))
        if target.is_dir():
            raise OutputError(f"{out}: is a directory; --out takes the name of a file")
        if not is_stream(out):
            self.target, self.run_files = target, RunFiles.of_new_run(target)

    @property
    def files(self) -> frozenset[str]:
        """Every file that the run writes here: none of them is a document."""
        return frozenset() if self.run_files is None else self.run_files.all

    @contextmanager
    def open(
        self, form: str | Writer, *, top: int, fingerprint: dict[str, Any], answers: Answers, file_digest: FileDigest
    ) -> Iterator[Output]:
        """Take records and write them in the format `form`; each row ranks `top` classes where the format has room.

        A writer in the place of `form` writes them instead.

        `answers` has the names that records may contain. `fingerprint` (see `run_fingerprint`) must be equal to that
        of the run to resume, and `file_digest` tells whether a file has changed since. Raises `OutputError` if the
        destination cannot be written, or if the run to resume was another one.
        """
        writer = FORMATS[form](top, answers) if isinstance(form, str) else form
        if self.run_files is not None:
            header = JournalHeader(FORMAT, fingerprint, answers.names)
            with raising_output_errors(self.out):
                earlier = resume_earlier_run(self.out, self.run_files, header, file_digest) if self.resuming else None
                output = FileOutput(self.out, self.run_files, writer, header, earlier)
            with contextlib.closing(output):
                yield output
            return
        stream = self.stream
        if self.out == "-":
            if sys.stdout is None:
                raise OutputError("standard output: cannot write there: it is closed")
            stream = sys.stdout.buffer
        if writer.binary and stream is not None and stream.isatty():
            raise OutputError(
                f"{self.out}: is a terminal, and {writer.name} is not text: name a file, or redirect the output"
            )
        yield StreamOutput(self.out, stream, writer)


@contextmanager
def reserve(out: str | None, *, resume: bool = False, force: bool = False) -> Iterator[Destination]:
    """Reserve the destination `out`: a file, ``-`` for standard output, or None for nowhere.

    Raises `OutputError` if another run is writing there, or if results or an interrupted run exist there and neither
    `resume` nor `force` is set.
    """
    with raising_output_errors(out or ""):
        destination = Destination(out)
    if destination.target is None and resume:
        raise OutputError("there is nothing to resume without a file: name the file to continue as --out FILE")
    with _hold(destination):
        files = destination.run_files
        if files is not None:
            with raising_output_errors(destination.out):
                _check(destination.out, files, resume=resume, force=force)
                destination.resuming = resume and is_begun(files.journal)
                there = files.target.exists()
                destination.complete = resume and not force and not files.journal.exists() and there
                if destination.complete:
                    remove_journal(files.next_journal)
                    remove_journal(files.merged_journal)
                elif there and not files.journal.exists():
                    create_empty(files.journal)
        yield destination


@contextmanager
def open_writer(
    out: str, form: str, *, top: int = 5, answers: Answers = Answers()
) -> Iterator[Callable[[Attribution], None]]:
    """Write records to `out` and replace what is there, without a journal. For use from Python.

    `answers` are those of the model (`Bundle.answers`).
    The file appears only if the block ends without an error. Raises `OutputError`, also if a run is writing there.
    """
    with raising_output_errors(out):
        destination = Destination(out)
    with _hold(destination):
        if destination.run_files is not None:
            with file_without_journal(out, destination.run_files, FORMATS[form](top, answers)) as write:
                yield write
        else:
            with destination.open(form, top=top, fingerprint={}, answers=answers, file_digest=lambda _: None) as output:
                yield output.write
                output.finish()


@contextmanager
def open_rows(
    out: str, writer: RowWriter[Row], *, force: bool
) -> Iterator[tuple[Callable[[Row], None], frozenset[str]]]:
    """Write rows to the file `out`, without a journal; it appears only if the block ends without an error.

    The block gets what writes a row, and every file that is written here: none of them is a document. Raises
    `OutputError`, also if `out` is a stream, if a run is writing there, and if it exists or a run was interrupted there
    and `force` is not set.
    """
    with raising_output_errors(out):
        destination = Destination(out)
    with _hold(destination):
        files = destination.run_files
        if files is None:
            raise OutputError(f"{out}: is no file; name one")
        with raising_output_errors(out):
            _check(out, files, resume=False, force=force)
        with file_without_journal(out, files, writer) as write:
            yield write, files.all
        with raising_output_errors(out):
            for journal in (files.journal, files.next_journal, files.merged_journal):
                remove_journal(journal)


def _check(out: str, files: RunFiles, *, resume: bool, force: bool) -> None:
    """Raise `OutputError` unless the user allowed what the run would do to existing files."""
    for path in (files.journal, files.next_journal, files.merged_journal):
        if is_foreign(path):
            raise OutputError(
                f"{path}: not a journal of authorid, which needs this name; move it away, or choose another --out"
            )
    if is_begun(files.journal) and not (force and not resume):
        header = read_header(files.journal)
        if header is None:
            raise OutputError(f"{files.journal}: the beginning of this journal is damaged; pass --force to start over")
        if header.format != FORMAT:
            raise OutputError(
                f"{files.journal}: has journal format {header.format}, and this release reads format {FORMAT} only; "
                "finish that run with the release that began it, move the journal away, or pass --force to start over"
            )
    if resume or force:
        return
    if files.journal.exists():
        raise OutputError(
            f"{files.journal}: a run was interrupted here; pass --resume to continue it, or --force to start over"
        )
    if files.target.exists():
        raise OutputError(f"{out}: already exists; pass --force to replace it, or another name to --out")


def is_stream(out: str | None) -> bool:
    """Whether `out` stands for a stream or for nothing, instead of a file or a directory."""
    if out is None or out == "-" or _descriptor(out) is not None:
        return True
    mode = Path(out).stat().st_mode if Path(out).exists() else stat.S_IFREG
    return not stat.S_ISREG(mode) and not stat.S_ISDIR(mode)


def is_standard_output(out: str) -> bool:
    """Whether `out` stands for standard output."""
    return out == "-" or _descriptor(out) == 1


_STANDARD = {"/dev/stdout": 1, "/dev/stderr": 2}
_DESCRIPTOR = re.compile(r"/(?:dev|proc/self)/fd/([0-9]{1,9})")


def _descriptor(out: str) -> int | None:
    """The open descriptor that `out` names, if any. It is a stream even if the shell has redirected it to a file."""
    match = _DESCRIPTOR.fullmatch(out)
    return _STANDARD.get(out) if match is None else int(match[1])


@contextmanager
def _hold(destination: Destination) -> Iterator[None]:
    """Lock the file of the destination, or open its stream."""
    if destination.run_files is not None:
        with run_lock(destination.run_files, destination.out):
            yield
    elif destination.out in ("", "-"):
        yield
    else:
        # Opened here and not later: opening a FIFO waits for its reader, and here Ctrl-C still ends that at once.
        with raising_output_errors(destination.out):
            # A descriptor is duplicated, not opened again: rows then follow what those who share it have written.
            own = _descriptor(destination.out)
            opened = os.open(destination.out, open_flags("O_WRONLY")) if own is None else os.dup(own)
            destination.stream = os.fdopen(opened, "wb")
        with closing_quietly(destination.stream):
            yield
