"""What a corpus leaves out or holds twice, and the warnings about it: few, even when there are many such files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

__all__ = ["CorpusDocument", "DuplicateFinder", "LeftOutFiles", "reader_warnings"]

_NAMED_FILES = 5
"""Up to this many files that were left out get a warning each; more get one for each reason."""

_NAMED_REASONS = 8


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One text of a corpus: `path` is relative to the corpus, with ``/``; `label` is an index into `Corpus.authors`.

    `sha256` and `reader` are those of `Document`.
    """

    path: str
    label: int
    text: str
    sha256: str
    reader: str = "text"


class LeftOutFiles:
    """Collects the files of the corpus at `root` that give no document."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._files: list[tuple[str, str]] = []

    def add(self, name: str, reason: str) -> None:
        """Remember the file `name`, relative to the corpus, and why it is left out."""
        self._files.append((name, reason))

    @property
    def names(self) -> Iterator[str]:
        """The files, relative to the corpus, in walk order."""
        return (name for name, _ in self._files)

    def reason(self, wanted: Callable[[str], bool]) -> str | None:
        """The reason of the first file whose name is `wanted`."""
        return next((reason for name, reason in self._files if wanted(name)), None)

    def warnings(self) -> Iterator[str]:
        """Yield a warning for each file, or for each reason when there are many files."""
        if len(self._files) <= _NAMED_FILES:
            for name, reason in self._files:
                yield f"{_shown(self._root / name)}: left out, {reason}"
            return
        by_reason: dict[str, list[str]] = {}
        for name, reason in self._files:
            by_reason.setdefault(reason, []).append(name)
        ordered = sorted(by_reason.items(), key=lambda item: -len(item[1]))
        for reason, names in ordered[:_NAMED_REASONS]:
            yield f"{self._root}: {len(names)} files are left out, such as {_shown(Path(names[0]))}: {reason}"
        rest = sum(len(names) for _, names in ordered[_NAMED_REASONS:])
        if rest:
            yield f"{self._root}: {rest} more files are left out, for other reasons"


_UNEQUAL_FORMATS = 0.5
"""Two authors have different formats when a format has so much more of the one's documents than of the other's."""


def reader_warnings(root: Path, authors: Sequence[str], documents: Sequence[CorpusDocument]) -> Iterator[str]:
    """Yield warnings about formats that some of the `authors` have and others do not, and about what was cut."""
    counts = [Counter[str]() for _ in authors]
    cut = 0
    for document in documents:
        name, note, _ = document.reader.partition(" (")
        counts[document.label][name] += 1
        cut += bool(note)
    totals = [max(1, own.total()) for own in counts]
    for name in sorted({name for own in counts for name in own}):
        shares = [own[name] / total for own, total in zip(counts, totals, strict=True)]
        most, least = shares.index(max(shares)), shares.index(min(shares))
        if shares[most] - shares[least] >= _UNEQUAL_FORMATS:
            yield (
                f"{root}: of the documents by {authors[most]}, {shares[most]:.0%} are {name}, and of those by "
                f"{authors[least]} {shares[least]:.0%}: the model may learn the format; bring all documents into one"
            )
            break  # where one format is more frequent, another one is less so
    if cut:
        yield f"{root}: Project Gutenberg's header and licence are left out of {cut} documents"


def _shown(path: Path) -> str:
    """The path, with an escape for each byte that is not UTF-8."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return repr(str(path))
    return str(path)


class DuplicateFinder:
    """Finds texts that occur more than once in the corpus at `root`."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[bytes, dict[int, str]] = {}
        """Digest of a text -> author -> path of the author's first document with this text."""
        self._copies: list[tuple[str, str]] = []
        self._shared: list[tuple[str, str]] = []

    def add(self, document: CorpusDocument) -> bool:
        """Remember `document`; returns whether it is its author's first one with this text."""
        digest = hashlib.sha256(document.text.encode("utf-8", "replace")).digest()
        paths = self._seen.setdefault(digest, {})
        if document.label in paths:
            self._copies.append((document.path, paths[document.label]))
            return False
        if paths:
            self._shared.append((document.path, next(iter(paths.values()))))
        paths[document.label] = document.path
        return True

    @property
    def copies(self) -> tuple[str, ...]:
        """The paths of the documents that are copies."""
        return tuple(path for path, _ in self._copies)

    def warnings(self) -> Iterator[str]:
        """Yield one warning about copies and one about texts of several authors, where there are any."""
        if self._copies:
            one, other = self._copies[0]
            yield (
                f"{self._root}: {len(self._copies)} documents are copies of others by the same author; each text is "
                f"used once ({one} is the same as {other})"
            )
        if self._shared:
            one, other = self._shared[0]
            yield (
                f"{self._root}: {len(self._shared)} documents also occur under another author, so their true author is "
                f"unclear ({one} is the same as {other})"
            )
