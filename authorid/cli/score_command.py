"""``authorid score``: attribute documents, and write a row for each."""

from __future__ import annotations

import gc
import os
import shlex
import sys
import time
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from authorid.cli.exit_codes import EXIT_FATAL, EXIT_SOME_FAILED
from authorid.cli.files import check_writable, write_json
from authorid.cli.interrupts import Interrupts
from authorid.cli.options import (
    EFFORT,
    PATH,
    FiniteRange,
    SectionedCommand,
    document_options,
    engine_options,
    model_option,
    option_group,
    quiet_option,
    usage_error,
)
from authorid.cli.score_inputs import checked_paths, input_paths, read_standard_input

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.encoder.engine_options import EngineOptions
    from authorid.inputs.documents import ReadOptions
    from authorid.outputs import Destination, Output
    from authorid.outputs.resume import EarlierRun
    from authorid.reporter import Reporter
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.cascade import Effort
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats

__all__ = ["score"]


class ResultOptions(NamedTuple):
    """Where the results go, in which format, and what an earlier run there means."""

    out: str | None
    form: str
    top: int
    evidence: bool
    stats: Path | None
    resume: bool
    force: bool
    fail_fast: bool

    @property
    def files(self) -> set[str]:
        """The files that are named here, as absolute paths: none of them is a document."""
        return {str(Path(path).absolute()) for path in (self.out, self.stats) if path not in (None, "-")}


@option_group(
    "Results",
    "results",
    click.option("--out", "-o", metavar="FILE", help="Write the results to FILE; - is standard output."),
    click.option(
        "--format",
        "-f",
        "form",
        type=click.Choice(["csv", "tsv", "jsonl", "parquet"]),
        show_default="from the ending of FILE; csv for a stream",
        help="Format of the results.",
    ),
    click.option("--resume", is_flag=True, help="Continue an interrupted run."),
    click.option("--force", is_flag=True, help="Replace an existing FILE, and discard an interrupted run."),
    click.option("--fail-fast", is_flag=True, help="Stop at the first document that fails."),
    click.option("--top", type=click.IntRange(min=1), default=5, help="Number of authors in a JSONL or Parquet row."),
    click.option("--evidence", is_flag=True, help="Add the probabilities of each window to JSONL and Parquet rows."),
    click.option("--stats", type=PATH, metavar="FILE", help="Write the statistics of the run as JSON."),
)
def _result_options(
    out: str | None,
    form: str | None,
    resume: bool,
    force: bool,
    fail_fast: bool,
    top: int,
    evidence: bool,
    stats: Path | None,
) -> ResultOptions:
    if resume and out in (None, "-"):
        raise usage_error("there is nothing to resume without --out FILE", "--resume")
    if stats is not None:
        _check_stats(stats, out)
    return ResultOptions(out, _format(out, form), top, evidence, stats, resume, force, fail_fast)


def _format(out: str | None, form: str | None) -> str:
    """The format to write; a stream has no ending, and gets CSV."""
    from authorid.outputs import format_for, is_stream

    if out is None or is_stream(out) or Path(out).is_dir():
        return form or "csv"
    try:
        return format_for(out, form)
    except ValueError as error:
        raise usage_error(str(error), "--out") from None


def _check_stats(stats: Path, out: str | None) -> None:
    """Raise a usage error if the statistics would go to the results, or to another file that the run itself writes."""
    from authorid.outputs import is_stream
    from authorid.outputs.run_files import RunFiles

    if out is None or is_stream(out):
        return
    path, results = os.path.realpath(stats), os.path.realpath(out)
    if path == results:
        raise usage_error("the statistics would replace the results: name another file", "--stats")
    if path in RunFiles(Path(results)).all:
        raise usage_error("the run itself needs a file of this name: name another file", "--stats")


class ModelOptions(NamedTuple):
    """Which model answers, and how."""

    path: Path | None
    effort: Effort
    max_false_attribution: float | None
    any_text: bool
    adapt: bool
    equal_shares: bool


@option_group(
    "Model",
    "model",
    model_option("Use this model instead of the embedded one."),
    click.option(
        "--effort",
        type=EFFORT,
        default="auto",
        help="fast: n-grams only; full: n-grams and encoder; auto: the encoder only where the n-grams are uncertain.",
    ),
    click.option(
        "--max-false-attribution",
        type=FiniteRange(min=0.0, max=1.0),
        metavar="SHARE",
        help="Answer `unknown` when unsure: at most this share of documents by unknown authors gets a name.",
    ),
    click.option("--any-text", is_flag=True, help="Name an author even for what is unlike anything in training."),
    click.option(
        "--adapt",
        is_flag=True,
        help="Adapt the n-gram model to these documents first; an answer then depends on the other documents.",
    ),
    click.option(
        "--equal-shares", is_flag=True, help="With --adapt: assume that all authors wrote as many of the documents."
    ),
)
def _model_options(
    model: Path | None,
    effort: Effort,
    max_false_attribution: float | None,
    any_text: bool,
    adapt: bool,
    equal_shares: bool,
) -> ModelOptions:
    if equal_shares and not adapt:
        raise usage_error("only --adapt can assume anything about all documents", "--equal-shares")
    return ModelOptions(model, effort, max_false_attribution, any_text, adapt, equal_shares)


@dataclass(slots=True, eq=False)
class _ScoringRun:
    """A run in progress: its statistics, its first rows, and the problem that ended it early, if any."""

    results: ResultOptions
    shown: int
    stats: RunStats
    interrupts: Interrupts
    inputs: Iterable[str]
    stdin_text: bool = False
    cut: int = 0
    rows: list[Attribution] = field(default_factory=list)
    seconds: float = 0.0
    problem: str | None = None
    exit_code: int = 0


@click.command(cls=SectionedCommand)
@click.argument("paths", nargs=-1, metavar="PATH...")
@_result_options
@_model_options
@document_options
@engine_options
@click.option("--stdin-text", is_flag=True, help="Attribute the document that comes from standard input.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=20,
    help="Number of documents in the table that is shown.",
)
@quiet_option
def score(
    paths: tuple[str, ...],
    stdin_text: bool,
    results: ResultOptions,
    model: ModelOptions,
    documents: ReadOptions,
    engine: EngineOptions,
    rows: int,
    quiet: bool,
) -> None:
    """Attribute documents and write one row for each.

    PATH is a file, a directory with documents at any depth, or - for a list of paths on standard input.
    """
    paths = checked_paths(paths, stdin_text, adapt=model.adapt)
    with Interrupts() as importing:
        from authorid.cli.console import Terminal
        from authorid.outputs import require_format, reserve
        from authorid.scoring.scorer import Scorer
        from authorid.scoring.stats import RunStats
    importing.exit_if_interrupted()

    terminal = Terminal(quiet=quiet)
    require_format(results.form)
    if results.stats is not None:
        check_writable(results.stats)
    with reserve(results.out, resume=results.resume, force=results.force) as destination:
        if destination.complete:
            terminal.info(f"{results.out} is complete: there is nothing to resume (--force scores again)")
            return
        documents = replace(documents, skip=destination.files | results.files)
        with Interrupts() as interrupts:
            scorer = Scorer.load(
                model.path,
                engine,
                effort=model.effort,
                max_false_attribution=model.max_false_attribution,
                any_text=model.any_text,
            )
            interrupts.exit_if_interrupted()
            for notice in scorer.notices:
                terminal.warning(notice)
            if model.path is None:
                _name_own_model(terminal, scorer)
            interrupts.stop = scorer.stop
            inputs: Iterable[str] = input_paths(paths, interrupts)
            if model.adapt:
                inputs = list(inputs)
                _adapt(scorer, inputs, documents, model.equal_shares, interrupts, terminal)
            run = _ScoringRun(results, rows, RunStats(), interrupts, inputs, stdin_text)
            output = _write_rows(run, scorer, paths, documents, destination, terminal)
    if output.earlier is not None:
        _show_resumed(terminal, output.earlier, complete=run.problem is None)
    if run.problem is not None:
        terminal.error(f"{run.problem}; {output.saved}{_how_to_resume(output)}")
        raise click.exceptions.Exit(run.exit_code)
    _finish(run, scorer, output, terminal)


def _name_own_model(terminal: Terminal, scorer: Scorer) -> None:
    """The included model answers: say so where there is another one, which may have been meant."""
    from authorid.cli.model_places import newest_bundle

    own = newest_bundle()
    if own is not None:
        terminal.info(f"the included model {scorer.bundle.name} answers; to use yours: --model {shlex.quote(str(own))}")


def _adapt(
    scorer: Scorer,
    inputs: list[str],
    documents: ReadOptions,
    equal_shares: bool,
    interrupts: Interrupts,
    terminal: Terminal,
) -> None:
    """Adapt the model to the documents below `inputs`, which are read twice for that."""
    from authorid.scoring.adaptation import LEAST_DOCUMENTS

    with terminal.progress("Adapting") as reporter:
        adaptation = scorer.adapt(
            inputs, documents, equal_shares=equal_shares, check=interrupts.exit_if_interrupted, reporter=reporter
        )
    if adaptation is None:
        terminal.warning(f"fewer than {LEAST_DOCUMENTS} documents to adapt to: the model stays as it is")
    else:
        terminal.info(f"adapted to {adaptation.certain} of {adaptation.documents} documents")


def _write_rows(
    run: _ScoringRun,
    scorer: Scorer,
    paths: tuple[str, ...],
    documents: ReadOptions,
    destination: Destination,
    terminal: Terminal,
) -> Output:
    """Score the documents below `paths` and write their rows; `run` then holds what came of it."""
    from authorid.bundle.manifest import MANIFEST
    from authorid.inputs.reading import file_sha256
    from authorid.inputs.timeouts import Timeout
    from authorid.outputs import run_fingerprint
    from authorid.scoring.stats import versions

    results = run.results
    fingerprint = run_fingerprint(
        paths,
        documents,
        manifest=scorer.bundle.path / MANIFEST,
        scorer=scorer.describe(),
        versions=versions(),
        output={"format": results.form, "top": results.top, "evidence": results.evidence},
    )
    gc.freeze()  # what is loaded by now is needed to the end: no collection has to look through it
    started = time.perf_counter()
    with (
        Timeout(documents.timeout) as timeout,
        destination.open(
            results.form,
            top=results.top,
            fingerprint=fingerprint,
            answers=scorer.bundle.answers,
            file_digest=lambda file: file_sha256(file, documents, timeout),
        ) as output,
        terminal.progress("Scoring") as reporter,
        closing(
            scorer.score_documents(
                read_standard_input(documents, output.recall),
                evidence=results.evidence,
                stats=run.stats,
            )
            if run.stdin_text
            else scorer.score(
                run.inputs,
                documents,
                evidence=results.evidence,
                stats=run.stats,
                recall=output.recall,
            )
        ) as attributions,
    ):
        run.problem = _write_all(run, attributions, output, reporter)
        if run.problem is None and run.interrupts.exit_code is not None:
            run.problem = "interrupted"
        if run.problem is None:
            output.finish()
    run.exit_code = run.interrupts.exit_code or EXIT_FATAL
    run.seconds = time.perf_counter() - started
    return output


def _write_all(run: _ScoringRun, attributions: Iterable[Attribution], output: Output, reporter: Reporter) -> str | None:
    """Write every row to `output`. Returns the problem that ended this early, or None."""
    from authorid.errors import AuthoridError, first_line
    from authorid.inputs.readers.finishing import GUTENBERG_NOTE

    try:
        for done, attribution in enumerate(attributions, start=1):
            with run.stats.stages.stage("write"):
                output.write(attribution)
            if done <= run.shown:
                run.rows.append(attribution)
            run.cut += (attribution.reader or "").endswith(GUTENBERG_NOTE)
            reporter.progress(done)
            if run.results.fail_fast and attribution.status == "failed":
                return f"stopped at the first failure, {attribution.ref}: {attribution.error}"
    except (AuthoridError, BrokenPipeError):
        raise
    except Exception as error:  # of any thread of the run: whatever it is, the rows that are finished are safe
        return f"the run broke off: {type(error).__name__}: {first_line(error)}"
    return None


def _finish(run: _ScoringRun, scorer: Scorer, output: Output, terminal: Terminal) -> None:
    """Write and show the results of a complete run; exits with code 3 when some documents failed."""
    from authorid.cli.result_tables import show_attributions, show_authors, show_statistics

    about: dict[str, Any] = scorer.describe()
    earlier = output.earlier
    if earlier is not None:
        about["resumed"] = {"kept": earlier.kept, "changed": earlier.changed, "vanished": earlier.vanished}
    stats = run.stats
    report = stats.report(run.seconds, about)
    if run.results.stats is not None:
        write_json(run.results.stats, report)
    if not stats.documents:
        terminal.warning("no documents found")
        return
    scored, failed = stats.status["scored"], stats.status["failed"]
    answers = scorer.bundle.answers
    show_attributions(terminal, run.rows, stats.documents, answers)
    if scored and answers.measure == "probability":
        show_authors(terminal, stats.authors.most_common(), scored, answers)
    show_statistics(terminal, report)
    if run.cut:
        terminal.info(f"Project Gutenberg's header and licence were left out of {run.cut} documents (column reader)")
    if failed:
        terminal.warning(f"{failed} of {stats.documents} documents failed; their rows give the reasons")
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _show_resumed(terminal: Terminal, earlier: EarlierRun, *, complete: bool) -> None:
    """Show what became of the rows of the interrupted run."""
    message = f"resumed: {earlier.kept} rows kept"
    if earlier.changed:
        message += f", {earlier.changed} documents changed since and were scored again"
    if earlier.vanished:
        message += f", {earlier.vanished} no longer exist and have no row"
    if earlier.names:
        more = earlier.changed + earlier.vanished - len(earlier.names)
        message += ": " + ", ".join(earlier.names) + (f" and {more} more" if more else "")
    terminal.info(message if complete else f"{message} so far")


def _how_to_resume(output: Output) -> str:
    """The command that continues this run, for the end of a message; empty when it cannot be continued."""
    if not output.resumable:
        return ""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument not in ("--force", "--resume")]
    return f". To go on: {shlex.join(['authorid', *options, '--resume', *arguments[end:]])}"
