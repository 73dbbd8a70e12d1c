"""What long work tells whoever started it: one protocol for the command line, notebooks and tests."""

from __future__ import annotations

from typing import Protocol

__all__ = ["SILENT", "Reporter"]


class Reporter(Protocol):
    """Receives messages and progress. Methods may be called from any thread, and must not raise."""

    def info(self, message: str) -> None:
        """Something worth knowing, such as which phase begins."""

    def warning(self, message: str) -> None:
        """Something the user should act on; the work goes on."""

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """`done` of `total` steps are finished (None: the total is not known); `detail` describes the current one."""


class _Silent:
    def info(self, message: str) -> None:
        """Ignore the message."""

    def warning(self, message: str) -> None:
        """Ignore the warning."""

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Ignore the progress."""


SILENT: Reporter = _Silent()
"""A reporter that ignores everything: the default of library calls."""
