"""Stores in tests: servers on this machine, and a client that knows no other."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from unittest.mock import patch

import pytest

from authorid.inputs.stores import open_store, retries

MISSING = [name for name in ("fsspec", "s3fs", "aiohttp") if find_spec(name) is None]
needs_stores = pytest.mark.skipif(bool(MISSING), reason=f"not installed: {', '.join(MISSING)}")
needs_moto = pytest.mark.skipif(find_spec("moto") is None, reason="not installed: moto")


def client_environment(endpoint: str) -> dict[str, str]:
    """Environment variables with which S3 is at `endpoint`."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
    }


@contextmanager
def stores_at(endpoint: str) -> Iterator[None]:
    """In this process, S3 is at `endpoint`, and pauses between attempts are short."""
    with (
        patch.dict(os.environ, client_environment(endpoint)),
        patch.dict(open_store._stores, clear=True),
        patch.object(retries, "_FIRST_PAUSE", 0.001),
    ):
        yield


@contextmanager
def moto_server() -> Iterator[str]:
    """The URL of a server that stands for S3, until the end of the block."""
    from moto.server import ThreadedMotoServer

    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()
