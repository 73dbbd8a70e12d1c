"""Shards: contiguous, balanced parts of the files of a run.

The plan depends only on the paths and sizes of the files, in walk order, so that every machine that sees the same files
makes the same one. A file belongs to the shard in which its middle lies, when all files are laid end to end. A Parquet
table that lies in several shards is split between row groups, by the same rule.

Each shard also notes where it begins and ends, with a digest of all files before that. Shards fit together only if the
end of each is the beginning of the next (see `authorid.outputs.part_files`).
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import NamedTuple

from authorid.cancellation import CancelCheck, never_cancelled
from authorid.inputs.discovery import DiscoveredFile

__all__ = ["MOST_SHARDS", "Extent", "GroupSizes", "Shard", "ShardFiles", "measure_extent"]

MOST_SHARDS = 99_999

_FILE_WEIGHT = 1024
"""Bytes that the work for a file of no bytes is worth."""

_WRITTEN = re.compile(r"([0-9]{1,9})/([0-9]{1,9})")


@dataclass(frozen=True, slots=True)
class Shard:
    """One of `count` parts of a run; `number` is from 1 to `count`."""

    number: int
    count: int

    @classmethod
    def parse(cls, text: str) -> Shard:
        """The shard that `text` writes as ``3/64``. Raises `ValueError`."""
        match = _WRITTEN.fullmatch(text)
        if match is None:
            raise ValueError(f"{text!r} is not K/N, such as 3/64")
        number, count = int(match[1]), int(match[2])
        if not 1 <= count <= MOST_SHARDS:
            raise ValueError(f"{text}: there can be 1 to {MOST_SHARDS} shards")
        if not 1 <= number <= count:
            raise ValueError(f"{text}: shards are numbered from 1 to {count}")
        return cls(number, count)

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


class Extent(NamedTuple):
    """All files of a run: how many, what they weigh (bytes, and a constant for each file), and a digest of them."""

    files: int
    weight: int
    digest: str


def measure_extent(files: Iterable[DiscoveredFile], check: CancelCheck = never_cancelled) -> Extent:
    """The extent of `files`. `check` is called for each of them; what it raises ends this."""
    count = weight = 0
    digest = hashlib.sha256()
    for file in files:
        check()
        digest.update(_identity(file))
        weight += _weight(file)
        count += 1
    return Extent(count, weight, digest.hexdigest())


GroupSizes = Callable[[DiscoveredFile], list[int]]
"""Gives the bytes of each row group of a Parquet table, and nothing for any other file."""


class ShardFiles:
    """The files in a `shard` of all `files`, whose extent is known; iterate over it once.

    A table that is split has `DiscoveredFile.groups`. `begin` and `end` are set by the end of the iteration: they are
    equal to those of the shards before and after this one if these have seen the same files.
    """

    def __init__(
        self, files: Iterable[DiscoveredFile], shard: Shard, extent: Extent, group_sizes: GroupSizes = lambda _: []
    ) -> None:
        self.begin = self.end = ""
        self._files = files
        self._shard = shard
        self._extent = extent
        self._group_sizes = group_sizes

    def __iter__(self) -> Iterator[DiscoveredFile]:
        """Yield the files, in walk order."""
        own = self._shard.number - 1
        digest = hashlib.sha256()
        count = offset = 0
        for file in self._files:
            for number, piece in self._pieces(file, offset):
                if number >= own and not self.begin:
                    self.begin = _position(count, piece, digest.hexdigest())
                if number > own:
                    self.end = _position(count, piece, digest.hexdigest())
                    return
                if number == own:
                    yield piece
            count += 1
            offset += _weight(file)
            digest.update(_identity(file))
        self.end = _position(count, None, digest.hexdigest())
        self.begin = self.begin or self.end

    def _pieces(self, file: DiscoveredFile, offset: int) -> Iterator[tuple[int, DiscoveredFile]]:
        """The parts of a file that begins at `offset`, each with the index of its shard."""
        weight = _weight(file)
        whole = self._index(2 * offset + weight, 2)
        if self._index(offset, 1) == self._index(offset + weight, 1):
            yield whole, file
            return
        sizes = [max(size, 1) for size in self._group_sizes(file)]
        if len(sizes) < 2:
            yield whole, file
            return
        total, before = sum(sizes), 0
        indexes = []
        for size in sizes:
            indexes.append(self._index(2 * offset * total + weight * (2 * before + size), 2 * total))
            before += size
        first = 0
        for index, groups in groupby(indexes):
            last = first + len(list(groups))
            yield index, file if last - first == len(sizes) else file._replace(groups=(first, last))
            first = last

    def _index(self, numerator: int, denominator: int) -> int:
        """The index of the shard at this offset, a fraction, in exact arithmetic."""
        count = self._shard.count
        return min(numerator * count // (denominator * max(self._extent.weight, 1)), count - 1)


def _weight(file: DiscoveredFile) -> int:
    return _FILE_WEIGHT + (file.size or 0)


def _identity(file: DiscoveredFile) -> bytes:
    """What the digest holds of a file: its path and its size."""
    path = os.fsencode(file.path)
    return b"%d %d %b" % (len(path), -1 if file.size is None else file.size, path)


def _position(files: int, piece: DiscoveredFile | None, digest: str) -> str:
    """A place between two documents: after so many files and row groups, with the digest of these files."""
    groups = 0 if piece is None or piece.groups is None else piece.groups[0]
    return f"{files}.{groups} {digest}"
