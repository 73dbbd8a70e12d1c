"""The ``authorid`` command, and ``python -m authorid``: all imports are inside, so that Ctrl-C finds somebody home."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; an interrupt while it is still being imported ends the process as any other does."""
    # Imports make some hundred thousand objects, all of which stay: to look for garbage among them every few hundred
    # took a tenth of a short run.
    gc.set_threshold(50_000)
    try:
        from authorid.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
