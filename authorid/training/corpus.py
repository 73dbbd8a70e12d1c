"""A corpus: a directory with one subdirectory of documents per author.

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
from authorid.training.author_directories import check_learnable, find_authors, match_authors
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.corpus_warnings import CorpusDocument, DuplicateFinder, LeftOutFiles, reader_warnings

__all__ = ["Corpus", "CorpusDocument", "load_corpus", "load_known_corpus"]


@dataclass(frozen=True, slots=True)
class Corpus:
    """Documents with known authors.

    `authors` are the directory names in Unicode normal form C, sorted by directory name. `warnings` name what was left
    out, and texts that several authors share. `unused` are the relative paths of files in the author directories that
    gave no document, and `reading` is how the corpus was read (see `CorpusSpec.to_json`).
    """

    root: Path
    authors: tuple[str, ...]
    documents: tuple[CorpusDocument, ...]
    warnings: tuple[str, ...] = ()
    unused: tuple[str, ...] = ()
    reading: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """SHA-256 over the sorted pairs (relative path, SHA-256 of the file); it identifies the corpus."""
        total = hashlib.sha256()
        for path, sha256 in sorted((document.path, document.sha256) for document in self.documents):
            total.update(path.encode() + b"\0" + sha256.encode() + b"\n")
        return total.hexdigest()


def load_corpus(corpus: Path | CorpusSpec, *, copies: bool = False, typography: Typography = "kept") -> Corpus:
    """Read a corpus to learn from: each subdirectory is an author, each file in it, at any depth, a document.

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
    """Reads the documents of `authors`, the names of authors by those of their directories."""

    def __init__(self, spec: CorpusSpec, authors: Mapping[str, str], copies: bool, typography: Typography) -> None:
        self._spec = spec
        self._folded = typography == "folded"
        self._authors = authors
        self._labels = {directory: label for label, directory in enumerate(authors)}
        self._documents: list[CorpusDocument] = []
        self._texts = None if copies else DuplicateFinder(spec.path)
        self._left_out = LeftOutFiles(spec.path)

    def read(self, timeout: Timeout) -> Corpus:
        """Read all documents, in walk order."""
        for file in walk([self._spec.path], self._spec.documents, timeout):
            directory, _, rest = file.below.partition("/")
            label = self._labels.get(directory)
            if label is not None:
                self._read_file(file, label, timeout)
            elif not rest and file.problem is not None and timeout.call(lambda path=file.path: Path(path).is_dir()):  # type: ignore[misc]
                self._left_out.add(file.below, file.problem)  # perhaps an author, behind a link
        self._check_authors()
        return Corpus(
            root=self._spec.path,
            authors=tuple(self._authors.values()),
            documents=tuple(self._documents),
            warnings=tuple(self._warnings()),
            unused=tuple(self._left_out.names) + (self._texts.copies if self._texts is not None else ()),
            reading=self._spec.to_json(),
        )

    def _warnings(self) -> Iterator[str]:
        yield from self._left_out.warnings()
        if self._texts is not None:
            yield from self._texts.warnings()
            yield from reader_warnings(self._spec.path, tuple(self._authors.values()), self._documents)

    def _read_file(self, file: DiscoveredFile, label: int, timeout: Timeout) -> None:
        try:
            file.below.encode()
        except UnicodeEncodeError:  # undecodable bytes appear as lone surrogates
            self._left_out.add(file.below, "its name is not UTF-8")
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

    def _check_authors(self) -> None:
        """Raise `CorpusError` if an author has no document."""
        with_documents = {document.label for document in self._documents}
        for label, directory in enumerate(self._authors):
            if label not in with_documents:
                reason = self._left_out.reason_below(directory)
                raise CorpusError(
                    f"{self._spec.path / directory}: this author has no readable document"
                    f"{f' ({reason})' if reason else ''}; add some or remove the directory"
                )
