"""Reading objects before they are needed, many at a time: each takes long, and the store answers many at once."""

from __future__ import annotations

import queue
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future
from typing import Any

from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import ReadOptions
from authorid.inputs.readers import is_streamed
from authorid.inputs.urls import is_url, name_in, original_url

__all__ = ["Fetched", "read_ahead"]

_MOST_REQUESTS = 64
"""As many as `authorid.inputs.stores.store.MOST_REQUESTS`, which is not imported before there is a URL."""

_MOST_BYTES = 1 << 26
_UNKNOWN_SIZE = 1 << 20
_LISTED_AHEAD = 1024


class Fetched:
    """The bytes of one object, whose request may have been started before they are asked for."""

    def __init__(self, file: DiscoveredFile, options: ReadOptions) -> None:
        self.file = file
        self.cost = _UNKNOWN_SIZE if file.size is None else file.size
        self.used = False
        self._options = options
        self._started: Future[bytes] | None = None
        self._store: Any = None

    @property
    def is_started(self) -> bool:
        """Whether the request was made."""
        return self._started is not None

    @property
    def can_start(self) -> bool:
        """Whether this is an object that is read as a whole."""
        file = self.file
        return (
            file.problem is None
            and is_url(file.path)
            and self.cost <= self._options.max_bytes
            and not is_streamed(name_in(file.path))
        )

    def start(self) -> None:
        """Make the request."""
        from authorid.inputs.stores import store_of

        url = original_url(self.file.path)
        self._store = store_of(url)
        self._started = self._store.start_read(url, self._options.max_bytes, self._options.timeout)

    def bytes(self) -> bytes:
        """The bytes; of an object that is larger than a document may be, at least one more than that.

        Raises `OSError`, and `AuthoridError` if the store is away.
        """
        self.used = True
        if self._started is None:
            self.start()
        assert self._started is not None
        data: bytes = self._store.finish_read(self._started)
        return data

    def cancel(self) -> None:
        """End the request."""
        if self._started is not None:
            self._started.cancel()


def read_ahead(
    files: Iterator[DiscoveredFile], options: ReadOptions
) -> Generator[tuple[DiscoveredFile, Callable[[], bytes] | None], None, None]:
    """Yield the `files` with, for objects of a store, a function that gives their bytes.

    Requests are made ahead only while their answers are used: those of a resumed run that keeps its rows are not made.
    Until there is a URL, this is a plain loop.
    """
    for file in files:
        if is_url(file.path):
            yield from _ReadAhead(file, files, options).run()
            return
        yield file, None


class _ReadAhead:
    """The rest of a walk, from the first URL on: a thread lists, and the caller's thread starts requests and waits."""

    def __init__(self, first: DiscoveredFile, files: Iterator[DiscoveredFile], options: ReadOptions) -> None:
        self._first = first
        self._files = files
        self._options = options
        self._listed: queue.Queue[DiscoveredFile | BaseException | None] = queue.Queue(_LISTED_AHEAD)
        self._waiting: deque[Fetched] = deque()
        self._ended: BaseException | None = None
        self._at_end = False
        self._stopped = threading.Event()

    def run(self) -> Iterator[tuple[DiscoveredFile, Callable[[], bytes] | None]]:
        """Yield the files."""
        # Daemon: a list of paths on standard input may never end.
        threading.Thread(target=self._list, name="authorid-list", daemon=True).start()
        window = 0
        try:
            while self._take(window):
                self._start(window)
                fetched = self._waiting.popleft()
                if not is_url(fetched.file.path):
                    yield fetched.file, None
                    continue
                yield fetched.file, fetched.bytes
                if fetched.can_start:
                    window = min(max(2 * window, 4), _MOST_REQUESTS) if fetched.used else 0
            if self._ended is not None:
                raise self._ended
        finally:
            self._stopped.set()
            for fetched in self._waiting:
                fetched.cancel()

    def _take(self, window: int) -> bool:
        """Take what is listed already, and wait for one file if there is none. False at the end."""
        while not self._at_end and len(self._waiting) <= window:
            try:
                item = self._listed.get(block=not self._waiting)
            except queue.Empty:
                break
            if isinstance(item, DiscoveredFile):
                self._waiting.append(Fetched(item, self._options))
            else:
                self._ended, self._at_end = item, True
        return bool(self._waiting)

    def _start(self, window: int) -> None:
        cost = 0
        for fetched, _ in zip(self._waiting, range(window), strict=False):
            if fetched.can_start:
                cost += fetched.cost
                if cost > _MOST_BYTES:
                    return
                if not fetched.is_started:
                    fetched.start()

    def _list(self) -> None:
        try:
            self._put(self._first)
            for file in self._files:
                if not self._put(file):
                    return
        except BaseException as error:
            self._put(error)
        else:
            self._put(None)

    def _put(self, item: DiscoveredFile | BaseException | None) -> bool:
        while not self._stopped.is_set():
            try:
                self._listed.put(item, timeout=0.5)
            except queue.Full:
                continue
            return True
        return False
