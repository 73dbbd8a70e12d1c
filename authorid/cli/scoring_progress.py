"""The progress of ``authorid score``: how many of all files, how fast, and how many failed."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authorid.inputs.documents import ReadOptions
    from authorid.reporter import Reporter
    from authorid.scoring.stats import RunStats

__all__ = ["ScoringProgress"]


class ScoringProgress:
    """Reports the progress of one run. A context manager: leaving it ends the count.

    `paths` are counted in a thread, while scoring goes on; None where they cannot be counted, such as those of a list
    on standard input. Until then, and where files hold several documents, there is no total.
    """

    def __init__(self, paths: Sequence[str] | None, options: ReadOptions, stats: RunStats, reporter: Reporter) -> None:
        self._stats = stats
        self._reporter = reporter
        self._started = time.monotonic()
        self._total: int | None = None
        self._ended = threading.Event()
        if paths is not None:
            # Daemon: a file system that hangs must not keep the process alive.
            counting = threading.Thread(target=self._count, args=(paths, options), name="authorid-count", daemon=True)
            with suppress(RuntimeError):  # no more threads: there is no total
                counting.start()

    def __enter__(self) -> ScoringProgress:
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()

    def report(self, done: int) -> None:
        """Report that there are `done` rows."""
        total = self._total if self._total is not None and done <= self._total else None
        seconds = time.monotonic() - self._started
        failed = self._stats.status["failed"]
        parts = [f"{done / seconds:,.0f} documents/s" if seconds > 1 else "", f"{failed:,} failed" if failed else ""]
        self._reporter.progress(done, total, ", ".join(filter(None, parts)))

    def _count(self, paths: Sequence[str], options: ReadOptions) -> None:
        from authorid.inputs.discovery import walk
        from authorid.inputs.timeouts import Timeout

        try:
            with Timeout(options.timeout) as timeout:
                count = 0
                for _ in walk(paths, options, timeout):
                    if self._ended.is_set():
                        return
                    count += 1
        except Exception:  # whatever is wrong with the paths, the run reports it
            return
        self._total = count
