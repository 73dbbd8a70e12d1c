"""S3, and stores that speak its protocol, through s3fs. Endpoint and credentials come from its own configuration.

Requests are made directly, because keys may be anything, and s3fs takes some for paths or versions.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from authorid.inputs.stores.key_order import in_walk_order
from authorid.inputs.stores.retries import status_of
from authorid.inputs.stores.store import MOST_REQUESTS, ObjectInfo, Store, StoreError, read_limited

__all__ = ["S3Store"]

_PAGE = 1000

_UPLOAD_PART, _MOST_PARTS = 1 << 24, 9000
"""Bytes of a part, unless there would be too many of them."""

_UPLOAD_SECONDS = 600
"""How long the upload of one part may take."""

_TOKEN = "authorid-upload"
"""The name of what tells the upload that has made an object."""


class S3Store(Store):
    """One bucket. A version is the ETag."""

    def __init__(self, fs: Any, name: str) -> None:
        super().__init__(fs, name)
        # One place decides how often a request is made again: authorid.inputs.stores.retries.
        fs.retries = 1
        defaults = {"retries": {"total_max_attempts": 1}, "max_pool_connections": MOST_REQUESTS}
        fs.config_kwargs = {**defaults, **fs.config_kwargs}
        self._bucket = _split(name)[0]

    async def head(self, url: str) -> ObjectInfo | None:
        """The object at `url`."""
        key = _split(url)[1]
        if not key or key.endswith("/"):
            return None
        try:
            answer = await self.fs._call_s3("head_object", Bucket=self._bucket, Key=key)
        except FileNotFoundError:
            return None
        except PermissionError:
            # Without the permission to list a bucket, objects that do not exist are forbidden.
            return None if await self._exists_below(key + "/") else _forbidden()
        return ObjectInfo("", answer["ContentLength"], answer.get("ETag"))

    async def _exists_below(self, prefix: str) -> bool:
        answer = await self.fs._call_s3("list_objects_v2", Bucket=self._bucket, Prefix=prefix, MaxKeys=1)
        return bool(answer.get("Contents"))

    def below(self, url: str, seconds: float | None) -> Iterator[ObjectInfo]:
        """Yield the objects, with one request for each thousand keys."""
        root = _split(url)[1]
        root += "/" if root and not root.endswith("/") else ""

        def pages(prefix: str, after: str) -> Iterator[list[ObjectInfo]]:
            query = {"Bucket": self._bucket, "Prefix": root + prefix, "MaxKeys": _PAGE}
            if after:
                query["StartAfter"] = root + after
            while True:
                page = self.start(partial(self.fs._call_s3, "list_objects_v2", **query), seconds).result()
                yield [
                    ObjectInfo(item["Key"][len(root) :], item["Size"], item.get("ETag"))
                    for item in page.get("Contents", [])
                ]
                if not page.get("IsTruncated"):
                    return
                query.pop("StartAfter", None)
                query["ContinuationToken"] = page["NextContinuationToken"]

        return in_walk_order(pages)

    async def content(self, url: str, limit: int) -> bytes:
        """The bytes of an object; of a larger one, at least the first `limit`."""
        return await self._get(url, limit)

    async def part(self, url: str, begin: int, end: int, version: str | None) -> bytes:
        """The bytes of an object from `begin` up to `end`."""
        match = {} if version is None else {"IfMatch": version}
        try:
            return await self._get(url, end - begin, Range=f"bytes={begin}-{end - 1}", **match)
        except OSError as error:
            if status_of(error) == 412:
                raise StoreError("changed while it was read", transient=False) from None
            raise

    async def _get(self, url: str, limit: int, **more: str) -> bytes:
        answer = await self.fs._call_s3("get_object", Bucket=self._bucket, Key=_split(url)[1], **more)
        body = answer["Body"]
        try:
            return await read_limited(body.read, limit)
        finally:
            body.close()

    async def probe(self) -> None:
        """List one key."""
        await self.fs._call_s3("list_objects_v2", Bucket=self._bucket, MaxKeys=1)

    def upload(self, source: Path, url: str, *, replace: bool) -> None:
        """Write a file; a large one in parts, whose completion makes the object appear."""
        token = os.urandom(8).hex()
        names = {"Bucket": self._bucket, "Key": _split(url)[1]}
        match = {} if replace else {"IfNoneMatch": "*"}
        size = source.stat().st_size
        try:
            with source.open("rb") as stream:
                if size <= _UPLOAD_PART:
                    self._call("put_object", **names, **match, Metadata={_TOKEN: token}, Body=stream.read())
                else:
                    self._upload_parts(stream, max(_UPLOAD_PART, -(-size // _MOST_PARTS)), token, names, match)
        except (FileExistsError, StoreError):
            # An answer may have been lost: the second request then fails because the first one did its work.
            if self._token_at(names) != token:
                raise

    def _upload_parts(
        self, stream: BinaryIO, part_size: int, token: str, names: dict[str, str], match: dict[str, str]
    ) -> None:
        begun = self._call("create_multipart_upload", **names, Metadata={_TOKEN: token})
        names = {**names, "UploadId": begun["UploadId"]}
        parts: list[dict[str, Any]] = []
        try:
            while data := stream.read(part_size):
                number = len(parts) + 1
                answer = self._call("upload_part", **names, PartNumber=number, Body=data)
                parts.append({"PartNumber": number, "ETag": answer["ETag"]})
            self._call("complete_multipart_upload", **names, **match, MultipartUpload={"Parts": parts})
        except BaseException:
            with contextlib.suppress(OSError):
                self._call("abort_multipart_upload", **names)
            raise

    def _token_at(self, names: dict[str, str]) -> str | None:
        try:
            token: str | None = self._call("head_object", **names).get("Metadata", {}).get(_TOKEN)
        except OSError:
            return None
        return token

    def _call(self, method: str, **arguments: Any) -> Any:
        return self.start(lambda: self.fs._call_s3(method, **arguments), _UPLOAD_SECONDS).result()


def _forbidden() -> ObjectInfo:
    raise PermissionError("it is forbidden to read it, or to see whether it exists")


def _split(url: str) -> tuple[str, str]:
    """The bucket and the key."""
    bucket, _, key = url.partition("://")[2].partition("/")
    return bucket.rpartition("@")[2], key
