"""The parts of a run in the order of the run; refused unless they are all of one run, each there once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

from authorid.errors import PartError, os_error_reason
from authorid.outputs.journal import is_begun
from authorid.outputs.part_files import PART_SUFFIX, Part, part_path, read_part
from authorid.outputs.records import Attribution
from authorid.outputs.resume import differences
from authorid.outputs.run_files import RunFiles

__all__ = ["find_parts", "merged_records", "ordered_parts"]

_NAMED = 5
"""So many missing parts are named."""


def find_parts(paths: Sequence[Path]) -> list[Path]:
    """The parts among `paths`, and in those that are directories. Raises `PartError` where there is none."""
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        try:
            parts = sorted(entry for entry in path.iterdir() if entry.name.endswith(PART_SUFFIX))
        except OSError as error:
            raise PartError(f"{path}: cannot be read: {os_error_reason(error)}") from None
        if not parts:
            raise PartError(f"{path}: has no parts (*{PART_SUFFIX}), which authorid score --shard writes")
        found += parts
    return found


def ordered_parts(paths: Sequence[Path]) -> list[Part]:
    """The parts at `paths`, in the order of the run. Raises `PartError` unless they make a whole run."""
    first = read_part(paths[0])
    by_number: dict[int, Part] = {}
    for path in paths:
        part = read_part(path)
        _check_same_run(first, part)
        part = replace(part, answers=first.answers, fingerprint=first.fingerprint)  # equal: one copy is enough
        other = by_number.setdefault(part.shard.number, part)
        if other is not part:
            raise PartError(f"{part.path}: is part {part.shard}, and so is {other.path}: leave out one of them")
    count = first.shard.count
    if missing := [number for number in range(1, count + 1) if number not in by_number]:
        raise _missing(first, missing)
    ordered = [by_number[number] for number in range(1, count + 1)]
    for before, part in pairwise(ordered):
        if before.end.end != part.end.begin:
            raise PartError(
                f"{part.path}: does not begin where {before.path} ends: the documents changed while shards were "
                "scored; list them first (authorid list), and score all shards again"
            )
    if not ordered[0].end.begin.startswith("0.0 ") or ordered[-1].end.end.partition(" ")[2] != first.end.files:
        raise PartError(
            f"{ordered[-1].path}: does not end where the run ends: the documents changed while it was scored; score "
            "all shards again"
        )
    return ordered


def merged_records(parts: Sequence[Part]) -> Iterator[Attribution]:
    """Yield the records of all parts, one part at a time. Raises `PartError` if a part is damaged."""
    for part in parts:
        yield from part.records()


def _check_same_run(first: Part, part: Part) -> None:
    """Raise `PartError` if the two parts are of different runs."""
    if part.shard.count != first.shard.count:
        raise PartError(f"{part.path}: is part {part.shard}, but {first.path} is part {first.shard}")
    if part.end.files != first.end.files:
        raise PartError(
            f"{part.path}: not of the same documents as {first.path}: files were added, removed or changed between "
            "the two; list them first (authorid list), and score all shards again"
        )
    if part.fingerprint.get("model") != first.fingerprint.get("model") or part.answers != first.answers:
        raise PartError(f"{part.path}: not of the same model as {first.path}")
    if part.fingerprint != first.fingerprint:
        changes = "; ".join(differences(dict(first.fingerprint), dict(part.fingerprint)))
        raise PartError(f"{part.path}: not of the same run as {first.path}: {changes}")


def _missing(first: Part, numbers: Sequence[int]) -> PartError:
    names = ", ".join(str(number) for number in numbers[:_NAMED])
    more = f" and {len(numbers) - _NAMED} more" if len(numbers) > _NAMED else ""
    message = f"of {first.shard.count} parts, {len(numbers)} are missing: {names}{more}"
    files = RunFiles(Path(os.path.realpath(part_path(first.path.parent, replace(first.shard, number=numbers[0])))))
    if is_begun(files.journal):
        message += f"; number {numbers[0]} was interrupted: repeat its command with --resume"
    return PartError(f"{first.path.parent}: {message}")
