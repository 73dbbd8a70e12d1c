"""A corpus: a directory with one subdirectory of documents per author, or with files called ``Author_Title.txt``.

Documents are read whole, decoded once, and kept in a fixed order (authors sorted by name, documents by path), so that
an index means the same document in every process that reads the same corpus.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from authorid.bundle.manifest import Typography
from authorid.errors import CorpusError
from authorid.inputs.discovery import DiscoveredFile, walk
from authorid.inputs.documents import Failure
from authorid.inputs.reading import read_file
from authorid.inputs.timeouts import Timeout
from authorid.inputs.typography import fold_typography
from authorid.training.author_directories import AuthorPlaces, check_learnable, find_authors, match_authors
from authorid.training.author_files import is_utf8
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.corpus_warnings import CorpusDocument, DuplicateFinder, LeftOutFiles, reader_warnings

__all__ = ["Corpus", "CorpusDocument", "load_corpus", "load_known_corpus"]

_NOT_UTF8 = "its name is not UTF-8"

_NAMED = 10
"""So many authors are named in a summary."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with known authors.

    `authors` are the names of the directories, or those in the names of the files of a `flat` corpus, in Unicode normal
    form C, in the byte order of the names on disk. `warnings` name what was left
    out, and texts that several authors share. `unused` are the relative paths of files in the author directories that
    gave no document, and `reading` is how the corpus was read (see `CorpusSpec.to_json`).
    """

    root: Path
    authors: tuple[str, ...]
    documents: tuple[CorpusDocument, ...]
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)
    flat: bool = False

    @property
    def summary(self) -> str:
        """How many documents of how many authors there are, and who these are, for the user to confirm."""
        names = ", ".join(self.authors[:_NAMED]) + (", ..." if len(self.authors) > _NAMED else "")
        where = ", named by what is before the first underscore" if self.flat else ""
        return f"{len(self.documents):,} documents by {len(self.authors):,} authors{where}: {names}"

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted pairs (relative path, SHA-256 of the file); it identifies the corpus."""
        total = hashlib.sha256()
        for path, sha256 in sorted((document.path, document.sha256) for document in self.documents):
            total.update(path.encode() + b"\0" + sha256.encode() + b"\n")
        return total.hexdigest()


def load_corpus(corpus: Path | CorpusSpec, *, copies: bool = False, typography: Typography = "kept") -> Corpus:
    """Read a corpus to learn from: each subdirectory is an author, each file in it, at any depth, a document.

    Without subdirectories, each file is a document by the author in its name (`authorid.training.author_files`).

    Files are found and read as they are for scoring. Those that cannot be read or decoded are left out, with a warning.
    Of an author's documents with the same text only the first is kept, also with a warning: a text that is both
    trained on and held out tells nothing about new documents. With `copies` all are kept, because an evaluation counts
    every document. Texts that several authors share are kept, with a warning. With `typography` ``folded``, texts are
    folded, as they are for a model that was trained so. Raises `CorpusError` when there are fewer
    than two authors, when a directory is probably no author or is one that `find_authors` refuses, and when an author
    has no readable document.
    """
    spec = CorpusSpec.of(corpus)
    with Timeout(spec.documents.timeout) as timeout:
        authors = find_authors(spec, timeout)
        check_learnable(spec, authors, timeout)
        return _CorpusReader(spec, authors, copies, typography).read(timeout)


def load_known_corpus(
    corpus: Path | CorpusSpec, authors: Sequence[str], hint: str = "", typography: Typography = "kept"
) -> Corpus:
    """Read a corpus to evaluate a model of `authors` on: all copies are kept, and authors have the model's names.

    Raises `CorpusError` as `load_corpus` does, and when an author is not one of the model's; the message then ends with
    `hint`.
    """
    spec = CorpusSpec.of(corpus)
    with Timeout(spec.documents.timeout) as timeout:
        known = match_authors(spec, find_authors(spec, timeout), authors, hint)
        return _CorpusReader(spec, known, True, typography).read(timeout)


class _CorpusReader:
    """Reads the documents of `authors`."""

    def __init__(self, spec: CorpusSpec, authors: AuthorPlaces, copies: bool, typography: Typography) -> None:
        self._spec = spec
        self._folded = typography == "folded"
        self._authors = authors
        self._labels = {place: label for label, place in enumerate(authors.names)}
        self._documents: list[CorpusDocument] = []
        self._texts = None if copies else DuplicateFinder(spec.path)
        self._left_out = LeftOutFiles(spec.path)

    def read(self, timeout: Timeout) -> Corpus:
        """Read all documents, in walk order."""
        for file in walk([self._spec.path], self._spec.documents, timeout):
            place = self._authors.place_of(file.below)
            if place is not None:
                self._read_file(file, self._labels[place], timeout)
            elif reason := self._reason_without_author(file, timeout):
                self._left_out.add(file.below, reason)
        self._check_authors()
        return Corpus(
            root=self._spec.path,
            authors=tuple(self._authors.names.values()),
            documents=tuple(self._documents),
            warnings=tuple(self._warnings()),
            unused=tuple(self._left_out.names) + (self._texts.copies if self._texts is not None else ()),
            reading=self._spec.to_json(),
            flat=self._authors.flat,
        )

    def _warnings(self) -> Iterator[str]:
        yield from self._left_out.warnings()
        if self._texts is not None:
            yield from self._texts.warnings()
            yield from reader_warnings(self._spec.path, tuple(self._authors.names.values()), self._documents)

    def _read_file(self, file: DiscoveredFile, label: int, timeout: Timeout) -> None:
        if not is_utf8(file.below):
            self._left_out.add(file.below, _NOT_UTF8)
            return
        for number, item in enumerate(read_file(file, self._spec.documents, timeout), start=1):
            # The number and not the member: a table may have two rows of the same name, and names that are no paths.
            path = file.below if item.ref.member is None else f"{file.below}#{number}"
            if isinstance(item, Failure):
                self._left_out.add(path, item.reason)
                continue
            text = fold_typography(item.text) if self._folded else item.text
            document = CorpusDocument(path, label, text, item.sha256, item.reader)
            if self._texts is None or self._texts.add(document):
                self._documents.append(document)

    def _reason_without_author(self, file: DiscoveredFile, timeout: Timeout) -> str | None:
        """Why a file belongs to no author, where the user may not know; None for any other."""
        if self._authors.flat and not is_utf8(file.below):
            return _NOT_UTF8
        if "/" not in file.below and file.problem and timeout.call(Path(file.path).is_dir):
            return file.problem  # perhaps an author, behind a link
        return None

    def _check_authors(self) -> None:
        """Raise `CorpusError` if an author has no document."""
        with_documents = {document.label for document in self._documents}
        for place, label in self._labels.items():
            if label not in with_documents:
                reason = self._left_out.reason(lambda name, place=place: self._authors.place_of(name) == place)  # type: ignore[misc]
                where = self._spec.path / (f"{place}_*" if self._authors.flat else place)
                raise CorpusError(
                    f"{where}: this author has no readable document{f' ({reason})' if reason else ''}; add some or "
                    f"remove the {'files' if self._authors.flat else 'directory'}"
                )
