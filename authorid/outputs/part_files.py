"""A part: the records of one shard of a run, complete and exact, from which `authorid merge` writes any format.

A part is lines with checksums, as a journal (see `authorid.outputs.journal`). The first line is the header: which
shard this is, the fingerprint of the run, and what its answers are. Every other line is a record, and the last one is
the footer: how many records there are, where in the run the shard begins and ends, and the statistics.
"""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO, ClassVar

from authorid.errors import PartError, os_error_reason
from authorid.inputs.shards import Shard
from authorid.outputs.answers import Answers
from authorid.outputs.journal import checked_line, intact_payload
from authorid.outputs.record_codec import Place, RecordCodec
from authorid.outputs.records import Attribution
from authorid.portability import open_flags

__all__ = ["PART_SUFFIX", "Part", "PartEnd", "PartWriter", "part_path", "read_part"]

PART_SUFFIX = ".part"
"""The ending of the names of parts."""

_FORMAT = 1
"""The version of the format of parts."""

_LONGEST_LINE = 1 << 26
"""Bytes. A longer line is damage."""


def part_path(directory: Path, shard: Shard) -> Path:
    """Where the part of `shard` is kept in a directory of parts. Names sort in the order of the shards."""
    return directory / f"{shard.number:05}-of-{shard.count:05}{PART_SUFFIX}"


@dataclass(frozen=True, slots=True)
class PartEnd:
    """Where a shard lies: its `begin` and `end` (see `ShardFiles`), and the digest of all `files` of the run."""

    begin: str
    end: str
    files: str


class PartWriter:
    """Writes the part of `shard`; a `Writer` like those of the formats.

    `fingerprint` is that of the run, the same for all its shards. `end` is called after the last record. It returns
    where the shard lies, and its statistics as values that JSON can represent.
    """

    name: ClassVar[str] = "part"
    suffixes: ClassVar[tuple[str, ...]] = (PART_SUFFIX,)
    packages: ClassVar[tuple[str, ...]] = ()
    binary: ClassVar[bool] = False

    def __init__(
        self,
        shard: Shard,
        answers: Answers,
        fingerprint: Mapping[str, Any],
        end: Callable[[], tuple[PartEnd, Mapping[str, Any]]],
    ) -> None:
        self._header = {
            "part": _FORMAT,
            "shard": [shard.number, shard.count],
            "answers": asdict(answers),
            "fingerprint": fingerprint,
        }
        self._codec = RecordCodec(answers.names)
        self._end = end
        self._rows = 0

    def header(self) -> bytes:
        """The first line."""
        return _line(self._header)

    def row(self, record: Attribution) -> bytes:
        """One line."""
        line = checked_line(self._codec.encode(Place(0, "", self._rows), record))
        self._rows += 1
        return line

    def footer(self) -> bytes:
        """The last line."""
        end, statistics = self._end()
        return _line({"rows": self._rows, **asdict(end), "statistics": statistics})


def _line(record: Mapping[str, Any]) -> bytes:
    return checked_line(json.dumps(record).encode("ascii") + b"\n")


@dataclass(frozen=True, slots=True)
class Part:
    """A part on disk. Its records and its statistics are read when they are needed."""

    path: Path
    shard: Shard
    answers: Answers
    fingerprint: Mapping[str, Any]
    rows: int
    end: PartEnd

    def records(self) -> Iterator[Attribution]:
        """Yield the records, in order. Raises `PartError` if any is damaged or missing."""
        if read_part(self.path) != self:
            raise PartError(f"{self.path}: changed while it was merged; merge again")
        codec = RecordCodec(self.answers.names)
        with closing(_open(self.path)) as stream:
            stream.readline(_LONGEST_LINE)
            for number in range(self.rows):
                payload = intact_payload(stream.readline(_LONGEST_LINE))
                try:
                    entry = None if payload is None else codec.decode(payload)
                except ValueError:
                    entry = None
                if entry is None or entry.place.position != number or not _fits_formats(entry.record):
                    raise _damaged(self.path, f"row {number + 1} is damaged", self.shard)
                yield entry.record
            last = intact_payload(stream.readline(_LONGEST_LINE))
            if last is None or last[:1] != b"{" or stream.read(1):
                raise _damaged(self.path, "it does not have as many rows as its last line states", self.shard)

    def statistics(self) -> dict[str, Any]:
        """The statistics of the shard. Raises `PartError`."""
        try:
            with closing(_open(self.path)) as stream:
                return dict((_parse(_last_line(stream)) or {})["statistics"])
        except (KeyError, TypeError, ValueError):
            raise _damaged(self.path, "its last line is damaged", self.shard) from None


def read_part(path: Path) -> Part:
    """The part at `path`. Raises `PartError` if it is none, or is damaged."""
    try:
        with closing(_open(path)) as stream:
            header = _parse(stream.readline(_LONGEST_LINE))
            if header is None or type(header.get("part")) is not int:
                raise PartError(f"{path}: not a part of a run, which authorid score --shard writes")
            if header["part"] != _FORMAT:
                raise PartError(
                    f"{path}: has part format {header['part']}, and this release reads format {_FORMAT} only"
                )
            last = _parse(_last_line(stream))
    except OSError as error:
        raise PartError(f"{path}: cannot be read: {os_error_reason(error)}") from None
    try:
        shard = Shard.parse("{}/{}".format(*header["shard"]))
    except (ValueError, TypeError, KeyError, IndexError):
        raise _damaged(path, "its first line is damaged", None) from None
    if last is None:
        raise _damaged(path, "its end is missing", shard)
    try:
        fingerprint = dict(header["fingerprint"])
        if not isinstance(fingerprint.get("paths"), list):
            raise ValueError("no paths")
        return Part(path, shard, _answers(header["answers"]), fingerprint, *_end_of(last))
    except (ValueError, TypeError, KeyError):
        raise _damaged(path, "its first or its last line is damaged", shard) from None


def _fits_formats(record: Attribution) -> bool:
    """Whether every format can write the record: a part may come from anywhere."""
    try:
        return max(record.windows, record.tokens) < 1 << 63 and (
            record.explanation is None
            or (record.explanation.isascii() and isinstance(json.loads(record.explanation), dict))
        )
    except (ValueError, RecursionError):
        return False


def _answers(record: Mapping[str, Any]) -> Answers:
    answers = Answers(**{**record, "names": tuple(record["names"])})
    "".join(answers.names).encode("utf-8")  # raises for what is no name
    if (
        len(set(answers.names)) != len(answers.names)
        or answers.noun not in ("author", "label")
        or answers.measure not in ("probability", "value")
        or type(answers.several) is not bool
    ):
        raise ValueError("a value has the wrong type")
    return answers


def _end_of(record: Mapping[str, Any]) -> tuple[int, PartEnd]:
    rows, end = record["rows"], PartEnd(*(record[name] for name in ("begin", "end", "files")))
    strings = (end.begin, end.end, end.files)
    if type(rows) is not int or rows < 0 or not all(isinstance(value, str) for value in strings):
        raise ValueError("a value has the wrong type")
    return rows, end


def _open(path: Path) -> BinaryIO:
    """Raises `OSError`, also for what is not a regular file: a FIFO would block for ever."""
    descriptor = os.open(path, open_flags("O_RDONLY", "O_NONBLOCK", "O_NOCTTY"))
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise OSError(f"{path.name} is not a regular file")
    return os.fdopen(descriptor, "rb")


def _parse(line: bytes) -> dict[str, Any] | None:
    payload = intact_payload(line)
    if payload is None:
        return None
    try:
        record = json.loads(payload)
    except (ValueError, RecursionError):
        return None
    return record if isinstance(record, dict) else None


def _last_line(stream: BinaryIO) -> bytes:
    """The last line of a file, if that is not too long."""
    size = stream.seek(0, os.SEEK_END)
    length = 1 << 16
    while True:
        length = min(length, size)
        stream.seek(size - length)
        line = stream.read(length)
        start = line.rfind(b"\n", 0, -1)
        if start >= 0:
            return line[start + 1 :]
        if length >= min(size, _LONGEST_LINE):
            return b""  # the first line is no end
        length *= 4


def _damaged(path: Path, problem: str, shard: Shard | None) -> PartError:
    again = "" if shard is None else f" --shard {shard}"
    return PartError(f"{path}: {problem}; score this shard again:{again} --force")
