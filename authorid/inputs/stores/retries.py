"""Requests that are tried again: how often, how long each may take, and what their errors mean to people."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from authorid.errors import first_line, os_error_reason
from authorid.inputs.urls import without_secrets

__all__ = ["ATTEMPTS", "REQUEST_SECONDS", "StoreError", "attempt", "status_of", "store_error"]

T = TypeVar("T")

REQUEST_SECONDS = 60.0
"""How long one request may take, unless there is a timeout."""

ATTEMPTS = 4
_FIRST_PAUSE = 0.25
"""Seconds before the second attempt; each later pause is twice as long, and up to a half longer at random."""


class StoreError(OSError):
    """A request failed for good. `transient` is whether it may succeed later: the store did not answer, or was busy."""

    def __init__(self, reason: str, *, transient: bool) -> None:
        super().__init__(reason)
        self.transient = transient


async def attempt(request: Callable[[], Awaitable[T]], seconds: float | None, attempts: int = ATTEMPTS) -> T:
    """The result of `request`, which is made up to `attempts` times, with pauses that double.

    Raises `FileExistsError`, and `StoreError` for any other failure.
    """
    limit = REQUEST_SECONDS if seconds is None else seconds
    for number in range(attempts):
        try:
            async with asyncio.timeout(limit):
                return await request()
        except FileExistsError:
            raise
        except Exception as error:
            failure = store_error(error, limit)
            if not failure.transient or number == attempts - 1:
                raise failure from None
        await asyncio.sleep(_FIRST_PAUSE * 2**number * random.uniform(1, 1.5))
    raise AssertionError("unreachable")


_LASTING_STATUS = range(400, 500)
_BUSY_STATUS = (408, 425, 429)
_LASTING = (PermissionError, IsADirectoryError, NotADirectoryError, ValueError, NotImplementedError)
_LASTING_NAMES = ("NoCredentialsError", "PartialCredentialsError", "ProfileNotFound", "NoAuthTokenError")


def store_error(error: BaseException, limit: float = REQUEST_SECONDS) -> StoreError:
    """`error` of any library as a `StoreError`, in words without secrets."""
    if isinstance(error, StoreError):
        return error
    if isinstance(error, FileNotFoundError):
        return StoreError("no such object", transient=False)
    status = status_of(error)
    if isinstance(error, TimeoutError):
        return StoreError(f"no complete answer within {limit:g} s (see --timeout)", transient=True)
    if status is not None:
        lasting = status in _LASTING_STATUS and status not in _BUSY_STATUS
        refused = ", access denied" if status in (401, 403) else ""
        return StoreError(f"the server answered HTTP {status}{refused}", transient=not lasting)
    name = type(error).__name__
    if isinstance(error, PermissionError):
        return StoreError(f"access denied ({_message(error)})", transient=False)
    if name in _LASTING_NAMES:
        return StoreError(f"no credentials ({_message(error)})", transient=False)
    if name in ("ClientPayloadError", "IncompleteReadError", "IncompleteRead", "ResponseStreamingError"):
        return StoreError("the answer ended early, or is not what its header announced", transient=True)
    return StoreError(_message(error) or name, transient=not isinstance(error, _LASTING))


def _message(error: BaseException) -> str:
    if isinstance(error, OSError | ValueError) and not hasattr(error, "host"):  # aiohttp's message names the host
        text = os_error_reason(error)
    else:
        text = first_line(error)
    return without_secrets(text.strip().partition("\n")[0])[:300]


def status_of(error: BaseException) -> int | None:
    """The status of the HTTP answer that `error`, or what caused it, reports."""
    for cause in (error, error.__cause__):
        found = [getattr(cause, name, None) for name in ("status", "status_code")]
        if isinstance(response := getattr(cause, "response", None), dict):
            found.append(response.get("ResponseMetadata", {}).get("HTTPStatusCode"))
        for status in found:
            if type(status) is int and 400 <= status < 600:
                return status
    return None
