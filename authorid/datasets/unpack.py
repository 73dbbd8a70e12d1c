"""Archives from the network: only the expected files come out of them, and no more bytes than expected."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from authorid.datasets.dataset import Dataset
from authorid.errors import CorpusError

__all__ = ["unpack"]

_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, ValueError, OverflowError)
"""What zipfile raises for archives that are damaged, encrypted or of another kind."""


def unpack(dataset: Dataset, archive: Path, target: Path) -> None:
    """Unpack the parts of `dataset` from `archive` into the directory `target`, as PART/AUTHOR/FILE.

    Whatever else is in the archive is left out. Raises `CorpusError` when the archive is damaged or holds something
    that the data set cannot, and `OSError` when a file cannot be written.
    """
    try:
        with zipfile.ZipFile(archive) as opened:
            inner = _inner_archive(dataset, opened)
            if inner is None:
                _unpack_members(dataset, opened, target)
                return
            copy = target / "inner.zip"
            with opened.open(inner) as source, copy.open("xb") as sink:
                _copy(source, sink, dataset.most_bytes)
        with zipfile.ZipFile(copy) as opened:
            _unpack_members(dataset, opened, target)
        copy.unlink()
    except _DAMAGED as error:
        raise CorpusError(f"{archive}: not the archive of {dataset.name}, or a damaged one ({error})") from None


def _inner_archive(dataset: Dataset, archive: zipfile.ZipFile) -> zipfile.ZipInfo | None:
    """The only archive in `archive`, where that holds no part itself: UCI wraps some of its archives."""
    inner = [member for member in archive.infolist() if member.filename.lower().endswith(".zip")]
    return inner[0] if len(inner) == 1 and not list(_members(dataset, archive)) else None


def _members(dataset: Dataset, archive: zipfile.ZipFile) -> Iterator[tuple[zipfile.ZipInfo, tuple[str, str, str]]]:
    """The documents in `archive`, each with its part, author and file name."""
    for member in archive.infolist():
        names = member.filename.split("/")
        if member.is_dir() or "__MACOSX" in names or not any(name in dataset.parts for name in names[:-1]):
            continue
        if len(names) < 3 or names[-3] not in dataset.parts or not all(map(_is_plain, names[-2:])):
            raise ValueError(f"an unexpected member {member.filename[:80]!r}")
        yield member, (names[-3], names[-2], names[-1])


def _is_plain(name: str) -> bool:
    """Whether `name` is a file name on every system, and leads nowhere else."""
    return name.isprintable() and not name.startswith(".") and not set(name) & set('\\/:*?"<>|') and bool(name.strip())


def _unpack_members(dataset: Dataset, archive: zipfile.ZipFile, target: Path) -> None:
    left = dataset.most_bytes
    most = len(dataset.parts) * dataset.authors * dataset.documents
    for number, (member, names) in enumerate(_members(dataset, archive)):
        if number >= most:
            raise ValueError(f"more than the expected {most} documents")
        path = target.joinpath(*names)
        path.parent.mkdir(parents=True, exist_ok=True)
        with archive.open(member) as source, path.open("xb") as sink:
            left -= _copy(source, sink, left)


def _copy(source: IO[bytes], sink: IO[bytes], most: int) -> int:
    """Copy at most `most` bytes and return their number; raises `ValueError` if there are more."""
    copied = 0
    while chunk := source.read(min(1 << 16, most - copied + 1)):
        copied += len(chunk)
        if copied > most:
            raise ValueError("it unpacks to more bytes than expected")
        sink.write(chunk)
    return copied
