"""The error for bytes that are not text."""

from __future__ import annotations

__all__ = ["UndecodableError"]


class UndecodableError(ValueError):
    """The bytes are not text in any encoding that can be justified."""
