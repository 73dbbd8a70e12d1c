"""What the commands found, as tables on the terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.encoder.tuning import Trial
    from authorid.evaluation.evaluation_report import EvaluationReport
    from authorid.evaluation.metrics import Metrics

__all__ = [
    "show_evaluation",
    "show_metrics",
    "show_trials",
]


def show_metrics(terminal: Terminal, metrics: Metrics, noun: str = "author") -> None:
    """The figures of an evaluation, and the authors with the lowest F1, or all when verbose.

    `noun` is what the classes are.
    """
    figures = {
        "accuracy": f"{metrics.accuracy:.4f}",
        "macro-F1": f"{metrics.macro_f1:.4f}",
        "majority": f"{metrics.majority_rate:.4f}",
        "top-3": f"{metrics.top_3:.4f}",
        "top-5": f"{metrics.top_5:.4f}",
        "ECE": f"{metrics.ece:.4f}",
        "log-loss": f"{metrics.log_loss:.4f}",
    }
    title = f"Evaluation on {metrics.documents} documents"
    terminal.table(title, [(name, True) for name in figures], [tuple(figures.values())])
    lowest = sorted((row for row in metrics.per_author if row.support), key=lambda row: row.f1)
    terminal.table(
        f"{noun.capitalize()}s with the lowest F1",
        [(noun, False), ("precision", True), ("recall", True), ("F1", True), ("documents", True)],
        [
            (row.author, f"{row.precision:.3f}", f"{row.recall:.3f}", f"{row.f1:.3f}", row.support)
            for row in lowest[: None if terminal.verbose else 10]
        ],
    )


def show_evaluation(terminal: Terminal, report: EvaluationReport) -> None:
    """The rest of an evaluation report: interval, confusions, length, risk and coverage, ablation, unknown authors."""
    low, high = report.interval
    terminal.info(f"accuracy {report.metrics.accuracy:.4f}, 95 % interval {low:.4f} to {high:.4f}")
    terminal.table(
        "Most frequent confusions",
        [(report.noun, False), ("attributed to", False), ("documents", True), ("share", True)],
        [(row["author"], row["attributed_to"], row["documents"], f"{row['share']:.0%}") for row in report.pairs],
    )
    terminal.table(
        "By length",
        [("characters from", True), ("documents", True), ("accuracy", True)],
        [(row["from"], row["documents"], f"{row['accuracy']:.4f}") for row in report.by_length],
    )
    terminal.table(
        "Risk and coverage",
        [("answered", True), ("wrong", True), ("probability at least", True)],
        [
            (f"{row['coverage']:.0%}", f"{row['error']:.1%}", f"{row['probability']:.2f}")
            for row in report.risk_coverage[::-4][::-1]
        ],
    )
    if len(report.ablation) > 1:
        terminal.table(
            "By model and effort",
            [("models", False), ("effort", False), ("accuracy", True), ("ECE", True), ("documents/s", True)],
            [
                (
                    row["models"],
                    row["effort"],
                    f"{row['accuracy']:.4f}",
                    f"{row['ece']:.4f}",
                    f"{row['documents_per_second']:.0f}",
                )
                for row in report.ablation
            ],
        )
    if report.unknown_authors is not None:
        unknown = report.unknown_authors
        terminal.info(f"{unknown['documents']} documents by unknown authors: AUROC {unknown['auroc']:.4f}")


def show_trials(terminal: Terminal, model: str, trials: Sequence[Trial]) -> None:
    """The configurations that `tune` tried, the fastest first."""
    best = trials[0].tokens_per_second
    numbers = ("workers", "threads", "batch tokens", "tokens/s", "of best")
    terminal.table(
        f"{model}, {trials[0].options.precision}: fastest first",
        [("provider", False), *((name, True) for name in numbers)],
        [
            (
                trial.options.provider,
                trial.options.workers,
                trial.options.threads,
                trial.options.batch_tokens,
                f"{trial.tokens_per_second:,.0f}",
                f"{trial.tokens_per_second / best:.0%}",
            )
            for trial in trials
        ],
    )
