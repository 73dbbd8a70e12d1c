"""Object stores and web servers, behind one interface: list, read, read in parts, write. They come through fsspec.

Nothing of this is imported before there is a URL.
"""

from __future__ import annotations

from authorid.inputs.stores.open_store import store_of
from authorid.inputs.stores.store import ObjectInfo, Store, StoreError

__all__ = ["ObjectInfo", "Store", "StoreError", "store_of"]
