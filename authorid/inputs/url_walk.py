"""A walk below a URL: like one below a directory, except that nothing but documents and directories can be there."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from authorid.errors import AuthoridError
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import ReadOptions
from authorid.inputs.stores import ObjectInfo, Store, StoreError, store_of
from authorid.inputs.urls import original_url, shown_path

__all__ = ["problem_at", "walk_url"]


class Wanted(Protocol):
    """Tells whether the globs and ignore rules let an entry through (see `authorid.inputs.discovery`)."""

    def __call__(self, name: str, below: str, *, directory: bool) -> bool:
        """Whether to read it."""


def walk_url(root: int, path: str, options: ReadOptions, is_wanted: Wanted) -> Iterator[DiscoveredFile]:
    """Yield the objects that the URL `path` stands for: that object, or those below that prefix, in walk order.

    Raises `AuthoridError` when a listing breaks off for want of an answer: without the rest, results would lack rows
    without a trace.
    """
    shown = shown_path(path)
    url = original_url(shown)
    found = False
    try:
        store = store_of(url)
        info = store.start(lambda: store.head(url), options.timeout).result()
        if info is not None:
            if shown not in options.skip:
                yield DiscoveredFile(shown, root=root, size=info.size, version=info.version)
            return
        for file in _below(store, url, root, options, is_wanted):
            found = True
            if file is not None:
                yield file
    except StoreError as error:
        if error.transient or found:
            raise AuthoridError(f"{shown}: cannot be listed: {error}") from None
        yield DiscoveredFile(shown, str(error), root)
        return
    if not found:
        yield DiscoveredFile(shown, "no such object, and none below it", root)


def _below(
    store: Store, url: str, root: int, options: ReadOptions, is_wanted: Wanted
) -> Iterator[DiscoveredFile | None]:
    """Yield the objects below a prefix, and None for each that is not wanted."""
    directories = _Directories(options, is_wanted)
    for info in store.below(url, options.timeout):
        directory, _, name = info.below.rpartition("/")
        if _is_placeholder(info):
            yield None
            continue
        path = shown_path(store.child(url, info.below))
        wanted = (
            directories.are_wanted(directory)
            and (options.hidden or not name.startswith("."))
            and is_wanted(name, info.below, directory=False)
            and path not in options.skip
        )
        yield DiscoveredFile(path, None, root, info.below, size=info.size, version=info.version) if wanted else None


def _is_placeholder(info: ObjectInfo) -> bool:
    """Whether this stands for a directory: some tools write an empty object for each."""
    return not info.size and (not info.below or info.below.endswith("/"))


class _Directories:
    """Remembers of the last directory whether it is wanted: keys come sorted."""

    def __init__(self, options: ReadOptions, is_wanted: Wanted) -> None:
        self._hidden = options.hidden
        self._is_wanted = is_wanted
        self._last = ""
        self._answer = True

    def are_wanted(self, directory: str) -> bool:
        """Whether all parts of the path `directory` are."""
        if directory != self._last:
            self._last = directory
            parts = directory.split("/")
            self._answer = all(
                (self._hidden or not name.startswith("."))
                and (not name or self._is_wanted(name, "/".join(parts[: index + 1]), directory=True))
                for index, name in enumerate(parts)
            )
        return self._answer


def problem_at(path: str, options: ReadOptions) -> str | None:
    """The reason why nothing can be read at the URL `path`; None if there is anything.

    Raises `AuthoridError` if the store does not answer, or its package is missing.
    """
    everything = ReadOptions(hidden=True, timeout=options.timeout)
    first = next(walk_url(0, path, everything, lambda *_, directory: True), None)
    return None if first is None else first.problem
