"""A flat corpus: a directory of files called ``Author_Title.txt``, as the R package stylo has them.

The author is what stands before the first underscore.
"""

from __future__ import annotations

from collections.abc import Iterator

from authorid.errors import CorpusError
from authorid.inputs.discovery import walk
from authorid.inputs.timeouts import Timeout
from authorid.training.corpus_spec import CorpusSpec

__all__ = ["author_in", "authors_in_files", "is_utf8"]


def author_in(file: str) -> str:
    """The author in the name of a `file` of a flat corpus; empty if there is none."""
    author, underscore, title = file.partition("_")
    return author if underscore and title else ""


def is_utf8(name: str) -> bool:
    """Whether the `name` of a file is UTF-8; lone surrogates stand for bytes that are not."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def authors_in_files(spec: CorpusSpec, timeout: Timeout) -> list[str]:
    """The authors in the names of the files of a corpus without directories, in byte order.

    Raises `CorpusError` if there are no files, or if any has a name without an author.
    """
    names = list(_names(spec, timeout))
    unclear = [name for name in names if not author_in(name)]
    if unclear or not names:
        files = "has no files either"
        if unclear:
            some = f"{len(unclear)} of its {len(names)} files" if len(names) > 1 else "its file"
            such = ", such as" if len(unclear) > 1 else ":"
            files = f"{some} {'are' if len(unclear) > 1 else 'is'} not called Author_Title.txt{such} {unclear[0]!r}"
        raise CorpusError(
            f"{spec.path}: no author subdirectories, and {files}; make one subdirectory per author, rename the files, "
            "or leave some out with --exclude"
        )
    return sorted(set(map(author_in, names)), key=lambda name: name.encode())


def _names(spec: CorpusSpec, timeout: Timeout) -> Iterator[str]:
    """The names of all files that can be opened; names that are not UTF-8 are left out of every corpus."""
    for file in walk([spec.path], spec.documents, timeout):
        if file.problem is None and file.below and is_utf8(file.below):
            yield file.below
