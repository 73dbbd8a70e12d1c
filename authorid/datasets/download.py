"""Downloads that go on where they stopped, however they stopped."""

from __future__ import annotations

import http.client
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.parse import urlsplit

from authorid.errors import DownloadError, OutputError, first_line, os_error_reason
from authorid.outputs import atomic
from authorid.reporter import Reporter
from authorid.version import __version__

__all__ = ["download"]

_ATTEMPTS = 5
"""Attempts in a row without a byte after which the download has failed."""

_TIMEOUT = 30.0
"""Seconds that a server may take to answer, and to send the next bytes."""

_FIRST_PAUSE = 1.0
"""Seconds before the second attempt; each later pause is twice as long."""

_CHUNK_BYTES = 1 << 16
_RETRIED = (408, 425, 429, 500, 502, 503, 504)
"""HTTP errors that may pass."""


class _CutShortError(Exception):
    """The server stopped before the end, or answered what makes no sense; another attempt may help."""


def download(url: str, target: Path, *, most_bytes: int, reporter: Reporter) -> None:
    """Download `url` to the file `target`, which then is whole.

    Until then the bytes are in ``TARGET.part``; what is there already, from a download that was interrupted, is not
    downloaded again, if the server can send a part of a file. Raises `DownloadError` when the server does not answer
    or sends more than `most_bytes`, and `OutputError` when the bytes cannot be written.
    """
    if urlsplit(url).scheme not in ("http", "https"):
        raise DownloadError(f"{url}: only http and https addresses can be downloaded")
    part = target.with_name(f"{target.name}.part")
    failures, pause = 0, _FIRST_PAUSE
    while True:
        before = _size(part)
        try:
            _attempt(url, part, most_bytes, reporter)
            break
        except HTTPError as error:
            if error.code not in _RETRIED:
                raise DownloadError(f"{url}: the server answers {error.code} {error.reason}") from None
            problem = f"the server answers {error.code} {error.reason}"
        except (_CutShortError, OSError, http.client.HTTPException) as error:
            problem = _reason(error)
        if _size(part) > before:
            failures, pause = 0, _FIRST_PAUSE
        failures += 1
        if failures > _ATTEMPTS:
            raise DownloadError(f"{url}: {problem}; the same command goes on from here when the server answers again")
        reporter.info(f"{problem}; trying again in {pause:.0f} s")
        time.sleep(pause)
        pause *= 2
    try:
        part.replace(target)
    except OSError as error:
        raise OutputError(f"{target}: cannot write there: {os_error_reason(error)}") from None


def _attempt(url: str, part: Path, most_bytes: int, reporter: Reporter) -> None:
    """Add bytes to `part`; returns when it is whole."""
    start = _size(part)
    headers = {"User-Agent": f"authorid/{__version__}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response = _opener().open(urllib.request.Request(url, headers=headers), timeout=_TIMEOUT)
    except HTTPError as error:
        if error.code == 416 and start:  # there is nothing behind the bytes that we have
            if _total(error.headers.get("Content-Range")) == start:
                return
            part.unlink()
            raise _CutShortError("the file on the server has changed") from None
        raise
    with response:
        if response.status != 206:
            start = 0  # the whole file comes
        elif _first(response.headers.get("Content-Range")) != start:
            raise _CutShortError("the server sends another part of the file than was asked for")
        length = response.headers.get("Content-Length")
        total = start + int(length) if length is not None and length.isdecimal() else None
        if total is not None and total > most_bytes:
            raise DownloadError(f"{url}: {total} bytes, at most {most_bytes} were expected; this is another file")
        done = start
        with _opened(part, start) as descriptor:
            while chunk := response.read1(_CHUNK_BYTES):  # what has come, so that an interrupt loses nothing
                done += len(chunk)
                if done > most_bytes:
                    raise DownloadError(f"{url}: more than the expected {most_bytes} bytes; this is another file")
                with _writing(part):
                    atomic.write_all(descriptor, chunk)
                reporter.progress(done, total, "bytes")
        if total is not None and done < total:
            raise _CutShortError(f"the server stopped after {done:,} of {total:,} bytes")


def _opener() -> urllib.request.OpenerDirector:
    """What opens http and https addresses, and no other ones: a redirect must not lead to a file or to FTP."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPErrorProcessor(),
    ):
        opener.add_handler(handler)
    return opener


@contextmanager
def _opened(part: Path, start: int) -> Iterator[int]:
    """A descriptor of the file `part`, cut to `start` bytes, that writes behind them. Raises `OutputError`."""
    with _writing(part):
        stream = part.open("r+b" if start else "wb", buffering=0)
    with stream:
        with _writing(part):
            stream.truncate(start)
            stream.seek(start)
        yield stream.fileno()


@contextmanager
def _writing(part: Path) -> Iterator[None]:
    """Raise errors of the block, which are about the disk, as `OutputError`: another attempt would not help."""
    try:
        yield
    except OSError as error:
        raise OutputError(f"{part}: cannot write there: {os_error_reason(error)}") from None


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _first(content_range: str | None) -> int | None:
    """The first byte in a ``Content-Range``."""
    match = re.match(r"bytes ([0-9]{1,18})-", content_range or "")
    return int(match[1]) if match else None


def _total(content_range: str | None) -> int | None:
    """The size of the whole file in a ``Content-Range``."""
    match = re.search(r"/([0-9]{1,18})$", content_range or "")
    return int(match[1]) if match else None


def _reason(error: Exception) -> str:
    if isinstance(error, URLError):
        error = error.reason if isinstance(error.reason, Exception) else OSError(str(error.reason))
    if isinstance(error, TimeoutError):
        return "the server does not answer"
    return os_error_reason(error) if isinstance(error, OSError) else first_line(error)
