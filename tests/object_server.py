"""A server that speaks as much of S3 as reading needs, with faults: keys and answers that no real server would give.

``python tests/object_server.py DIRECTORY MILLISECONDS`` serves the files below DIRECTORY as the bucket ``letters``.
"""

from __future__ import annotations

import hashlib
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, quote, unquote, urlsplit

BUCKET = "letters"
Fault = Callable[["Handler", bytes], None]


class ObjectServer(ThreadingHTTPServer):
    """Serves `objects` by their keys. `faults` answer in the place of some; `requests` are counted by kind and key."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, objects: dict[str, bytes] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.lock = threading.Lock()
        self.begin(objects or {})
        threading.Thread(target=self.serve_forever, args=(0.02,), daemon=True).start()

    def begin(self, objects: dict[str, bytes], *, page: int = 1000, latency: float = 0.0) -> None:
        """Serve other objects, `page` keys in an answer, and wait for `latency` seconds before each answer."""
        self.objects = objects
        self.page = page
        self.latency = latency
        self.faults: dict[str, Fault] = {}
        self.requests: Counter[tuple[str, str]] = Counter()
        self.sent = 0
        self.busy = self.busiest = 0
        self.sorts = self.ranges = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"

    def count(self, kind: str) -> int:
        return sum(number for (of, _), number in self.requests.items() if of == kind)

    def handle_error(self, *_: object) -> None:
        pass  # clients that go away are part of the tests


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    server: ObjectServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_: object) -> None:
        pass

    def do_HEAD(self) -> None:
        self.answer("head")

    def do_GET(self) -> None:
        self.answer("get")

    def answer(self, kind: str) -> None:
        server = self.server
        parts = urlsplit(self.path)
        bucket, _, key = parts.path.removeprefix("/").partition("/")
        key = unquote(key)
        with server.lock:
            kind = kind if key else "list"
            server.requests[kind, key] += 1
            server.busy += 1
            server.busiest = max(server.busiest, server.busy)
        try:
            time.sleep(server.latency)
            if bucket != BUCKET:
                self.error(404, "NoSuchBucket")
            elif not key and "" in server.faults:
                server.faults[""](self, b"")
            elif not key:
                self.list({name: values[0] for name, values in parse_qs(parts.query).items()})
            elif key not in server.objects:
                self.error(404, "NoSuchKey")
            elif key in server.faults and kind == "get":
                server.faults[key](self, server.objects[key])
            else:
                self.object(server.objects[key])
        finally:
            with server.lock:
                server.busy -= 1

    def list(self, query: dict[str, str]) -> None:
        prefix, after = query.get("prefix", ""), query.get("continuation-token") or query.get("start-after", "")
        keys = [key for key in self.server.objects if key.startswith(prefix) and (key > after or not self.server.sorts)]
        keys = sorted(keys) if self.server.sorts else keys
        count = min(int(query.get("max-keys", "1000")), self.server.page)
        shown, more = keys[:count], len(keys) > count
        contents = "".join(
            f"<Contents><Key>{quote(key, safe='')}</Key><Size>{len(self.server.objects[key])}</Size>"
            f"<ETag>&quot;{etag(self.server.objects[key])}&quot;</ETag></Contents>"
            for key in shown
        )
        token = f"<NextContinuationToken>{quote(shown[-1], safe='')}</NextContinuationToken>" if more else ""
        if more:  # a token is opaque, and not decoded by clients
            token = f"<NextContinuationToken>{_xml(shown[-1])}</NextContinuationToken>"
        self.send(
            200,
            f"<?xml version='1.0' encoding='UTF-8'?><ListBucketResult><EncodingType>url</EncodingType>"
            f"<IsTruncated>{str(more).lower()}</IsTruncated>{token}{contents}</ListBucketResult>".encode(),
        )

    def object(self, data: bytes) -> None:
        tag = f'"{etag(data)}"'
        if self.headers.get("If-Match", tag) != tag:
            self.error(412, "PreconditionFailed")
            return
        asked = self.headers.get("Range", "")
        if not asked or not self.server.ranges:
            self.send(200, data, ETag=tag)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last) + 1]
        if not part:
            self.error(416, "InvalidRange")
            return
        end = int(first) + len(part) - 1
        self.send(206, part, **{"ETag": tag, "Content-Range": f"bytes {first}-{end}/{len(data)}"})

    def error(self, status: int, code: str) -> None:
        self.send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def send(self, status: int, body: bytes, length: int | None = None, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)
            self.server.sent += len(body)


def etag(data: bytes) -> str:
    return hashlib.md5(data).hexdigest()


def _xml(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


def status(number: int, code: str = "InternalError") -> Fault:
    return lambda handler, data: handler.error(number, code)


def busy(times: int) -> Fault:
    """HTTP 503 so many times, then the object."""
    left = [times]

    def fault(handler: Handler, data: bytes) -> None:
        left[0] -= 1
        if left[0] >= 0:
            handler.error(503, "SlowDown")
        else:
            handler.object(data)

    return fault


def half(handler: Handler, data: bytes) -> None:
    """Announces all of the body, and ends after half of it."""
    handler.send(200, data[: len(data) // 2], length=len(data))
    handler.close_connection = True


def drip(handler: Handler, data: bytes) -> None:
    """Sends a byte at a time, forever."""
    handler.send(200, b"", length=10_000)
    try:
        while True:
            handler.wfile.write(b"x")
            time.sleep(0.05)
    except OSError:
        handler.close_connection = True


def endless(handler: Handler, data: bytes) -> None:
    """Sends a body without end, as fast as it can."""
    handler.send_response(200)
    handler.end_headers()
    try:
        while True:
            handler.wfile.write(b"x" * 65536)
    except OSError:
        handler.close_connection = True


if __name__ == "__main__":
    root = Path(sys.argv[1])
    served = ObjectServer(
        {str(path.relative_to(root)): path.read_bytes() for path in root.rglob("*") if path.is_file()}
    )
    served.latency = float(sys.argv[2]) / 1000
    sys.stdout.write(f"{served.url}\n")
    sys.stdout.flush()
    threading.Event().wait()
