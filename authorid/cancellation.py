"""Long work that can be cancelled between two of its steps.

A function with long work takes a `CancelCheck` and calls it before each step. The check raises `CancelledError` when
nobody wants the result any more.
"""

from __future__ import annotations

from collections.abc import Callable

__all__ = ["CancelCheck", "CancelledError", "never_cancelled"]

CancelCheck = Callable[[], None]
"""Returns, or raises `CancelledError`."""


class CancelledError(Exception):
    """The work was cancelled. Not an error of the work, and never shown to a user."""


def never_cancelled() -> None:
    """The check for work that is always finished."""
