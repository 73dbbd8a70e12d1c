"""`Reporter`: how long-running functions send messages and progress to their caller."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SILENT", "Reporter"]


class Reporter(Protocol):
    """Receives the messages and the progress of a long-running function.

    The command line implements it with a console; a notebook or a test can bring its own. Methods may be called from
    any thread and must not raise.
    """

    def info(self, message: str) -> None:
        """Receive a message that needs no action, such as the name of the phase that begins."""

    def warning(self, message: str) -> None:
        """Receive a problem that the user should know about; the work continues."""

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Receive progress: `done` of `total` steps (None when unknown) are finished; `detail` describes the step."""


class _Silent:
    def info(self, message: str) -> None:
        """Ignore the message."""

    def warning(self, message: str) -> None:
        """Ignore the warning."""

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Ignore the progress."""


SILENT: Reporter = _Silent()
"""A reporter that ignores everything: the default of all functions that take one."""
