"""Paths become inputs: which files there are, and which of them must not be opened.

Order is part of the promise: the paths as they were named, directories depth first in byte order of their names,
whatever the locale and whatever order the file system lists them in.
"""

# Millions of entries, with names that need not be text: strings and os.path, not Path objects.
# ruff: noqa: PTH100, PTH116, PTH118, PTH119

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import Any, BinaryIO

from authorid.errors import AuthoridError
from authorid.inputs.ignore import IgnoreRules
from authorid.inputs.timeouts import ENDLESS, Patience

__all__ = [
    "DEFAULTS",
    "DEFAULT_MAX_BYTES",
    "DiscoveredFile",
    "ReadOptions",
    "canonical",
    "is_long",
    "listed_paths",
    "problem_of",
    "reach",
    "reason",
    "walk",
]

DEFAULT_MAX_BYTES = 16 * 1024 * 1024

_BLOCK = 16384
"""Names of one directory that are held at once; a bigger directory is listed several times."""


@dataclass(frozen=True, slots=True)
class DiscoveredFile:
    """A path that the walk came upon.

    `problem` says why it must not be opened, when it must not. `root` counts the paths that were named (0, 1, ...),
    and `below` is the part of `path` below that root, empty for the root itself. `follow` is whether a symbolic
    link may be followed there.
    """

    path: str
    problem: str | None = None
    root: int = 0
    below: str = ""
    follow: bool = True

    @property
    def place(self) -> tuple[int, tuple[bytes, ...]]:
        """Sorts inputs in walk order."""
        return self.root, tuple(os.fsencode(self.below).split(b"/"))


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What to walk and how to read it.

    `include` and `exclude` are globs (``*``, ``?``, ``[..]``) matched against the file name and against the path
    below the directory that was named; `ignore` holds the lines of an ignore file (see `IgnoreRules`). A file
    named by itself is always tried. `encoding` is tried before detection. `max_bytes` bounds a file's size, and
    `timeout` the seconds to wait for each answer of the file system. `skip` are files to pass over: the run's own
    output. Raises `TypeError` where one string stands for several.
    """

    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    ignore: tuple[str, ...] = ()
    follow_symlinks: bool = False
    hidden: bool = False
    encoding: str | None = None
    max_bytes: int = DEFAULT_MAX_BYTES
    timeout: float | None = None
    skip: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        """Refuse a string where strings are meant: its letters would be taken one by one."""
        for name in ("include", "exclude", "ignore", "skip"):
            value = getattr(self, name)
            if isinstance(value, str | bytes):
                raise TypeError(f"{name} is a single string: write {name}=({value!r},)")


DEFAULTS = ReadOptions()


def walk(
    paths: Iterable[str | os.PathLike[str]],
    options: ReadOptions = DEFAULTS,
    patience: Patience = ENDLESS,
) -> Iterator[DiscoveredFile]:
    """Every input below `paths`, in walk order.

    Hidden entries are passed over unless `options.hidden`; links, sockets, FIFOs, devices, unreadable directories
    and paths that do not exist come out as `DiscoveredFile` with a problem. In memory are the directories from the root to
    the current one, with at most a block of names each, and with `follow_symlinks` the directories that links led
    to.
    """
    walker = _Walker(options, patience)
    for root, path in enumerate(paths):
        yield from walker.named(root, os.fspath(path))


_Identity = tuple[int, int]


@dataclass(slots=True)
class _Level:
    """A directory that is being walked: its path, also below the root, and its names still to come."""

    path: str
    below: str
    identity: _Identity
    names: Iterator[str]


@dataclass(slots=True)
class _Walker:
    options: ReadOptions
    patience: Patience
    rules: IgnoreRules = field(init=False)
    own: frozenset[str] = field(init=False)
    own_names: frozenset[str] = field(init=False)
    linked: set[_Identity] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rules = IgnoreRules(self.options.ignore)
        self.own = frozenset(canonical(path) for path in self.options.skip)
        self.own_names = frozenset(os.path.basename(path) for path in self.own)

    def named(self, root: int, path: str) -> Iterator[DiscoveredFile]:
        """What a path on the command line stands for. It is followed when it is a link: someone asked for it."""
        try:
            status = self.patience.call(partial(_status, path, follow=True))
        except (OSError, ValueError) as error:
            yield DiscoveredFile(path, reason(error), root)
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self.directory(root, path, (status.st_dev, status.st_ino))
        elif not self.is_own(os.path.basename(path), path):
            yield DiscoveredFile(path, problem_of(status.st_mode), root)

    def directory(self, root: int, path: str, identity: _Identity) -> Iterator[DiscoveredFile]:
        """Everything below a directory, without recursion: trees may be deeper than Python's stack."""
        levels = [_Level(path, "", identity, self.names(path))]
        while levels:
            level = levels[-1]
            try:
                name = next(level.names, None)
            except OSError as error:
                yield DiscoveredFile(
                    level.path, f"directory not readable: {reason(error)}", root, level.below.rstrip("/")
                )
                name = None
            if name is None:
                levels.pop()
                continue
            entry = self.entry(root, level, name, levels)
            if isinstance(entry, _Level):
                levels.append(entry)
            elif entry is not None:
                yield entry

    def entry(self, root: int, level: _Level, name: str, above: list[_Level]) -> DiscoveredFile | _Level | None:
        """One name in a directory: an input, a directory to go down into, or None for what is passed over."""
        path, below = os.path.join(level.path, name), level.below + name
        follow = self.options.follow_symlinks
        try:
            status = self.patience.call(partial(_status, path, follow=False))
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link and follow:
                status = self.patience.call(partial(_status, path, follow=True))
        except OSError as error:
            wanted = self.wanted(name, below, directory=False)
            return DiscoveredFile(path, reason(error), root, below, follow) if wanted else None
        directory = stat.S_ISDIR(status.st_mode)
        if not self.wanted(name, below, directory=directory) or self.is_own(name, path):
            return None
        if not directory:
            problem = problem_of(status.st_mode)
            return DiscoveredFile(path, problem, root, below, follow)
        identity = (status.st_dev, status.st_ino)
        if any(identity == parent.identity for parent in above):
            return DiscoveredFile(path, "symbolic link loop: leads back to a directory above it", root, below)
        if is_link:
            # Links that lead to links to ... would make exponentially many paths of a few directories.
            if identity in self.linked:
                return DiscoveredFile(path, "symbolic link to a directory that another link led to", root, below)
            self.linked.add(identity)
        return _Level(path, below + "/", identity, self.names(path))

    def names(self, directory: str) -> Iterator[str]:
        """The names in a directory, in byte order. Raises `OSError` when it cannot be listed."""
        after, size = b"", _BLOCK
        while True:
            block, seen = self.patience.call(partial(_smallest, directory, after, size))
            for name in block:
                if self.options.hidden or not name.startswith(b"."):
                    yield os.fsdecode(name)
            if len(block) < size:
                return
            # Huge directories get bigger blocks, so that none is listed more than some 64 times.
            after, size = block[-1], max(_BLOCK, seen // 64)

    def wanted(self, name: str, below: str, *, directory: bool) -> bool:
        """Whether the globs and the ignore file let this pass."""
        if self.rules.ignores(below, directory=directory) or _matches(name, below, self.options.exclude):
            return False
        return directory or not self.options.include or _matches(name, below, self.options.include)

    def is_own(self, name: str, path: str) -> bool:
        """Whether this is a file that the run itself writes."""
        return name in self.own_names and canonical(path) in self.own


def _smallest(directory: str, after: bytes, most: int) -> tuple[list[bytes], int]:
    """The first `most` names after `after`, sorted, and how many names there are in all."""
    names: set[bytes] = set()  # a directory that changes while it is listed may show a name twice
    bound = None
    seen = 0
    with _listing(directory) as entries:
        for entry in entries:
            seen += 1
            name = os.fsencode(entry.name)
            if name > after and (bound is None or name < bound):
                names.add(name)
                if len(names) >= 2 * most:
                    names = set(sorted(names)[:most])
                    bound = max(names)
    return sorted(names)[:most], seen


_AT_ONCE = 4000
"""Bytes of a path that any system call takes; Linux allows 4095."""

_LONGEST_PATH = 3 * 4096
"""Longer paths are refused: a walk takes time and memory quadratic in the depth of a tree."""


def is_long(path: str) -> bool:
    """Whether `path` is longer than a system call takes, but not longer than we do."""
    # A character is four bytes at most: most paths need not be encoded to know.
    return 4 * len(path) > _AT_ONCE and _AT_ONCE < len(os.fsencode(path)) <= _LONGEST_PATH


@contextmanager
def reach(path: str) -> Iterator[tuple[str, int]]:
    """The end of a path that `is_long`, and the directory (`dir_fd`) that it is to be looked up in."""
    rest = os.fsencode(path)
    directory = None
    try:
        while len(rest) > _AT_ONCE:
            cut = rest.rfind(b"/", 1, _AT_ONCE)
            if cut < 0:
                raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
            below = os.open(rest[:cut], os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
            if directory is not None:
                os.close(directory)
            directory, rest = below, rest[cut:].lstrip(b"/") or b"."
        if directory is None:
            raise ValueError("not a long path")
        yield os.fsdecode(rest), directory
    finally:
        if directory is not None:
            os.close(directory)


def _status(path: str, *, follow: bool) -> os.stat_result:
    if not is_long(path):
        return os.stat(path) if follow else os.lstat(path)
    with reach(path) as (name, directory):
        return os.stat(name, dir_fd=directory, follow_symlinks=follow)


@contextmanager
def _listing(path: str) -> Iterator[Iterator[os.DirEntry[Any]]]:
    if not is_long(path):
        with os.scandir(os.fsencode(path)) as entries:
            yield entries
        return
    with reach(path) as (name, directory):
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        with os.scandir(descriptor) as entries:
            yield entries
    finally:
        os.close(descriptor)


def canonical(path: str) -> str:
    """An absolute path without links in its directories; the last part may be a link."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


def _matches(name: str, below: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) or fnmatchcase(below, glob) for glob in globs)


_KINDS = (
    (stat.S_ISLNK, "symbolic link, not followed (see --follow-symlinks)"),
    (stat.S_ISFIFO, "not a regular file (a FIFO)"),
    (stat.S_ISSOCK, "not a regular file (a socket)"),
    (stat.S_ISCHR, "not a regular file (a character device)"),
    (stat.S_ISBLK, "not a regular file (a block device)"),
)


def problem_of(mode: int) -> str | None:
    """Why a file of this mode is not opened, or None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((problem for test, problem in _KINDS if test(mode)), "not a regular file")


def reason(error: OSError | ValueError) -> str:
    """What went wrong, in a few words and without the path."""
    if isinstance(error, OSError) and error.errno == errno.ENOENT:
        return "no such file or directory"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror[0].lower() + error.strerror[1:]
    return str(error)


_LONGEST_NAME = 1024 * 1024


def listed_paths(stream: BinaryIO) -> Iterator[str]:
    """The paths listed in `stream`, one a line, or separated by NUL characters as ``find -print0`` has it.

    Raises `AuthoridError` when the stream holds no separators and so is no list.
    """
    pending = b""
    # A name may hold line breaks when NULs separate: look far enough ahead to see one. But whoever writes whole lines,
    # one now and then, should not have to wait: what ends with a line break and has no NUL in it is a list of lines.
    while b"\0" not in pending and not pending.endswith(b"\n") and len(pending) < 8192 and (more := _some(stream)):
        pending += more
    separator = b"\0" if b"\0" in pending else b"\n"
    while True:
        *names, pending = pending.split(separator)
        yield from (os.fsdecode(name) for name in names if name)
        if len(pending) > _LONGEST_NAME:
            raise AuthoridError("standard input is not a list of paths: a million bytes without a line break")
        more = _some(stream)
        if not more:
            break
        pending += more
    if pending:
        yield os.fsdecode(pending)


def _some(stream: BinaryIO) -> bytes:
    # Straight from the descriptor: a thread that waits inside a buffered reader cannot be left behind at exit.
    return os.read(stream.fileno(), 65536)
