"""What some systems lack: flags and calls that only POSIX has, and the promises that do not hold without them."""

from __future__ import annotations

import importlib.util
import os

__all__ = ["MOVES_OPEN_FILES", "lost_promises", "open_flags"]

MOVES_OPEN_FILES = os.name != "nt"
"""Whether files that are open can be renamed and removed."""


def open_flags(*names: str) -> int:
    """The flags of `os.open` with these names, such as ``O_NOFOLLOW``; those that the system lacks are left out.

    Files are always opened for bytes: Windows would change line breaks in others.
    """
    flags = 0
    for name in (*names, "O_BINARY"):
        flags |= getattr(os, name, 0)
    return flags


def lost_promises() -> list[str]:
    """The promises of a scoring run that do not hold on this system, in words."""
    lost = []
    if importlib.util.find_spec("fcntl") is None:
        lost.append("there are no file locks, so never let two runs write the same results")
    if not hasattr(os, "O_DIRECTORY"):
        lost.append("a power cut can undo the last step of a run")
    if not hasattr(os, "O_NOFOLLOW"):
        lost.append("a file that turns into a link while it is about to be read is followed")
    return lost
