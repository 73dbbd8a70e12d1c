"""The ``authorid`` command, and ``python -m authorid``. Imports are inside `main`, where signals are handled."""

from __future__ import annotations

import gc

__all__ = ["main"]


def main() -> None:
    """Run the command line; a signal during its imports exits with the same code as any other."""
    # Imports make hundreds of thousands of objects, all of which stay. Collecting garbage among them at the default
    # threshold takes a tenth of a short run.
    gc.set_threshold(50_000)
    from authorid.cli.interrupts import Interrupts

    with Interrupts() as interrupts:
        try:
            from authorid.cli.app import main as run

            interrupts.exit_if_interrupted()
            run()
        except KeyboardInterrupt:  # from before the block
            raise SystemExit(130) from None
        finally:
            # Python would restore the default handlers while it ends, and a late signal would replace the exit code.
            interrupts.ignore_from_now_on()


if __name__ == "__main__":
    main()
