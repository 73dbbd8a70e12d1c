"""Stores that fsspec lists a directory at a time: Google Cloud Storage, Azure, and the memory of this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from authorid.inputs.stores.retries import status_of
from authorid.inputs.stores.store import ObjectInfo, Store

__all__ = ["FsspecStore"]

_VERSIONS = ("etag", "ETag", "generation", "md5Hash", "content_md5", "created", "mtime")


class FsspecStore(Store):
    """One bucket or container. The names of one directory are in memory at a time, for each level."""

    async def head(self, url: str) -> ObjectInfo | None:
        """The object at `url`."""
        try:
            info = await self._call("info", self._path(url))
        except FileNotFoundError:
            return None
        return None if info["type"] == "directory" else _object("", info)

    def below(self, url: str, seconds: float | None) -> Iterator[ObjectInfo]:
        """Yield the objects, with one request or more for each directory."""
        root = self._path(url).rstrip("/")
        levels = [iter(self._names(root, seconds))]
        parents = [""]
        while levels:
            entry = next(levels[-1], None)
            if entry is None:
                levels.pop()
                parents.pop()
                continue
            name, info = entry
            if info["type"] == "directory":
                parents.append(f"{parents[-1]}{name}/")
                levels.append(iter(self._names(f"{root}/{parents[-1]}".rstrip("/"), seconds)))
            else:
                yield _object(parents[-1] + name, info)

    def _names(self, path: str, seconds: float | None) -> list[tuple[str, dict[str, Any]]]:
        """The names in a directory with what is known about them, sorted; the directory itself is none."""
        listed = self.start(lambda: self._call("ls", path, detail=True), seconds).result()
        entries = [(str(info["name"]).rstrip("/"), info) for info in listed]
        named = [(name[len(path) + 1 :], info) for name, info in entries if name.startswith(f"{path}/")]
        return sorted(named, key=lambda entry: (entry[0].encode("utf-8", "surrogatepass"), entry[1]["type"] != "file"))

    async def content(self, url: str, limit: int) -> bytes:
        """The bytes of an object; of a larger one, the first `limit` and one more."""
        try:
            data: bytes = await self._call("cat_file", self._path(url), start=0, end=limit + 1)
        except Exception as error:
            if status_of(error) == 416:  # there is no first byte
                return b""
            raise
        return data

    async def part(self, url: str, begin: int, end: int, version: str | None) -> bytes:
        """The bytes of an object from `begin` up to `end`."""
        data: bytes = await self._call("cat_file", self._path(url), start=begin, end=end)
        return data

    async def probe(self) -> None:
        """Look at the top; the memory of this process needs no bucket."""
        if self.fs.async_impl:
            await self._call("info", self._path(self.name))

    def upload(self, source: Path, url: str, *, replace: bool) -> None:
        """Write a file."""
        if not replace and self.start(lambda: self.head(url), None).result() is not None:
            raise FileExistsError(url)
        self.start(lambda: self._call("put_file", str(source), self._path(url)), 3600).result()

    def _path(self, url: str) -> str:
        return str(self.fs._strip_protocol(url))

    async def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        if self.fs.async_impl:
            return await getattr(self.fs, f"_{method}")(*arguments, **options)
        return await asyncio.to_thread(getattr(self.fs, method), *arguments, **options)


def _object(below: str, info: dict[str, Any]) -> ObjectInfo:
    version = next((str(info[name]) for name in _VERSIONS if info.get(name)), None)
    return ObjectInfo(below, info.get("size"), version)
