"""What the driver and its workers share about a run on a cluster: a directory beside the results.

::

    results.csv.parts/
        run.json                 the fingerprint of the run, the number of shards, the extent of the documents
        listing.jsonl            the files of the run, found once
        00001-of-00032.part      a finished shard; .journal and .lock beside it while it is scored
        00001.attempts           what became of the attempts to score it (see `authorid.runners.attempts`)
        ray.log                  what Ray has printed
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from authorid.errors import OutputError
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import ReadOptions
from authorid.inputs.listing import read_listing
from authorid.inputs.reading import row_group_sizes
from authorid.inputs.shards import MOST_SHARDS, Extent, Shard, ShardFiles, measure_extent
from authorid.outputs import atomic
from authorid.outputs.listing_writers import LISTING_WRITERS
from authorid.outputs.part_files import part_path
from authorid.outputs.resume import differences
from authorid.outputs.write_errors import raising_output_errors

__all__ = [
    "RunPlan",
    "begin_plan",
    "is_parts_directory",
    "is_planned",
    "parts_directory",
    "remove_parts",
    "shard_count",
]

_FORMAT = 1
_PLAN, _LISTING = "run.json", "listing.jsonl"

_OWN = re.compile(
    r"\.?run\.json(\.tmp)?|listing\.jsonl|ray\.log|[0-9]{5}(-of-[0-9]{5}\.part(\..*)?|\.attempts|\.current)"
)
"""Names of files that a run keeps in its directory of parts."""

_SHARDS_A_WORKER = 8
"""With several shards for each worker, all workers end at about the same time."""

_LARGEST_SHARD = 256 << 20
"""Bytes of a shard: a shard that has to be scored anew should not cost hours."""


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A run that is cut into `shards`, whose files are listed in `directory`. It can be pickled."""

    directory: Path
    shards: int
    extent: Extent

    def shard(self, number: int) -> Shard:
        """The shard with this number, from 1."""
        return Shard(number, self.shards)

    def part(self, number: int) -> Path:
        """Where the part of a shard is written."""
        return part_path(self.directory, self.shard(number))

    def attempts(self, number: int) -> tuple[Path, Path]:
        """The two files of the `Attempt`s at a shard."""
        log = self.directory / f"{number:05}.attempts"
        return log, log.with_suffix(".current")

    def files(self, number: int, options: ReadOptions) -> ShardFiles:
        """The files of a shard."""
        listing = read_listing(self.directory / _LISTING)
        return ShardFiles(listing, self.shard(number), self.extent, partial(row_group_sizes, options=options))

    def unfinished(self) -> list[int]:
        """The numbers of the shards that have no finished part."""
        names = set(os.listdir(self.directory))  # noqa: PTH208 (a name is all that is needed)
        parts = {number: self.part(number).name for number in range(1, self.shards + 1)}
        return [number for number, name in parts.items() if name not in names or f"{name}.journal" in names]


def parts_directory(out: str) -> Path:
    """Where the parts of the run that writes `out` are kept."""
    return Path(f"{os.path.realpath(out)}.parts")


def is_parts_directory(path: Path) -> bool:
    """Whether there is a directory at `path` that has nothing but what a run keeps there."""
    return not path.is_symlink() and path.is_dir() and all(map(_OWN.fullmatch, os.listdir(path)))  # noqa: PTH208


def is_planned(directory: Path) -> bool:
    """Whether the run in `directory` has a plan, and so can be resumed."""
    return (directory / _PLAN).exists()


def remove_parts(path: Path) -> None:
    """Remove the directory of the parts; raises `OutputError`."""
    with raising_output_errors(str(path)):
        if is_parts_directory(path):
            atomic.remove_tree(path)


def shard_count(weight: int, workers: int) -> int:
    """How many shards to make of documents of so many bytes in all, for so many workers."""
    return min(max(_SHARDS_A_WORKER * workers, math.ceil(weight / _LARGEST_SHARD)), MOST_SHARDS)


def begin_plan(
    directory: Path,
    files: Iterable[DiscoveredFile],
    fingerprint: Mapping[str, Any],
    *,
    workers: int,
) -> RunPlan:
    """The plan of the run in `directory`, which is made for it; that of an interrupted run is taken up again.

    `files` are listed for a new run only: the one that was interrupted has a listing.

    Raises `OutputError` if another run was interrupted there, or the disk fails.
    """
    with raising_output_errors(str(directory)):
        directory.mkdir(exist_ok=True)
        if is_planned(directory):
            return _resumed(directory, fingerprint)
        listing = directory / _LISTING
        _write_listing(listing, files)
        extent = measure_extent(read_listing(listing))
        plan = RunPlan(directory, shard_count(extent.weight, workers), extent)
        record = {"run": _FORMAT, "shards": plan.shards, "extent": list(extent), "fingerprint": fingerprint}
        atomic.write_file(directory / _PLAN, json.dumps(record).encode("ascii"))
        return plan


def _write_listing(path: Path, files: Iterable[DiscoveredFile]) -> None:
    writer = LISTING_WRITERS["jsonl"]()
    atomic.remove(path)
    with os.fdopen(atomic.create(path), "wb") as stream:
        stream.write(writer.header())
        for file in files:
            stream.write(writer.row(file))
        stream.write(writer.footer())
        stream.flush()
        atomic.sync(stream.fileno())


def _resumed(directory: Path, fingerprint: Mapping[str, Any]) -> RunPlan:
    try:
        record = json.loads((directory / _PLAN).read_bytes())
        if record["run"] != _FORMAT:
            raise ValueError("another format")
        before: dict[str, Any] = record["fingerprint"]
        plan = RunPlan(directory, int(record["shards"]), Extent(*record["extent"]))
    except (ValueError, TypeError, KeyError) as error:
        raise OutputError(f"{directory / _PLAN}: damaged, or of another release; pass --force to start over") from error
    if changes := differences(before, dict(fingerprint)):
        raise OutputError(
            f"{directory}: cannot resume, this is not the run that was interrupted: {'; '.join(changes)}. "
            "Call it as before, or pass --force without --resume to start over."
        )
    return plan
