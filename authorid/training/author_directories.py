"""Where the authors of a corpus are: in directories of their own or, without any, in the names of files."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from authorid.bundle.author_names import author_key, normalized_name, too_much_alike
from authorid.errors import CorpusError
from authorid.inputs.discovery import directories
from authorid.inputs.timeouts import Timeout
from authorid.training.author_files import author_in, authors_in_files, is_utf8
from authorid.training.corpus_spec import CorpusSpec

__all__ = ["AuthorPlaces", "check_learnable", "find_authors", "match_authors"]


@dataclass(frozen=True, slots=True)
class AuthorPlaces:
    """The authors of a corpus, sorted by place: `names` are their names by place.

    A place is the name of a directory or, in a `flat` corpus, what the names of the author's files begin with.
    """

    names: Mapping[str, str]
    flat: bool = False

    def place_of(self, below: str) -> str | None:
        """The place that the file `below` the corpus belongs to; None if it belongs to no author."""
        place = author_in(below) if self.flat else below.partition("/")[0]
        return place if place in self.names else None


_NO_AUTHORS = frozenset(
    (
        *("unknown", "unidentified", "unattributed", "disputed", "dubious", "anonymous", "anon", "joint", "mixed"),
        *("train", "training", "test", "testing", "tests", "dev", "valid", "validation", "val", "eval", "evaluation"),
        *("held-out", "heldout", "holdout", "misc", "miscellaneous", "other", "others", "various", "unsorted", "todo"),
        *("tmp", "temp", "backup", "backups", "trash", "output", "out", "results", "runs", "models", "checkpoints"),
        *("cache", "data", "docs", "texts", "corpus", "node_modules", "venv", "__macosx", "lost+found", "@eadir"),
        *("$recycle.bin", "system volume information"),
    )
)
"""Names, as `author_key` has them, that people and programs give to directories of something else."""

_UNNAMED = re.compile(r"\.|__.*__$|(?:new|untitled) (?:folder|directory)|unknown[ _-]?(?:author|writer)s?$")
"""Matches other such names: hidden ones, ``__pycache__``, ``New Folder (2)``, ``unknown_authors``."""

_NUMBER = re.compile(r"[\s._-]*\d+$")

_RENAME = "rename one, or move its documents to the other"

_MODEL_FILES = ("run.json", "authorid.json", "checkpoint")


def find_authors(spec: CorpusSpec, timeout: Timeout) -> AuthorPlaces:
    """The authors of a corpus; their names are in Unicode normal form C.

    Raises `CorpusError` if there are fewer than two, if a name is not UTF-8, or if two names are too much alike.
    """
    root = spec.path
    if not timeout.call(root.is_dir):
        raise CorpusError(f"{root}: not a directory; a corpus has one subdirectory per author")
    excluded = {normalized_name(name) for name in spec.exclude_authors}
    try:
        names = list(directories(str(root), spec.documents, timeout))
    except OSError as error:
        raise CorpusError(f"{root}: cannot be read: {error.strerror or error}") from None
    for name in names:
        if not is_utf8(name):
            raise CorpusError(f"{root}: the author directory {name!r} has a name that is not UTF-8; rename it")
    flat = not names
    if flat:
        names = authors_in_files(spec, timeout)
    found = {name: normalized_name(name) for name in names if normalized_name(name) not in excluded}
    alike = too_much_alike(found)
    if alike is not None:
        them, way = ("authors", "rename the files of one") if flat else ("author directories", _RENAME)
        raise CorpusError(f"{root}: the {them} {alike}; {way}")
    if not found:
        raise CorpusError(f"{root}: every author is left out; attribution needs at least two")
    if len(found) < 2:
        raise CorpusError(f"{root}: only one author ({next(iter(found))}); attribution needs at least two")
    return AuthorPlaces(found, flat)


def check_learnable(spec: CorpusSpec, authors: AuthorPlaces, timeout: Timeout) -> None:
    """Raise `CorpusError` if a place is probably no author's, or if one that is excluded does not exist."""
    flat = {normalized_name(name) for name in authors_in_files(spec, timeout)} if authors.flat else set()
    for name in spec.exclude_authors:
        if normalized_name(name) not in flat if authors.flat else not timeout.call((spec.path / name).is_dir):
            place = "author" if authors.flat else "author directory"
            raise CorpusError(f"{spec.path}: has no {place} {name!r} that could be left out")
    if spec.all_authors:
        return
    doubtful = [name for name in authors.names if timeout.call(lambda name=name: _is_doubtful(spec.path, name))]  # type: ignore[misc]
    if doubtful:
        some = ", ".join(repr(name) for name in doubtful[:5]) + (", ..." if len(doubtful) > 5 else "")
        are = "is probably not an author" if len(doubtful) == 1 else "are probably not authors"
        options = " ".join(f"--exclude-author {shlex.quote(name)}" for name in doubtful[:5])
        raise CorpusError(
            f"{spec.path}: {some} {are}; pass {options} to leave {'it' if len(doubtful) == 1 else 'them'} out, or "
            f"--all-authors to learn every {'name' if authors.flat else 'directory'} as an author"
        )


def match_authors(spec: CorpusSpec, found: AuthorPlaces, known: Sequence[str], hint: str = "") -> AuthorPlaces:
    """The authors `found`, under the names that a model has for them; normal forms make no difference.

    Raises `CorpusError`, which ends with `hint`, if one of them is not among the `known` authors of the model.
    """
    names = {normalized_name(author): author for author in known}
    unknown = [name for name in found.names.values() if name not in names]
    if unknown:
        by_key = {author_key(author): author for author in known}
        spelled = [
            f"{name} (there is {by_key[author_key(name)]})" if author_key(name) in by_key else name for name in unknown
        ]
        raise CorpusError(
            f"{spec.path}: {len(unknown)} of its {len(found.names)} authors are unknown to the model: "
            f"{', '.join(spelled[:5])}{', ...' if len(unknown) > 5 else ''}{hint}"
        )
    return replace(found, names={place: names[author] for place, author in found.names.items()})


def _is_doubtful(root: Path, name: str) -> bool:
    key = _NUMBER.sub("", author_key(name))
    if key in _NO_AUTHORS or _UNNAMED.match(key):
        return True
    return any(os.path.lexists(root / name / file) for file in _MODEL_FILES)
