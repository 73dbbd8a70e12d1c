"""What all stores have in common."""

from __future__ import annotations

import asyncio
import io
from abc import ABC, abstractmethod
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from authorid.errors import AuthoridError
from authorid.inputs.stores.range_file import RangeFile
from authorid.inputs.stores.retries import StoreError, attempt
from authorid.inputs.urls import without_secrets

__all__ = ["MOST_REQUESTS", "ObjectInfo", "Store", "StoreError", "read_limited"]

T = TypeVar("T")

MOST_REQUESTS = 64
"""Requests at the same time."""

_MOST_FAILURES = 8
"""So many objects in a row that fail for want of an answer make it worth to ask whether the store is there at all."""

_CHUNK = 1 << 18


class ObjectInfo(NamedTuple):
    """An object below a listed prefix: `below` is the rest of its key, and `version` changes with the content."""

    below: str
    size: int | None
    version: str | None


class Store(ABC):
    """One bucket, container or server, reached through the fsspec file system `fs`.

    URLs are passed as the user wrote them. Methods raise `StoreError`.
    """

    def __init__(self, fs: Any, name: str) -> None:
        from fsspec.asyn import get_loop

        self.fs = fs
        self.name = name
        self.loop: asyncio.AbstractEventLoop = fs.loop if fs.async_impl else get_loop()
        self._failures = 0

    # For each kind of store ----------------------------------------------------------------------------------------

    @abstractmethod
    async def head(self, url: str) -> ObjectInfo | None:
        """The object at `url`; None if there is none, though there may be others below it."""

    @abstractmethod
    def below(self, url: str, seconds: float | None) -> Iterator[ObjectInfo]:
        """Yield the objects below the prefix `url`, in walk order."""

    @abstractmethod
    async def content(self, url: str, limit: int) -> bytes:
        """The bytes of an object; of a larger one, at least the first `limit`."""

    @abstractmethod
    async def part(self, url: str, begin: int, end: int, version: str | None) -> bytes:
        """The bytes of an object from `begin` up to `end`; if the store can tell, only of this `version`."""

    @abstractmethod
    async def probe(self) -> None:
        """Make a small request, to see whether there is any answer."""

    async def is_there(self) -> bool:
        """Whether there is such a bucket or container."""
        try:
            await self.probe()
        except FileNotFoundError:
            return False
        return True

    def child(self, url: str, below: str) -> str:
        """The URL of the object `below` the prefix `url`."""
        return f"{url}{'' if url.endswith('/') else '/'}{below}"

    # For all of them -----------------------------------------------------------------------------------------------

    def start(self, request: Callable[[], Coroutine[Any, Any, T]], seconds: float | None) -> Future[T]:
        """Start a request, which is tried again if need be."""
        return asyncio.run_coroutine_threadsafe(attempt(request, seconds), self.loop)

    def start_once(self, request: Callable[[], Coroutine[Any, Any, T]], seconds: float | None) -> Future[T]:
        """Start a request that cannot be made again."""
        return asyncio.run_coroutine_threadsafe(attempt(request, seconds, attempts=1), self.loop)

    def start_read(self, url: str, limit: int, seconds: float | None) -> Future[bytes]:
        """Start to read an object (see `content`)."""
        return self.start(lambda: self.content(url, limit), seconds)

    def finish_read(self, started: Future[bytes]) -> bytes:
        """The bytes that `start_read` gets.

        Raises `AuthoridError` if this is one of many failures in a row and the store does not answer anything else
        either: the run must stop then, instead of failing for every document that is left.
        """
        try:
            data = started.result()
        except StoreError as error:
            self._failures = self._failures + 1 if error.transient else 0
            if self._failures >= _MOST_FAILURES:
                self._failures = 0
                self._check_alive()
            raise
        self._failures = 0
        return data

    def _check_alive(self) -> None:
        try:
            self.start(self.probe, None).result()
        except StoreError as error:
            if error.transient:
                shown = without_secrets(self.name)
                raise AuthoridError(f"{shown}: the store does not answer any more: {error}") from None

    def open(self, url: str, seconds: float | None) -> io.RawIOBase:
        """Open an object to read it in parts. An object that changes meanwhile is an error where the store can tell."""
        info = self.start(lambda: self.head(url), seconds).result()
        if info is None:
            raise StoreError("no such object", transient=False)

        def part(begin: int, end: int) -> bytes:
            return self.start(lambda: self.part(url, begin, end, info.version), seconds).result()

        return RangeFile(part, info.size or 0)

    def upload(self, source: Path, url: str, *, replace: bool) -> None:
        """Write a local file to `url`; the object appears in one step. Raises `FileExistsError` without `replace`."""
        raise StoreError("nothing can be written to this kind of store", transient=False)


async def read_limited(read: Callable[[int], Coroutine[Any, Any, bytes]], limit: int) -> bytes:
    """All that `read` gives, up to the first piece that goes over `limit`."""
    parts: list[bytes] = []
    size = 0
    while size <= limit and (part := await read(_CHUNK)):
        parts.append(part)
        size += len(part)
    return b"".join(parts)
