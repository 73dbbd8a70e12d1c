"""A local server of one file, which can do what bad servers and networks do."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Behaviour:
    """What the server serves, and how; tests change it while it runs."""

    content: bytes
    ranges: bool = True
    cuts: list[int] = field(default_factory=list)
    """For each of the next answers: the number of bytes after which the connection is cut."""
    errors: list[int] = field(default_factory=list)
    """The status of the next answers."""
    chunked: bool = False
    """Whether answers are in chunks, as of a server that packs the archive on the fly and does not know its size."""
    redirect: str | None = None
    hang: threading.Event | None = None
    """When given, the server waits for it after the first half of an answer."""
    requests: list[str | None] = field(default_factory=list)
    """The header ``Range`` of each request."""
    started: threading.Event = field(default_factory=threading.Event)


@contextmanager
def serving(behaviour: Behaviour) -> Iterator[str]:
    """Run the server; gives the address of its file."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            behaviour.requests.append(wanted)
            if behaviour.errors:
                self.send_error(behaviour.errors.pop(0))
                return
            if behaviour.redirect is not None:
                self.send_response(302)
                self.send_header("Location", behaviour.redirect)
                self.end_headers()
                return
            if behaviour.chunked:
                self.send_chunks()
                return
            content, start = behaviour.content, 0
            if wanted is not None and behaviour.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-"))
                if start >= len(content):
                    self.send_response(416)
                    self.send_header("Content-Range", f"bytes */{len(content)}")
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            else:
                self.send_response(200)
            body = content[start:]
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if behaviour.cuts:
                self.wfile.write(body[: behaviour.cuts.pop(0)])
                self.connection.close()
                return
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            behaviour.started.set()
            if behaviour.hang is not None:
                behaviour.hang.wait(60)
            self.wfile.write(body[half:])

        def send_chunks(self) -> None:
            self.protocol_version = "HTTP/1.1"
            self.send_response(200)
            self.send_header("Transfer-Encoding", "chunked")
            self.send_header("Connection", "close")
            self.end_headers()
            cut = behaviour.cuts.pop(0) if behaviour.cuts else None
            for at in range(0, len(behaviour.content[:cut]), 1000):
                chunk = behaviour.content[at : at + 1000]
                self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            if cut is None:
                self.wfile.write(b"0\r\n\r\n")

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Ignore clients that have gone."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/archive.zip"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
