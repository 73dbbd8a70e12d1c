"""The values that travel from the inputs to the rest of the program: options, references, documents, failures."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["DEFAULTS", "DEFAULT_MAX_BYTES", "Document", "DocumentRef", "Failure", "ReadOptions"]

DEFAULT_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """Which files to read, and how.

    `include` and `exclude` are globs (``*``, ``?``, ``[..]``). They are matched against the file name and against the
    path below the given directory. `ignore` holds the lines of an ignore file (see `IgnoreRules`). None of these
    applies to a file that is given by name. `encoding` is tried before detection. Documents larger than `max_bytes`
    fail; a table may be larger, its rows may not. `text_column` and `id_column` name the columns of tables that hold
    the texts and the names of the rows. `timeout` is how many seconds to wait for each answer of the file system. The
    files in `skip` are not read: they are the output of the run itself.

    Raises `TypeError` if a single string is given where a tuple of strings is expected.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    follow_symlinks: bool = False
    hidden: bool = False
    encoding: str | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    text_column: str | None = None
    id_column: str | None = None
    timeout: float | None = None
    skip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a single string: its letters would be used one by one."""
        for name in ("include", "exclude", "ignore", "skip"):
            value = getattr(self, name)
            if isinstance(value, str | bytes):
                raise TypeError(f"{name} is a single string: write {name}=({value!r},)")


DEFAULTS = ReadOptions()


@dataclass(frozen=True, slots=True)
class DocumentRef:
    """Names one document: `source` is a file (or the index of a text in memory), `member` a part of that file.

    `member` is None if the file is the document. In a table it names the row.
    """

    source: str
    member: str | None = None

    def __str__(self) -> str:
        return self.source if self.member is None else f"{self.source}#{self.member}"


@dataclass(frozen=True, slots=True)
class Document:
    """One readable text.

    `text` is normalized (see `authorid.inputs.decoding.tidy`), `encoding` is the codec that decoded it, and `sha256`
    is the hex digest of the file's bytes, or of what a `member` consists of. `reader` is the name of the reader that
    read it, with a note in brackets about what that left out.
    """

    ref: DocumentRef
    text: str
    encoding: str
    sha256: str
    reader: str = "text"


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or scored, and the reason."""

    ref: DocumentRef
    reason: str
