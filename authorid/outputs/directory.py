"""Directories that are built beside their place and take it in one step: training runs and bundles.

::

    NAME                  what users see: nothing, the old directory or the new one
    .NAME.authorid.lock   held by the process that is to write NAME
    .NAME.authorid/       its workspace
      written-by-authorid
      new/                the directory to be; after the exchange, the one that was replaced
      old/                the one that was replaced, where the file system cannot exchange two names
      state/              with what an interrupted training goes on
      discarded/          a state that is being removed

A process that is killed at any moment leaves NAME as it was or complete. (Without the exchange of names there is one
moment when NAME is missing: the next process that reserves NAME puts the old one back.) The next process that holds the
lock removes the rest: nobody else can be at work in the workspace then.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from authorid.errors import OutputError
from authorid.outputs import atomic
from authorid.outputs.lock import exclusive_lock
from authorid.outputs.write_errors import raising_output_errors
from authorid.reporter import SILENT, Reporter

__all__ = ["Content", "Workspace", "content_sha256", "reserve_directory", "unfinished_work"]

Content = bytes | str | Path
"""What a file is to hold: bytes, text, or what the file at a path holds."""

_MARKER = "written-by-authorid"
_PARTS = {_MARKER, "new", "old", "state", "discarded"}
_NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP)
_CHUNK = 1 << 20

_OLDER_MARKS = ("authorid.json", "run.json")
"""Files of bundles and of training runs: a directory that older releases left holds one of them."""


@dataclass(frozen=True, slots=True)
class Workspace:
    """The workspace of the directory `target`, which the user calls `out`; made by `reserve_directory`.

    Methods raise `OSError` and `OutputError`.
    """

    out: str
    target: Path

    @classmethod
    def of(cls, path: str | os.PathLike[str]) -> Workspace:
        """The workspace of the directory `path`, with links resolved; touches nothing."""
        # Links are resolved once: the directory has to be replaced where it really is.
        return cls(os.fspath(path), Path(os.path.realpath(path)))

    @property
    def root(self) -> Path:
        """The workspace itself."""
        return self.target.with_name(f".{self.target.name}.authorid")

    @property
    def lock(self) -> Path:
        """The lock file."""
        return self.target.with_name(f".{self.target.name}.authorid.lock")

    @property
    def new(self) -> Path:
        """The directory to be."""
        return self.root / "new"

    @property
    def old(self) -> Path:
        """The directory that was replaced."""
        return self.root / "old"

    @property
    def state(self) -> Path:
        """What an interrupted training needs to go on; it stays until `discard_state`."""
        return self.root / "state"

    @property
    def _discarded(self) -> Path:
        return self.root / "discarded"

    @property
    def is_vacant(self) -> bool:
        """Whether nothing is at the target, or an empty directory."""
        if not os.path.lexists(self.target):
            return True
        return self.target.is_dir() and not any(self.target.iterdir())

    def check_replaceable(self) -> None:
        """Raise `OutputError` if the directory at the target cannot be replaced in one step."""
        if not self.target.exists():
            return
        if self.target.is_mount():
            raise OutputError(f"{self.out}: is a mount point and cannot be replaced; choose a directory in it")
        if Path.cwd().is_relative_to(self.target):
            raise OutputError(f"{self.out}: is the current directory or one of its parents; change directory first")
        if not os.access(self.target, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), os.fspath(self.target))

    def begin(self) -> Path:
        """Create an empty `new`, with the mode of the directory that it replaces, and return it."""
        self._create_root()
        self._remove(self.new)
        atomic.make_directory(self.new)
        if self.target.exists():
            self.new.chmod(stat.S_IMODE(self.target.stat().st_mode) | 0o700)
        return self.new

    def begin_state(self) -> Path:
        """Create `state` if it is not there, and return it."""
        self._create_root()
        if not self.state.is_dir():
            atomic.make_directory(self.state)
        return self.state

    def discard_state(self) -> None:
        """Remove `state`, which is whole or gone at any moment."""
        if self.state.exists():
            atomic.move(self.state, self._discarded)
            self._remove(self._discarded)

    def write(self, name: str, content: Content) -> str:
        """Write a file in `new`, wait until it is on the disk, and return its SHA-256."""
        digest = hashlib.sha256()
        descriptor = atomic.create(self.new / name)
        try:
            for chunk in _chunks(content):
                digest.update(chunk)
                atomic.write_all(descriptor, chunk)
            atomic.sync(descriptor)
        finally:
            os.close(descriptor)
        return digest.hexdigest()

    def publish(self) -> None:
        """Put `new` in the place of the target, and remove what was there.

        Before and after every moment of this, the target is the old directory or the new one.
        """
        atomic.sync_directory(self.new)
        if not os.path.lexists(self.target):
            atomic.move(self.new, self.target)
            return
        try:
            atomic.exchange(self.new, self.target)
        except OSError as error:
            if error.errno not in _NO_EXCHANGE:
                raise
            self._replace_in_two_steps()
        with contextlib.suppress(OSError):  # the next process tries again
            self._remove(self.new)
            self._remove(self.old)

    def _replace_in_two_steps(self) -> None:
        atomic.move(self.target, self.old)
        try:
            atomic.move(self.new, self.target)
        except BaseException:
            if not os.path.lexists(self.target):
                atomic.move(self.old, self.target)
            raise

    def recover(self, reporter: Reporter) -> None:
        """Put right what a process left that was killed. Only for the holder of the lock."""
        self._name_older_leftovers(reporter)
        if not os.path.lexists(self.root):
            return
        self._check_ownership()
        if self.old.exists():
            if not os.path.lexists(self.target):
                atomic.move(self.old, self.target)
                reporter.warning(f"{self.out}: a process was killed while it replaced this; the old one is back")
            elif self.new.exists():
                raise OutputError(
                    f"{self.old}: this was to be replaced when a process was killed, but something else is at "
                    f"{self.out} now; move one of them away"
                )
        for left in (self.new, self.old):
            if left.exists():
                self._remove(left)
                reporter.warning(f"{self.out}: removed {left}, which a killed process left")
        self._remove(self._discarded)
        self._remove_root()

    def close(self) -> None:
        """Remove everything but `state`, and what is needed to put back an old directory."""
        if self.old.exists() and not os.path.lexists(self.target):
            atomic.move(self.old, self.target)
        self._remove(self.new)
        self._remove(self.old)
        self._remove_root()

    def _create_root(self) -> None:
        if not self.root.is_dir():
            atomic.make_directory(self.root, 0o700)  # nobody else reads what is not published
        if not (self.root / _MARKER).exists():
            os.close(atomic.create(self.root / _MARKER))
            atomic.sync_directory(self.root)

    def _remove_root(self) -> None:
        """Remove the workspace, unless it has a state."""
        if self.root.is_dir() and not self.state.exists():
            atomic.remove(self.root / _MARKER)
            self.root.rmdir()

    def _remove(self, part: Path) -> None:
        if part.exists():
            atomic.remove_tree(part)

    def _check_ownership(self) -> None:
        """Raise `OutputError` unless the workspace and all in it was made by this program."""
        foreign = self.root
        if self.root.is_dir() and not self.root.is_symlink():
            entries = sorted(self.root.iterdir())
            strange = [entry for entry in entries if entry.name not in _PARTS or entry.is_symlink()]
            # An empty directory is all that is left by a process that was killed between its first two steps.
            if not strange and (not entries or self.root / _MARKER in entries):
                return
            foreign = strange[0] if strange else self.root
        raise OutputError(f"{foreign}: is in the way, and authorid did not write it; move it away")

    def _name_older_leftovers(self, reporter: Reporter) -> None:
        """Report what releases before this layout left, ``.NAME.xxxxxxxx`` and ``.NAME.xxxxxxxx.old``."""
        prefix, length = f".{self.target.name}.", 8
        entries: list[Path] = []
        with contextlib.suppress(OSError):  # a directory may be writable and not readable
            entries = sorted(self.target.parent.iterdir())
        for left in entries:
            alike = left.name.startswith(prefix) and len(left.name.removeprefix(prefix).removesuffix(".old")) == length
            if alike and left != self.root and any((left / mark).is_file() for mark in _OLDER_MARKS):
                reporter.warning(f"{left}: left by an older release that was killed; use it or remove it")


@contextmanager
def reserve_directory(out: str | os.PathLike[str], reporter: Reporter = SILENT) -> Iterator[Workspace]:
    """Reserve the directory `out` for the block; what a killed process left is put right and reported.

    Raises `OutputError` if another process has reserved it, or nothing can be written there.
    """
    workspace = Workspace.of(out)
    parent = workspace.target.parent
    missing = [directory for directory in (parent, *parent.parents) if not os.path.lexists(directory)]
    try:
        with raising_output_errors(workspace.out):
            parent.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(workspace.lock, workspace.out):
            with raising_output_errors(workspace.out):
                workspace.recover(reporter)
            try:
                yield workspace
            finally:
                with contextlib.suppress(OSError):
                    workspace.close()
    finally:
        for directory in missing:
            with contextlib.suppress(OSError):
                directory.rmdir()  # fails, as it should, if something was written there


def unfinished_work(path: str | os.PathLike[str]) -> str:
    """What a killed process has left of the directory `path`, which is not there, in words; empty if nothing."""
    workspace = Workspace.of(path)
    if workspace.old.is_dir():
        return f"a process was killed while it replaced it: move {workspace.old} there, or run that command again"
    if workspace.state.is_dir():
        return "its training is not finished: continue it with authorid train --resume"
    return ""


def content_sha256(content: Content) -> str:
    """SHA-256 of a file with this content, as `Workspace.write` returns it."""
    digest = hashlib.sha256()
    for chunk in _chunks(content):
        digest.update(chunk)
    return digest.hexdigest()


def _chunks(content: Content) -> Iterator[bytes]:
    """The bytes of `content`. Characters that UTF-8 cannot encode (lone surrogates) become ``?``."""
    if isinstance(content, Path):
        with content.open("rb") as stream:
            while chunk := stream.read(_CHUNK):
                yield chunk
    else:
        yield content.encode("utf-8", "replace") if isinstance(content, str) else content
