"""Which files there are below the given paths, and which of them must not be opened.

The order is part of the contract: the paths in the order in which they are given, and directories depth first in byte
order of their names, independent of the locale and of the order in which the file system lists them.
"""

# Millions of entries, with names that need not be text: strings and os.path, not Path objects.
# ruff: noqa: PTH100, PTH118, PTH119

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from functools import partial
from typing import NamedTuple, TypeAlias

from authorid.errors import os_error_reason
from authorid.inputs.documents import DEFAULTS, ReadOptions
from authorid.inputs.ignore import IgnoreRules
from authorid.inputs.long_paths import list_directory, status_of
from authorid.inputs.timeouts import NO_TIMEOUT, Timeout

__all__ = [
    "DiscoveredFile",
    "InputPath",
    "OrderKey",
    "canonical_path",
    "directories",
    "order_key",
    "problem_of",
    "walk",
]

OrderKey = tuple[int, tuple[bytes, ...]]
"""Sorts files in walk order."""

InputPath: TypeAlias = "str | os.PathLike[str] | DiscoveredFile"
"""What a walk begins at; a file that an earlier walk has found stands for itself."""


def order_key(root: int, below: str) -> OrderKey:
    """The sort key of the file `below` the root with the index `root`."""
    return root, tuple(os.fsencode(below).split(b"/"))


class DiscoveredFile(NamedTuple):
    """A file, or something else, that a walk has found.

    `problem` is the reason why it must not be opened, if there is one. `root` is the index of the given path that led
    to it, and `below` the part of `path` below that root; it is empty for the root itself. `follow` is whether `path`
    may be opened if it is a symbolic link. `size` is how many bytes it had, where that is known. `groups` are the first
    row group and the one after the last, if the file stands for a part of a Parquet table only.
    """

    path: str
    problem: str | None = None
    root: int = 0
    below: str = ""
    follow: bool = True
    size: int | None = None
    groups: tuple[int, int] | None = None

    @property
    def order_key(self) -> OrderKey:
        """Sorts files in walk order."""
        return order_key(self.root, self.below)


def walk(
    paths: Iterable[InputPath],
    options: ReadOptions = DEFAULTS,
    timeout: Timeout = NO_TIMEOUT,
) -> Iterator[DiscoveredFile]:
    """Yield every file below `paths`, in walk order; those that were found already are yielded as they are.

    Hidden entries are left out unless `options.hidden` is set. Symbolic links, sockets, FIFOs, devices, unreadable
    directories and paths that do not exist are yielded with a `problem`. Memory holds the directories from the root to
    the current one, at most one block of names for each, and, with `follow_symlinks`, the directories that symbolic
    links led to.
    """
    walker = _Walker(options, timeout)
    for root, path in enumerate(paths):
        if isinstance(path, DiscoveredFile):
            yield path
        else:
            yield from walker.walk_root(root, os.fspath(path))


def directories(path: str, options: ReadOptions = DEFAULTS, timeout: Timeout = NO_TIMEOUT) -> Iterator[str]:
    """Yield the names of the directories directly below `path` that a walk enters, in walk order. Raises `OSError`."""
    walker = _Walker(options, timeout)
    status = timeout.call(partial(status_of, path, follow=True))
    level = _Level(path, "", (status.st_dev, status.st_ino), walker.names(path))
    for name in level.names:
        if isinstance(walker.entry(0, level, name, [level]), _Level):
            yield name


_BLOCK = 16384
"""How many names of one directory are held at a time; a larger directory is listed several times."""

_Identity = tuple[int, int]
"""Device and inode."""


@dataclass(slots=True, eq=False)
class _Level:
    """A directory that is being walked: its path, its path below the root, and the names that are still to come."""

    path: str
    below: str
    identity: _Identity
    names: Iterator[str]


@dataclass(slots=True, eq=False)
class _Walker:
    options: ReadOptions
    timeout: Timeout
    rules: IgnoreRules = field(init=False)
    skipped: frozenset[str] = field(init=False)
    skipped_names: frozenset[str] = field(init=False)
    linked: set[_Identity] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.rules = IgnoreRules(self.options.ignore)
        self.skipped = frozenset(canonical_path(path) for path in self.options.skip)
        self.skipped_names = frozenset(os.path.basename(path) for path in self.skipped)

    def walk_root(self, root: int, path: str) -> Iterator[DiscoveredFile]:
        """Yield what one of the given paths stands for. A symbolic link is followed, because the user named it."""
        try:
            status = self.timeout.call(partial(status_of, path, follow=True))
        except (OSError, ValueError) as error:
            yield DiscoveredFile(path, os_error_reason(error), root)
            return
        if stat.S_ISDIR(status.st_mode):
            yield from self.walk_directory(root, path, (status.st_dev, status.st_ino))
        elif not self.is_skipped(os.path.basename(path), path):
            yield DiscoveredFile(path, problem_of(status.st_mode), root, size=status.st_size)

    def walk_directory(self, root: int, path: str, identity: _Identity) -> Iterator[DiscoveredFile]:
        """Yield everything below a directory. Not recursive: a tree may be deeper than Python's stack."""
        levels = [_Level(path, "", identity, self.names(path))]
        while levels:
            level = levels[-1]
            try:
                name = next(level.names, None)
            except OSError as error:
                problem = f"directory not readable: {os_error_reason(error)}"
                yield DiscoveredFile(level.path, problem, root, level.below.rstrip("/"))
                name = None
            if name is None:
                levels.pop()
                continue
            entry = self.entry(root, level, name, levels)
            if isinstance(entry, _Level):
                levels.append(entry)
            elif entry is not None:
                yield entry

    def entry(self, root: int, level: _Level, name: str, parents: list[_Level]) -> DiscoveredFile | _Level | None:
        """One name in a directory: a file, a directory to walk next, or None if it is left out."""
        path, below = os.path.join(level.path, name), level.below + name
        follow = self.options.follow_symlinks
        try:
            status = self.timeout.call(partial(status_of, path, follow=False))
            is_link = stat.S_ISLNK(status.st_mode)
            if is_link and follow:
                status = self.timeout.call(partial(status_of, path, follow=True))
        except OSError as error:
            wanted = self.is_wanted(name, below, directory=False)
            return DiscoveredFile(path, os_error_reason(error), root, below, follow) if wanted else None
        directory = stat.S_ISDIR(status.st_mode)
        if not self.is_wanted(name, below, directory=directory) or self.is_skipped(name, path):
            return None
        if not directory:
            problem = problem_of(status.st_mode)
            return DiscoveredFile(path, problem, root, below, follow, status.st_size)
        identity = (status.st_dev, status.st_ino)
        if any(identity == parent.identity for parent in parents):
            return DiscoveredFile(path, "symbolic link loop: leads back to a directory above it", root, below)
        if is_link:
            # Symbolic links that lead to more links would make exponentially many paths out of a few directories.
            if identity in self.linked:
                return DiscoveredFile(path, "symbolic link to a directory that another link led to", root, below)
            self.linked.add(identity)
        return _Level(path, below + "/", identity, self.names(path))

    def names(self, directory: str) -> Iterator[str]:
        """Yield the names in a directory, in byte order. Raises `OSError` if it cannot be listed."""
        after, size = b"", _BLOCK
        while True:
            block, total = self.timeout.call(partial(_smallest_names, directory, after, size))
            for name in block:
                if self.options.hidden or not name.startswith(b"."):
                    yield os.fsdecode(name)
            if len(block) < size:
                return
            # Huge directories get larger blocks, so that none is listed more than about 64 times.
            after, size = block[-1], max(_BLOCK, total // 64)

    def is_wanted(self, name: str, below: str, *, directory: bool) -> bool:
        """Whether the globs and the ignore rules let this entry through."""
        if self.rules.ignores(below, directory=directory) or _matches_any(name, below, self.options.exclude):
            return False
        return directory or not self.options.include or _matches_any(name, below, self.options.include)

    def is_skipped(self, name: str, path: str) -> bool:
        """Whether this is a file that the run itself writes."""
        return name in self.skipped_names and canonical_path(path) in self.skipped


def _smallest_names(directory: str, after: bytes, limit: int) -> tuple[list[bytes], int]:
    """The first `limit` names after `after`, sorted, and the number of all names."""
    names: set[bytes] = set()  # a directory that changes while it is listed may show a name twice
    bound = None
    total = 0
    with list_directory(directory) as entries:
        for entry in entries:
            total += 1
            name = os.fsencode(entry.name)
            if name > after and (bound is None or name < bound):
                names.add(name)
                if len(names) >= 2 * limit:
                    names = set(sorted(names)[:limit])
                    bound = max(names)
    return sorted(names)[:limit], total


def canonical_path(path: str) -> str:
    """An absolute path without symbolic links in its directories; the last part may be one."""
    head, tail = os.path.split(os.path.abspath(path))
    return os.path.join(os.path.realpath(head), tail)


def _matches_any(name: str, below: str, globs: tuple[str, ...]) -> bool:
    return any(fnmatchcase(name, glob) or fnmatchcase(below, glob) for glob in globs)


_KINDS = (
    (stat.S_ISLNK, "symbolic link, not followed (see --follow-symlinks)"),
    (stat.S_ISFIFO, "not a regular file (a FIFO)"),
    (stat.S_ISSOCK, "not a regular file (a socket)"),
    (stat.S_ISCHR, "not a regular file (a character device)"),
    (stat.S_ISBLK, "not a regular file (a block device)"),
)


def problem_of(mode: int) -> str | None:
    """The reason not to open a file of this mode; None for a regular file."""
    if stat.S_ISREG(mode):
        return None
    return next((problem for test, problem in _KINDS if test(mode)), "not a regular file")
