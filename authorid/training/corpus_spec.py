"""Where a corpus is and how to read it."""

from __future__ import annotations

import codecs
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any

from authorid.errors import RunError
from authorid.inputs.documents import DEFAULTS, ReadOptions

__all__ = ["LEAVE_OUT", "CorpusSpec"]

LEAVE_OUT = "; --exclude-author NAME leaves a directory out"
"""The advice about a directory that is not an author of the model."""

_COLUMNS = ("text_column", "id_column")
_RECORDED = ("include", "exclude", "ignore", "follow_symlinks", "hidden", "encoding", "max_bytes", *_COLUMNS)
"""The fields of `ReadOptions` that decide what a corpus contains."""


@dataclass(frozen=True, slots=True)
class CorpusSpec:
    """A directory with one subdirectory of documents per author, and how to read it.

    `documents` says which files are documents, as it does for scoring. Author directories that are named in
    `exclude_authors` are left out. For a training, a directory whose name suggests that it is no author (``unknown``,
    ``test``, ...) is an error, unless it is excluded or `all_authors` is set.
    """

    path: Path
    documents: ReadOptions = DEFAULTS
    exclude_authors: tuple[str, ...] = ()
    all_authors: bool = False

    def __post_init__(self) -> None:
        """Refuse a single string: its letters would be used one by one."""
        if isinstance(self.exclude_authors, str):
            raise TypeError(f"exclude_authors is a single string: write exclude_authors=({self.exclude_authors!r},)")

    @classmethod
    def of(cls, corpus: Path | str | CorpusSpec) -> CorpusSpec:
        """`corpus` itself, or the corpus at that path, read with the default options."""
        return corpus if isinstance(corpus, CorpusSpec) else cls(Path(corpus))

    def at(self, path: Path) -> CorpusSpec:
        """Another corpus, which is read in the same way."""
        return replace(self, path=path)

    def to_json(self) -> dict[str, Any]:
        """What decides the content of the corpus, besides its path: values other than the defaults only."""
        own: dict[str, Any] = {name: getattr(self.documents, name) for name in _RECORDED}
        own |= {"exclude_authors": self.exclude_authors, "all_authors": self.all_authors}
        defaults = _defaults()
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in own.items()
            if value != defaults[name]
        }

    @classmethod
    def from_json(cls, path: Path, record: object) -> CorpusSpec:
        """The corpus at `path`, to be read as `record`, the result of `to_json`, says; raises `RunError`."""
        if not isinstance(record, Mapping):
            raise RunError("how the corpus was read is not a JSON object")
        defaults = _defaults()
        values: dict[str, Any] = {}
        for name, value in record.items():
            if name not in defaults or not _fits(name, value, defaults[name]):
                raise RunError(f"the corpus cannot be read with {name!r} = {value!r}")
            values[name] = tuple(value) if isinstance(value, list) else value
        choice = {name: values.pop(name) for name in ("exclude_authors", "all_authors") if name in values}
        return cls(path, ReadOptions(**values), **choice)


def _defaults() -> dict[str, Any]:
    own = {
        field.name: field.default for field in fields(CorpusSpec) if field.name in ("exclude_authors", "all_authors")
    }
    return {name: getattr(DEFAULTS, name) for name in _RECORDED} | own


def _fits(name: str, value: object, default: object) -> bool:
    """Whether `value` may take the place of `default`."""
    if name == "encoding":
        try:
            return isinstance(value, str) and codecs.lookup(value) is not None
        except (LookupError, ValueError):
            return False
    if name in _COLUMNS:
        return isinstance(value, str)
    if isinstance(default, tuple):
        return isinstance(value, list) and all(isinstance(item, str) for item in value)
    return type(value) is type(default) and (name != "max_bytes" or value > 0)  # type: ignore[operator]
