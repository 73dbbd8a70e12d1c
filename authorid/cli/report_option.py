"""``authorid score --report FILE``: the report of a run, filled while its rows are written."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authorid.cli.files import check_writable

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.inputs.documents import ReadOptions
    from authorid.outputs.records import Attribution
    from authorid.report.run_report import RunReport
    from authorid.scoring.scorer import Scorer

__all__ = ["ReportFile"]


class ReportFile:
    """The file to write the report to; without a `path`, nothing happens. Raises `OutputError` if it cannot be written.

    Use it as a context manager.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._report: RunReport | None = None
        if path is not None:
            check_writable(path)

    def __enter__(self) -> ReportFile:
        return self

    def __exit__(self, *_: object) -> None:
        if self._report is not None:
            self._report.close()

    def begin(self, scorer: Scorer) -> None:
        """Take the rows of a run of `scorer` from now on."""
        if self._path is not None:
            from authorid.report.run_report import RunReport

            self._report = RunReport(scorer.bundle, scorer.ngram_model)

    def add(self, attribution: Attribution) -> None:
        """Take the next row."""
        if self._report is not None:
            self._report.add(attribution)

    def write(self, scorer: Scorer, documents: ReadOptions, statistics: dict[str, Any], terminal: Terminal) -> None:
        """Explain the first documents, which are read again, and write the page. Raises `OutputError`."""
        from authorid.errors import OutputError, os_error_reason

        report, path = self._report, self._path
        if report is None or path is None:
            return
        sources = list(dict.fromkeys(record.ref.source for record in report.first))
        if sources and scorer.ngram_model is not None and statistics["adaptation"] is None:
            with terminal.progress("Explaining") as reporter, closing(scorer.explain(sources, documents)) as found:
                report.explain(found, reporter)
        try:
            report.write(path, statistics)
        except OSError as error:
            raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None
        terminal.info(f"report: {path}")
