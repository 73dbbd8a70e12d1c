"""The ``authorid`` command, and ``python -m authorid``. Imports are inside `main`, where Ctrl-C is handled."""

from __future__ import annotations

import gc
import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line; an interrupt during its imports exits with code 130, as any other does."""
    # Imports make hundreds of thousands of objects, all of which stay. Collecting garbage among them at the default
    # threshold takes a tenth of a short run.
    gc.set_threshold(50_000)
    try:
        from authorid.cli.app import main as run
    except KeyboardInterrupt:
        sys.exit(130)
    run()


if __name__ == "__main__":
    main()
