"""A corpus: one directory per author, with documents inside.

Documents are read whole, decoded once, and kept in a fixed order (authors sorted by name, documents by their
path), so that an index means the same document in every process that reads the same corpus.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from authorid.errors import CorpusError
from authorid.inputs.decoding import UndecodableError, decode, tidy

__all__ = ["Corpus", "CorpusDocument", "SplitHow", "load_corpus", "load_test_corpus", "natural"]

SplitHow = Literal["random", "last", "shifted"]


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One training text: `path` is relative to the corpus, POSIX style; `label` indexes `Corpus.authors`."""

    path: str
    label: int
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with known authors.

    `authors` are the directory names, sorted; `warnings` say what was left out, and which texts two authors share.
    """

    root: Path
    authors: tuple[str, ...]
    documents: tuple[CorpusDocument, ...]
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted (relative path, SHA-256 of the file) pairs: names the exact corpus."""
        total = hashlib.sha256()
        for path, sha256 in sorted((document.path, document.sha256) for document in self.documents):
            total.update(path.encode() + b"\0" + sha256.encode() + b"\n")
        return total.hexdigest()

    def split(
        self, fraction: float, seed: int, how: Literal["random", "last"] = "random"
    ) -> tuple[list[int], list[int]]:
        """Split by document, author by author: ``(training indices, validation indices)``, both ascending.

        Every author with two documents or more gives at least one and keeps at least one; an author with a
        single document keeps it. ``how="last"`` takes each author's last documents in natural order of their
        file names (for corpora numbered by date); ``"random"`` draws with `seed`.
        """
        if not 0.0 <= fraction < 1.0:
            raise ValueError(f"validation fraction must be in [0, 1), got {fraction}")
        held: set[int] = set()
        generator = np.random.default_rng(seed)
        for label in range(len(self.authors)):
            own = [index for index, document in enumerate(self.documents) if document.label == label]
            if fraction == 0.0 or len(own) < 2:
                continue
            count = min(max(round(len(own) * fraction), 1), len(own) - 1)
            if how == "last":
                own.sort(key=lambda index: natural(self.documents[index].path))
                held.update(own[-count:])
            else:
                held.update(int(index) for index in generator.permutation(own)[:count])
        everything = range(len(self.documents))
        return [index for index in everything if index not in held], sorted(held)


def load_corpus(root: Path, *, copies: bool = False) -> Corpus:
    """Read the corpus at `root`: each visible subdirectory is an author, each visible file in it a document.

    Files that are empty or cannot be read or decoded are left out with a warning, and so are copies: of an author's
    documents with the same text the first is kept, for a text that is both trained on and held out says nothing about
    others. With `copies` they stay: where a model is measured, every document counts. Texts that several authors share
    stay, with a warning. Raises `CorpusError` when `root` is not a directory, has fewer than two authors, or an author
    has no readable document.
    """
    root = Path(root)
    if not root.is_dir():
        raise CorpusError(f"{root}: not a directory; a corpus has one subdirectory per author")
    homes = sorted((entry for entry in root.iterdir() if _visible(entry) and entry.is_dir()), key=_name)
    if not homes:
        raise CorpusError(f"{root}: no author subdirectories; a corpus has one subdirectory per author")
    if len(homes) < 2:
        raise CorpusError(f"{root}: only one author ({homes[0].name}); attribution needs at least two")
    documents: list[CorpusDocument] = []
    warnings: list[str] = []
    known = _Texts(root)
    for label, home in enumerate(homes):
        if not _encodable(home.name):
            raise CorpusError(f"{root}: the author directory {home.name!r} has a name that is not UTF-8; rename it")
        before = len(documents)
        for path in _files(home):
            relative = path.relative_to(root).as_posix()
            if not _encodable(relative):
                warnings.append(f"{str(path)!r}: left out, its name is not UTF-8")
                continue
            try:
                data = path.read_bytes()
                text, _ = decode(data)
            except (OSError, UndecodableError) as error:
                warnings.append(f"{path}: left out, {error}")
                continue
            if not text.strip():
                warnings.append(f"{path}: left out, empty")
                continue
            document = CorpusDocument(relative, label, text, hashlib.sha256(data).hexdigest())
            if copies or known.add(document):
                documents.append(document)
        if len(documents) == before:
            raise CorpusError(f"{home}: this author has no readable document; add some or remove the directory")
    return Corpus(root, tuple(home.name for home in homes), tuple(documents), (*warnings, *known.warnings()))


def load_test_corpus(root: Path, corpus: Corpus) -> Corpus:
    """Read the corpus at `root`, to measure a model of `corpus` on; raises `CorpusError` when it has other authors."""
    test = load_corpus(root, copies=True)
    strangers = sorted(set(test.authors) - set(corpus.authors))
    if strangers:
        raise CorpusError(f"{root}: authors that are not in the training corpus: {', '.join(strangers[:5])}")
    return test


class _Texts:
    """The texts of a corpus, as the models are given them: finds those that are there more than once."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[bytes, dict[int, str]] = {}
        """By digest of the text: the path of each author's first document that has it."""
        self._copies: list[tuple[str, str]] = []
        self._shared: list[tuple[str, str]] = []

    def add(self, document: CorpusDocument) -> bool:
        """Whether it is the first of its author's with this text."""
        digest = hashlib.sha256(tidy(document.text).encode("utf-8", "replace")).digest()
        paths = self._seen.setdefault(digest, {})
        if document.label in paths:
            self._copies.append((document.path, paths[document.label]))
            return False
        if paths:
            self._shared.append((document.path, next(iter(paths.values()))))
        paths[document.label] = document.path
        return True

    def warnings(self) -> Iterator[str]:
        """What people should know about their corpus."""
        if self._copies:
            one, other = self._copies[0]
            yield (
                f"{self._root}: {len(self._copies)} documents are copies of others by the same author; each text is "
                f"used once ({one} is the same as {other})"
            )
        if self._shared:
            one, other = self._shared[0]
            yield (
                f"{self._root}: {len(self._shared)} documents are by another author too; nobody can tell whose they "
                f"are ({one} is the same as {other})"
            )


def _files(home: Path) -> Iterator[Path]:
    """Visible regular files under `home`, nested ones too, in sorted order; directory links are not entered."""
    for entry in sorted(home.iterdir(), key=_name):
        if not _visible(entry):
            continue
        if entry.is_dir():
            if not entry.is_symlink():
                yield from _files(entry)
        elif entry.is_file():
            yield entry


def _visible(path: Path) -> bool:
    return not path.name.startswith(".")


def _encodable(name: str) -> bool:
    """Whether a name from the file system is text; bytes that are not come as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(path: Path) -> str:
    return path.name


def natural(path: str) -> list[tuple[int, int, str]]:
    """Key that puts 9.txt before 10.txt."""
    return [(0, int(part), "") if part.isdecimal() else (1, 0, part) for part in re.split(r"(\d+)", path) if part]
