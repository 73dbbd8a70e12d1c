"""JSON records that carry their own digest, so that a flipped bit in one is noticed: manifests, run.json."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

__all__ = ["DIGEST", "check_digest", "encode_json", "with_digest"]

DIGEST = "digest"
"""The key of a record's own SHA-256."""


def encode_json(record: Mapping[str, Any]) -> bytes:
    """`record` as indented JSON in UTF-8, with a final line break.

    Characters that UTF-8 cannot encode (lone surrogates, from file names) become ``?``.
    """
    return (json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode("utf-8", "replace")


def with_digest(record: Mapping[str, Any]) -> dict[str, Any]:
    """`record` as it will be read back from `encode_json`, with its digest."""
    plain: dict[str, Any] = json.loads(encode_json(record))
    return {**plain, DIGEST: _digest(plain)}


def check_digest(record: Mapping[str, Any], *, required: bool) -> None:
    """Check a record that was read; one without a digest passes unless it is `required`. Raises `ValueError`."""
    if DIGEST not in record:
        if required:
            raise ValueError("it lacks the digest of its content; the file was changed or damaged")
    elif record[DIGEST] != _digest(record):
        raise ValueError("its content does not match its digest; the file was changed or damaged")


def _digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of the values of `record`, however they are laid out in its file."""
    values = {key: value for key, value in record.items() if key != DIGEST}
    text = json.dumps(values, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("ascii")).hexdigest()
