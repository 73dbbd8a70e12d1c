"""URLs among the paths: which paths are URLs, and how they are shown without the secrets that they may contain."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote, unquote_to_bytes, urlsplit

__all__ = ["is_url", "local_path", "name_in", "original_url", "shown_path", "without_secrets"]

_URL = re.compile(r"(s3a?|gs|gcs|az|abfss?|https?|memory)://", re.IGNORECASE)

_USER = re.compile(r"(?<=://)[^/?#\s@]*:[^/?#\s]*@|(?<=https://)[^/?#\s@]+@|(?<=http://)[^/?#\s@]+@", re.IGNORECASE)
"""A user with a password, or with HTTP any user, which may be a token; Azure's ``container@account`` is neither."""

_SECRET = re.compile(
    r"([?&;][^=&;#\s]{0,60}?(?:sig|token|secret|password|credential|key|auth)[^=&;#\s]{0,60}=)[^&;#\s]+", re.IGNORECASE
)
"""Parameters of a signed URL."""

_originals: dict[str, str] = {}
"""The URLs that are shown in another form than they have: everything but the request itself uses the shown form."""


def is_url(path: str) -> bool:
    """Whether `path` is a URL of a store that can be read, instead of a local path."""
    return _URL.match(path) is not None


def without_secrets(text: str) -> str:
    """`text` with the passwords and signatures of all URLs in it left out."""
    return _SECRET.sub(r"\1***", _USER.sub("", text)) if "://" in text else text


def shown_path(path: str) -> str:
    """How `path` is shown and recorded: a URL without its secrets; any other path as it is."""
    if not is_url(path):
        return path
    # Only the web has parameters: in a store, a question mark is part of the key.
    shown = without_secrets(path) if path[:4].lower() == "http" else _USER.sub("", path, count=1)
    if shown != path:
        _originals[shown] = path
    return shown


def original_url(shown: str) -> str:
    """The URL that `shown_path` has shown so."""
    return _originals.get(shown, shown)


def name_in(path: str) -> str:
    """The part of a path or URL that has the name of the file at its end."""
    if path[:4].lower() == "http" and is_url(path):
        return unquote(urlsplit(path).path, errors="replace")
    return path


def local_path(path: str) -> str:
    """The path that a ``file://`` URL stands for; any other path as it is."""
    if path[:8].lower() != "file:///":
        return path
    return os.fsdecode(unquote_to_bytes(path[7:]))
