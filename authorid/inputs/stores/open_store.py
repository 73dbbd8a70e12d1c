"""The store of a URL: which package reaches it, and one `Store` for each bucket or server."""

from __future__ import annotations

from typing import Any

from authorid.errors import AuthoridError, MissingExtraError, require
from authorid.inputs.stores.fsspec_store import FsspecStore
from authorid.inputs.stores.http_store import HttpStore
from authorid.inputs.stores.s3_store import S3Store
from authorid.inputs.stores.store import Store, StoreError

__all__ = ["store_of"]

_PACKAGES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "http": "aiohttp",
    "https": "aiohttp",
}
_IN_EXTRA = ("s3fs", "aiohttp", "fsspec")
_KINDS: dict[str, type[Store]] = {"s3": S3Store, "s3a": S3Store, "http": HttpStore, "https": HttpStore}

_stores: dict[str, Store] = {}


def store_of(url: str) -> Store:
    """The store that has `url`.

    Raises `StoreError` if the URL names no bucket or server, and `AuthoridError` if a package is missing.
    """
    scheme, _, rest = url.partition("://")
    scheme, place = scheme.lower(), rest.partition("/")[0].partition("?")[0]
    if not place and scheme != "memory":
        raise StoreError("this URL names no bucket or server", transient=False)
    name = f"{scheme}://{place}/"
    if name not in _stores:
        _stores[name] = _KINDS.get(scheme, FsspecStore)(_file_system(scheme, url), name)
    return _stores[name]


def _file_system(scheme: str, url: str) -> Any:
    fsspec = require("fsspec", "remote")
    package = _PACKAGES.get(scheme, "fsspec")
    try:
        require(package, "remote")
    except MissingExtraError:
        if package in _IN_EXTRA:
            raise
        raise AuthoridError(
            f"{scheme}:// needs {package!r}, which is not installed: pip install 'authorid-toolkit[remote]' {package}"
        ) from None
    try:
        # Such as the account in abfs://container@account.dfs.core.windows.net/; S3 and HTTP take no options from URLs.
        known = {} if scheme in _KINDS else fsspec.get_filesystem_class(scheme)._get_kwargs_from_urls(url)
        # Its own instance: listings must be fresh, and its options must not change those of other users of fsspec.
        return fsspec.filesystem(scheme, skip_instance_cache=True, use_listings_cache=False, **known)
    except Exception as error:
        from authorid.inputs.stores.retries import store_error

        raise AuthoridError(f"{scheme}://: cannot be reached: {store_error(error)}") from None
