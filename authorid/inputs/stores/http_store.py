"""Web servers: a URL is one document or table, since HTTP cannot list."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Any

from authorid.inputs.stores.range_file import RangeFile
from authorid.inputs.stores.store import ObjectInfo, Store, StoreError, read_limited

__all__ = ["HttpStore"]


class HttpStore(Store):
    """One server. A version is a strong ETag."""

    async def head(self, url: str) -> ObjectInfo | None:
        """The document at `url`, without a request: whoever reads it learns whether it is there."""
        return ObjectInfo("", None, None)

    def below(self, url: str, seconds: float | None) -> Iterator[ObjectInfo]:
        """Nothing."""
        return iter(())

    async def content(self, url: str, limit: int) -> bytes:
        """The bytes of a document; of a larger one, at least the first `limit`."""
        async with self._get(url) as answer:
            return await read_limited(answer.content.read, limit)

    async def part(self, url: str, begin: int, end: int, version: str | None) -> bytes:
        """The bytes of a document from `begin` up to `end`."""
        headers = {"Range": f"bytes={begin}-{end - 1}", "Accept-Encoding": "identity"}
        if version is not None:
            headers["If-Match"] = version
        async with self._get(url, headers) as answer:
            if answer.status == 412:
                raise StoreError("changed while it was read", transient=False)
            if answer.status != 206:
                raise StoreError("the server does not send parts any more", transient=False)
            return await read_limited(answer.content.read, end - begin)

    async def probe(self) -> None:
        """Ask for the first page: any answer will do that is no error of the server."""
        async with self._get(self.name):
            pass

    def open(self, url: str, seconds: float | None) -> io.RawIOBase:
        """Open a table: in parts if the server sends them, else as a stream."""
        size, version = self.start(lambda: self._size_of_parts(url), seconds).result()
        if size is None:
            return _Stream(self, url, seconds)

        def part(begin: int, end: int) -> bytes:
            return self.start(lambda: self.part(url, begin, end, version), seconds).result()

        return RangeFile(part, size)

    async def _size_of_parts(self, url: str) -> tuple[int | None, str | None]:
        """The size of a document of which the server sends parts, and its version; None if it does not."""
        async with self._get(url, {"Range": "bytes=0-0", "Accept-Encoding": "identity"}) as answer:
            size = answer.headers.get("Content-Range", "").rpartition("/")[2]
            version = answer.headers.get("ETag", "")
            if answer.status != 206 or not (size.isascii() and size.isdigit()):
                return None, None
            return int(size), version if version.startswith('"') else None

    @asynccontextmanager
    async def _get(self, url: str, headers: dict[str, str] | None = None) -> AsyncIterator[Any]:
        session = await self.fs.set_session()
        async with session.get(self.fs.encode_url(url), headers=headers, **self.fs.kwargs) as answer:
            if answer.status in (404, 410):
                raise FileNotFoundError(url)
            if answer.status not in (412, 416):
                answer.raise_for_status()
            yield answer


class _Stream(io.RawIOBase):
    """A document that is read once, from front to back: a request that breaks off cannot be made again."""

    def __init__(self, store: HttpStore, url: str, seconds: float | None) -> None:
        self._store = store
        self._seconds = seconds
        self._request = store._get(url)
        self._answer: Any = store.start(lambda: self._request.__aenter__(), seconds).result()

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill `buffer` as far as possible."""
        size = len(buffer)
        data: bytes = self._store.start_once(lambda: self._answer.content.read(size), self._seconds).result()
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """End the request."""
        if self._answer is not None:
            self._answer = None
            self._store.start_once(lambda: self._request.__aexit__(None, None, None), None)
        super().close()
