"""The ``authorid`` command, and ``python -m authorid``: all imports are inside, so that Ctrl-C finds somebody home."""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; an interrupt while it is still being imported ends the process as any other does."""
    try:
        from authorid.cli import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
