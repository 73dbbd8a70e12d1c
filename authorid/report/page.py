"""The page as a file: a template with its style and script, and the data as JSON that is inert in any browser."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import Any, BinaryIO

from authorid.outputs import atomic

__all__ = ["compact_json", "write_page"]

_SCRIPTS = {
    "score": ("common", "rows", "table", "overview", "details", "start"),
    "evaluation": ("common", "evaluation"),
}
"""The files that make up the script of each page, in this order."""

_ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}


def compact_json(value: Any) -> bytes:
    """`value` as JSON without spaces, and without a character that could end the element which holds it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).translate(_ESCAPES).encode()


def write_page(path: Path, name: str, data: dict[str, bytes | BinaryIO]) -> None:
    """Write the page ``score`` or ``evaluation`` to `path`, complete or not at all; what is there is replaced.

    `data` has what takes the place of each name in the template, made by `compact_json`. Raises `OSError`.
    """
    page, style = _asset(f"{name}.html"), _asset("page.css")
    script = b"".join(_asset(f"{part}.js") for part in _SCRIPTS[name])
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )
    inserts: dict[str, bytes | BinaryIO] = {
        "POLICY": policy.encode(),
        "STYLE": style,
        "SCRIPT": script,
        **data,
    }
    with _replacing(path) as stream:
        for number, part in enumerate(page.split(b"%%")):
            content = inserts[part.decode()] if number % 2 else part
            if isinstance(content, bytes):
                stream.write(content)
            else:
                content.seek(0)
                shutil.copyfileobj(content, stream)


def _asset(name: str) -> bytes:
    return resources.files("authorid.report").joinpath("assets", name).read_bytes()


def _digest(content: bytes) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content).digest()).decode()}'"


@contextmanager
def _replacing(path: Path) -> Iterator[BinaryIO]:
    """A stream to a new file that takes the place of `path` when the block ends without an error."""
    target = Path(os.path.realpath(path))
    temporary = target.with_name(f".{target.name}.tmp")
    atomic.remove(temporary)  # of a run that was killed
    stream = os.fdopen(atomic.create(temporary), "wb")
    try:
        yield stream
        stream.flush()
        atomic.sync(stream.fileno())
        stream.close()
        atomic.publish(temporary, target)
    except BaseException:
        stream.close()
        atomic.remove(temporary)
        raise
