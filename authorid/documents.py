"""Paths become documents: walk, read, decode.

Every input gives exactly one item: a `Document`, or a `Failure` that says why it is not one. Only regular files
are ever opened, and nothing here blocks on a FIFO or follows a link into a loop.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import stat
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase

__all__ = [
    "Document",
    "Failure",
    "Found",
    "ReadOptions",
    "UndecodableError",
    "decode",
    "read",
    "read_documents",
    "walk",
]

DEFAULT_MAX_BYTES = 16 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Document:
    """One readable text.

    `index` is its place in the walk (0, 1, ...), `encoding` the codec it was decoded with, `sha256` the digest
    of its bytes.
    """

    index: int
    path: str
    text: str
    encoding: str
    sha256: str


@dataclass(frozen=True, slots=True)
class Failure:
    """An input that could not be read or scored, and why."""

    index: int
    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Found:
    """A path that the walk came upon; `problem` says why it must not be opened, when it must not."""

    path: str
    problem: str | None = None


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What to walk and how to read it.

    `include` and `exclude` are globs (``*``, ``?``, ``[..]``) matched against the file name and against the path
    below the directory that was named; a file named by itself is always tried. `encoding` is tried before
    detection. `max_bytes` bounds a file's size. `skip` are files to pass over: the run's own output.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    follow_symlinks: bool = False
    hidden: bool = False
    encoding: str | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    skip: frozenset[str] = frozenset()


class UndecodableError(ValueError):
    """Bytes that are not text in any encoding we can defend."""


# The longest mark first: the UTF-32 LE mark begins with the UTF-16 LE one.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


def decode(data: bytes, declared: str | None = None) -> tuple[str, str]:
    """Decode `data` to ``(text, encoding)``.

    In this order: byte-order mark, strict UTF-8, the `declared` encoding, detection. Raises `UndecodableError`
    when the bytes hold NULs that no byte-order mark or declared encoding explains, or when nothing fits.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding), encoding
            except UnicodeDecodeError as error:
                raise UndecodableError(f"has a {encoding} byte-order mark, but {error.reason}") from None
    binary = b"\0" in data
    if not binary:
        try:
            return data.decode("utf-8"), "utf-8"
        except UnicodeDecodeError:
            pass
    if declared is not None:
        try:
            text = data.decode(declared)
        except UnicodeDecodeError:
            pass
        else:
            if "\0" not in text:
                return text, codecs.lookup(declared).name
    if binary:
        raise UndecodableError("binary file (contains NUL bytes)")
    # Imported here: most corpora are UTF-8, and the detector costs a good part of the start-up time.
    from charset_normalizer import from_bytes

    best = from_bytes(data).best()
    if best is None:
        raise UndecodableError("binary file (no text encoding fits)")
    return str(best), best.encoding


def walk(
    paths: Iterable[str | os.PathLike[str]], options: ReadOptions = ReadOptions()
) -> Iterator[Found]:
    """Every input below `paths`, in the order given, directories in byte order of their names.

    Directories are walked depth first, one listing in memory a level. Hidden entries are passed over unless
    `options.hidden`; links, sockets, FIFOs, devices and unreadable directories come out as `Found` with a
    problem. A path that does not exist does so too.
    """
    for path in paths:
        yield from _walk_named(os.fspath(path), options)


def _walk_named(path: str, options: ReadOptions) -> Iterator[Found]:
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        yield Found(path, _reason(error))
        return
    if stat.S_ISDIR(status.st_mode):
        yield from _walk_directory(path, "", options, ((status.st_dev, status.st_ino),))
    else:
        yield Found(path, _unreadable_kind(status.st_mode))


def _walk_directory(
    directory: str, below: str, options: ReadOptions, parents: tuple[tuple[int, int], ...]
) -> Iterator[Found]:
    try:
        with os.scandir(directory) as listing:
            names = sorted((entry.name for entry in listing), key=os.fsencode)
    except OSError as error:
        yield Found(directory, f"directory not readable: {_reason(error)}")
        return
    for name in names:
        if name.startswith(".") and not options.hidden:
            continue
        path, relative = os.path.join(directory, name), below + name
        try:
            status = os.lstat(path)
            if stat.S_ISLNK(status.st_mode):
                if not options.follow_symlinks:
                    if _wanted(name, relative, options):
                        yield Found(path, "symbolic link, not followed (see --follow-symlinks)")
                    continue
                status = os.stat(path)
        except OSError as error:
            yield Found(path, _reason(error))
            continue
        if stat.S_ISDIR(status.st_mode):
            here = (status.st_dev, status.st_ino)
            if here in parents:
                yield Found(path, "symbolic link loop: leads back to a directory above it")
            elif not _matches(name, relative, options.exclude):
                yield from _walk_directory(path, relative + "/", options, (*parents, here))
        elif _wanted(name, relative, options) and os.path.abspath(path) not in options.skip:
            yield Found(path, _unreadable_kind(status.st_mode))


def _wanted(name: str, relative: str, options: ReadOptions) -> bool:
    if options.include and not _matches(name, relative, options.include):
        return False
    return not _matches(name, relative, options.exclude)


def _matches(name: str, relative: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) or fnmatchcase(relative, glob) for glob in globs)


def _unreadable_kind(mode: int) -> str | None:
    """Why a file of this mode is not opened, or None for a regular file."""
    for test, kind in (
        (stat.S_ISFIFO, "a FIFO"),
        (stat.S_ISSOCK, "a socket"),
        (stat.S_ISCHR, "a character device"),
        (stat.S_ISBLK, "a block device"),
    ):
        if test(mode):
            return f"not a regular file ({kind})"
    return None if stat.S_ISREG(mode) else "not a regular file"


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return "no such file or directory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error)


def read(found: Found, index: int, options: ReadOptions = ReadOptions()) -> Document | Failure:
    """Open, read and decode one input; never raises for what is wrong with the file."""
    if found.problem is not None:
        return Failure(index, found.path, found.problem)
    try:
        data = _read_bytes(found.path, options.max_bytes)
        if not data:
            return Failure(index, found.path, "empty file")
        text, encoding = decode(data, options.encoding)
    except UndecodableError as error:
        return Failure(index, found.path, str(error))
    except (OSError, ValueError) as error:
        return Failure(index, found.path, _reason(error))
    if not text.strip():
        return Failure(index, found.path, "no text (only white space)")
    return Document(index, found.path, text, encoding, hashlib.sha256(data).hexdigest())


def _read_bytes(path: str, max_bytes: int) -> bytes:
    # O_NONBLOCK: a FIFO that took the file's place since the walk must not hang the run.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    with open(descriptor, "rb") as stream:
        status = os.fstat(descriptor)
        problem = _unreadable_kind(status.st_mode)
        if problem is not None:
            raise ValueError(problem)
        if status.st_size <= max_bytes:
            data = stream.read(max_bytes + 1)
            if len(data) <= max_bytes:
                return data
    raise ValueError(f"larger than {max_bytes} bytes (see --max-bytes)")


def read_documents(
    paths: Iterable[str | os.PathLike[str]],
    options: ReadOptions = ReadOptions(),
) -> Iterator[Document | Failure]:
    """Walk `paths` and read everything found, one item for every input, numbered from 0."""
    for index, found in enumerate(walk(paths, options)):
        yield read(found, index, options)
