"""A corpus: a directory with one subdirectory of documents per author.

Documents are read whole, decoded once, and kept in a fixed order (authors sorted by name, documents by path), so that
an index means the same document in every process that reads the same corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from authorid.bundle.manifest import Typography
from authorid.errors import CorpusError
from authorid.inputs.decoding import UndecodableError, decode, tidy
from authorid.inputs.typography import fold_typography

__all__ = ["Corpus", "CorpusDocument", "load_corpus", "load_test_corpus"]


@dataclass(frozen=True, slots=True)
class CorpusDocument:
    """One text of a corpus: `path` is relative to the corpus, with ``/``; `label` is an index into `Corpus.authors`."""

    path: str
    label: int
    text: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with known authors.

    `authors` are the directory names, sorted. `warnings` name what was left out, and texts that several authors share.
    """

    root: Path
    authors: tuple[str, ...]
    documents: tuple[CorpusDocument, ...]
    warnings: tuple[str, ...] = ()

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted pairs (relative path, SHA-256 of the file); it identifies the corpus."""
        total = hashlib.sha256()
        for path, sha256 in sorted((document.path, document.sha256) for document in self.documents):
            total.update(path.encode() + b"\0" + sha256.encode() + b"\n")
        return total.hexdigest()


def load_corpus(root: Path, *, copies: bool = False, typography: Typography = "kept") -> Corpus:
    """Read the corpus at `root`: each visible subdirectory is an author, each visible file in it a document.

    Files that are empty or cannot be read or decoded are left out, with a warning. Of an author's documents with the
    same text only the first is kept, also with a warning: a text that is both trained on and held out tells nothing
    about new documents. With `copies` all are kept, because an evaluation counts every document. Texts that several
    authors share are kept, with a warning. With `typography` ``folded``, texts are folded as for a model that was
    trained so. Raises `CorpusError` when `root` is not a directory or has fewer than two
    authors, or when an author has no readable document.
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
    texts = _DuplicateFinder(root)
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
            if typography == "folded":
                text = fold_typography(tidy(text))
            if not text.strip():
                warnings.append(f"{path}: left out, empty")
                continue
            document = CorpusDocument(relative, label, text, hashlib.sha256(data).hexdigest())
            if copies or texts.add(document):
                documents.append(document)
        if len(documents) == before:
            raise CorpusError(f"{home}: this author has no readable document; add some or remove the directory")
    return Corpus(root, tuple(home.name for home in homes), tuple(documents), (*warnings, *texts.warnings()))


def load_test_corpus(root: Path, corpus: Corpus, typography: Typography = "kept") -> Corpus:
    """Read the corpus at `root`, to evaluate a model of `corpus` on it, with the `typography` of that.

    Raises `CorpusError` as `load_corpus` does, and when an author is not in `corpus`.
    """
    test = load_corpus(root, copies=True, typography=typography)
    unknown = sorted(set(test.authors) - set(corpus.authors))
    if unknown:
        raise CorpusError(f"{root}: authors that are not in the training corpus: {', '.join(unknown[:5])}")
    return test


class _DuplicateFinder:
    """Finds texts that occur more than once in a corpus, after the same clean-up as for the models."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._seen: dict[bytes, dict[int, str]] = {}
        """Digest of a text -> author -> path of the author's first document with this text."""
        self._copies: list[tuple[str, str]] = []
        self._shared: list[tuple[str, str]] = []

    def add(self, document: CorpusDocument) -> bool:
        """Remember `document`; returns whether it is its author's first one with this text."""
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


def _files(home: Path) -> Iterator[Path]:
    """Yield the visible regular files under `home`, at any depth, in sorted order; links to directories are skipped."""
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
    """Return whether a file name is valid Unicode; undecodable bytes appear as lone surrogates."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _name(path: Path) -> str:
    return path.name
