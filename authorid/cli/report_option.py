"""The option ``--report``: that of ``score`` is filled while rows are written, that of ``evaluate`` at the end."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from authorid.cli.files import STANDARD_OUTPUT, check_writable
from authorid.cli.options import usage_error

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.inputs.documents import ReadOptions
    from authorid.outputs.records import Attribution
    from authorid.report.run_report import RunReport
    from authorid.scoring.scorer import Scorer

__all__ = ["ReportFile", "check_page", "writing"]


def check_page(path: Path) -> None:
    """Raise a usage error for standard output, and `OutputError` for another path that cannot be written."""
    if path == STANDARD_OUTPUT:
        raise usage_error("a page is to be opened in a browser: name a file", "--report")
    check_writable(path)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `OutputError` where the enclosed block, which writes `path`, raises `OSError`."""
    from authorid.errors import OutputError, os_error_reason

    try:
        yield
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


class ReportFile:
    """The file to write the report to; without a `path`, nothing happens. Raises `OutputError` if it cannot be written.

    Use it as a context manager.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._report: RunReport | None = None
        if path is not None:
            check_page(path)

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

    def write(
        self,
        scorer: Scorer,
        documents: ReadOptions,
        statistics: dict[str, Any],
        warnings: Sequence[str],
        terminal: Terminal,
    ) -> None:
        """Explain the first documents, which are read again, and write the page. Raises `OutputError`."""
        from authorid.scoring.run_inputs import folded, read_files

        report, path = self._report, self._path
        if report is None or path is None:
            return
        sources = list(dict.fromkeys(record.ref.source for record in report.first))
        if sources and scorer.ngram_model is not None and statistics["adaptation"] is None:
            inputs = read_files(sources, documents, None)
            inputs = folded(inputs) if scorer.bundle.typography == "folded" else inputs
            with terminal.progress("Explaining") as reporter, closing(inputs):
                report.explain(inputs, scorer.decision, reporter)
        with writing(path):
            report.write(path, statistics, warnings)
        terminal.info(f"report: {path}")
