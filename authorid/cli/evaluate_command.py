"""``authorid evaluate``: evaluate a model on documents whose authors are known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from authorid.cli.files import check_writable, make_directory, write_json
from authorid.cli.options import (
    EFFORT,
    OWN_EFFORT,
    PATH,
    PRECISION,
    AdvancedOption,
    SectionedCommand,
    document_options,
    exclude_author_option,
    quiet_option,
    refuse_options,
    sample_words_option,
    verbose_option,
)
from authorid.cli.report_option import check_page, writing

if TYPE_CHECKING:
    from authorid.inputs.documents import ReadOptions
    from authorid.scoring.cascade import Effort

__all__ = ["evaluate"]


@click.command(cls=SectionedCommand)
@click.argument("model", type=PATH, metavar="MODEL")
@click.argument("corpus", type=PATH, metavar="CORPUS")
@click.option(
    "--json", "json_file", type=PATH, metavar="FILE", help="Write the evaluation report as JSON; - is standard output."
)
@click.option("--report", "page", type=PATH, metavar="FILE", help="Write the evaluation report as an HTML page.")
@click.option(
    "--plots",
    type=PATH,
    metavar="DIR",
    help="Write plots of confusion, reliability, risk and length as PNG files.",
)
@click.option(
    "--unknown-authors",
    type=PATH,
    metavar="DIR",
    help="Evaluate the answer `unknown` on these documents by authors that MODEL does not know.",
)
@click.option("--strangers", "unknown_authors", type=PATH, hidden=True, help="Former name of --unknown-authors.")
@click.option("--effort", type=EFFORT, show_default=OWN_EFFORT, help="Evaluate at this effort; score explains them.")
@click.option(
    "--ablation/--no-ablation",
    default=True,
    help="Evaluate every effort too, and the n-grams and the encoder each alone.",
)
@click.option("--precision", cls=AdvancedOption, type=PRECISION, default="auto", help="Precision of the graph to run.")
@sample_words_option("Cut the documents into samples of about N words, and evaluate each; 0: whole documents.")
@exclude_author_option
@document_options
@quiet_option
@verbose_option
@click.pass_context
def evaluate(
    context: click.Context,
    model: Path,
    corpus: Path,
    json_file: Path | None,
    page: Path | None,
    plots: Path | None,
    unknown_authors: Path | None,
    effort: Effort | None,
    ablation: bool,
    precision: str,
    sample_words: int | None,
    exclude_authors: tuple[str, ...],
    documents: ReadOptions,
    quiet: bool,
    verbose: bool,
) -> None:
    """Evaluate MODEL on documents whose authors are known.

    MODEL is a run directory or a bundle. CORPUS is a directory with one directory per author, or with files
    called Author_Title.txt.
    """
    from authorid.bundle.manifest import MANIFEST
    from authorid.cli.console import Terminal
    from authorid.cli.result_tables import show_evaluation, show_metrics
    from authorid.evaluation.plots import plot_evaluation, require_matplotlib
    from authorid.report.evaluation_page import write_evaluation_page
    from authorid.training.corpus_spec import CorpusSpec
    from authorid.training.evaluate import EvaluationOptions
    from authorid.training.evaluate import evaluate as run_evaluation

    if not (model / MANIFEST).is_file() and (model / "run.json").is_file():
        refuse_options(
            context,
            {"effort", "ablation", "precision"},
            f"{model} is a training run; this option is for bundles",
        )
    if json_file is not None:
        check_writable(json_file)
    if page is not None:
        check_page(page)
    if plots is not None:
        require_matplotlib()
        make_directory(plots)
    terminal = Terminal(quiet=quiet, verbose=verbose)
    options = EvaluationOptions(
        precision=precision,
        effort=effort,
        ablation=ablation,
        unknown_authors=unknown_authors,
        sample_words=sample_words or 0,
    )
    with terminal.progress("Evaluating") as reporter:
        report = run_evaluation(model, CorpusSpec(corpus, documents, exclude_authors), options, reporter=reporter)
    if json_file is not None:
        write_json(json_file, report.to_json())
    if page is not None:
        with writing(page):
            write_evaluation_page(page, report, model.resolve().name)
        terminal.info(f"report: {page}")
    if plots is not None:
        plot_evaluation(report, plots)
    show_metrics(terminal, report.metrics, report.noun)
    show_evaluation(terminal, report)
