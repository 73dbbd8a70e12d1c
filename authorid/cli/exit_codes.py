"""The exit codes of the command line, which scripts may rely on."""

from __future__ import annotations

from typing import Final

__all__ = ["EXIT_FATAL", "EXIT_INTERRUPTED", "EXIT_SOME_FAILED", "EXIT_USAGE"]

EXIT_FATAL: Final = 1
"""Nothing could be done, or the run ended early."""

EXIT_USAGE: Final = 2
"""Wrong usage, as click has it."""

EXIT_SOME_FAILED: Final = 3
"""The run is complete, but some documents failed."""

EXIT_INTERRUPTED: Final = 130
"""SIGINT ended the process; SIGTERM gives 143."""
