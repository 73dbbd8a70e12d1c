"""``authorid score``: attribute documents, and write a row for each."""

from __future__ import annotations

import gc
import shlex
import time
import traceback
from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from authorid.cli.exit_codes import EXIT_FATAL, EXIT_SOME_FAILED
from authorid.cli.files import check_writable, write_json
from authorid.cli.interrupts import Interrupts
from authorid.cli.known_options import ChosenModel, KnownOptions, known_options
from authorid.cli.options import (
    EFFORT,
    OWN_EFFORT,
    AdvancedOption,
    SectionedCommand,
    Share,
    document_options,
    engine_options,
    model_option,
    option_group,
    quiet_option,
    usage_error,
    verbose_option,
)
from authorid.cli.report_option import ReportFile
from authorid.cli.result_options import ResultOptions, result_options
from authorid.cli.resuming import how_to_resume, show_resumed
from authorid.cli.runner_option import runner_options
from authorid.cli.score_inputs import (
    checked_paths,
    countable,
    no_documents,
    read_standard_input,
    require_any,
)
from authorid.cli.scoring_progress import ScoringProgress
from authorid.cli.shard_option import PlannedInputs, ShardOptions, apply_shard, shard_options

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.encoder.engine_options import EngineOptions
    from authorid.inputs.discovery import InputPath
    from authorid.inputs.documents import ReadOptions
    from authorid.outputs import Destination, Output
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.cascade import Effort
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats

__all__ = ["score"]


class ModelOptions(NamedTuple):
    """Which model answers, and how."""

    path: Path | None
    effort: Effort | None
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
        show_default=OWN_EFFORT,
        help="fast: n-grams only; full: n-grams and encoder; auto: the encoder only where the n-grams are uncertain.",
    ),
    click.option(
        "--max-false-attribution",
        type=Share(),
        metavar="SHARE",
        help="Answer `unknown` when unsure: at most this share of documents by unknown authors gets a name.",
    ),
    click.option(
        "--any-text",
        cls=AdvancedOption,
        is_flag=True,
        help="Name an author even for what is unlike anything in training.",
    ),
    click.option(
        "--adapt",
        cls=AdvancedOption,
        is_flag=True,
        help="Adapt the n-gram model to these documents first; an answer then depends on the other documents.",
    ),
    click.option(
        "--equal-shares",
        cls=AdvancedOption,
        is_flag=True,
        help="With --adapt: assume that all authors wrote as many of the documents.",
    ),
)
def _model_options(
    model: Path | None,
    effort: Effort | None,
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
    model: ChosenModel
    shown: int
    stats: RunStats
    interrupts: Interrupts
    inputs: PlannedInputs
    report: ReportFile
    stdin_text: bool = False
    note: str | None = None
    cut: int = 0
    rows: list[Attribution] = field(default_factory=list)
    seconds: float = 0.0
    problem: str | None = None
    exit_code: int = 0


@click.command(cls=SectionedCommand)
@click.argument("paths", nargs=-1, metavar="PATH...")
@apply_shard
@result_options
@_model_options
@known_options
@document_options
@engine_options
@shard_options
@click.option("--stdin-text", is_flag=True, help="Attribute the document that comes from standard input.")
@click.option(
    "--rows",
    type=click.IntRange(min=0),
    default=12,
    help="Number of documents in the table that is shown.",
)
@quiet_option
@verbose_option
@runner_options
def score(
    paths: tuple[str, ...],
    stdin_text: bool,
    results: ResultOptions,
    model: ModelOptions,
    known: KnownOptions,
    documents: ReadOptions,
    engine: EngineOptions,
    shards: ShardOptions,
    rows: int,
    quiet: bool,
    verbose: bool,
) -> None:
    """Attribute documents and write one row for each.

    PATH is a file, a directory with documents at any depth, a URL such as s3://bucket/letters/, or - for a list of
    paths on standard input.
    """
    paths = checked_paths(paths, stdin_text, adapt=model.adapt)
    known.check(model.path, model.effort)
    with Interrupts() as importing:
        from authorid.cli.console import Terminal
        from authorid.outputs import require_format, reserve
        from authorid.portability import lost_promises
        from authorid.scoring.stats import RunStats
    importing.exit_if_interrupted()

    terminal = Terminal(quiet=quiet, verbose=verbose)
    if not stdin_text:
        require_any(paths, documents, terminal)
    if results.explain and model.adapt:
        raise usage_error("answers of a model that --adapt changed cannot be explained", "--explain")
    require_format(results.form)
    if results.stats is not None:
        check_writable(results.stats)
    report = click.get_current_context().with_resource(ReportFile(results.report))
    with reserve(results.out, resume=results.resume, force=results.force) as destination:
        if destination.complete:
            terminal.info(f"{results.out} is complete: there is nothing to resume (--force scores again)")
            return
        documents = replace(documents, skip=destination.files | results.files)
        with known.model(model.path, documents, terminal) as chosen, Interrupts() as interrupts:
            scorer = _load(model._replace(path=chosen.path), engine, interrupts, terminal)
            if results.evidence and scorer.engine is None:
                raise usage_error(
                    f"no window is read: the encoder does not run at effort {scorer.effort}", "--evidence"
                )
            if destination.run_files is not None and (lost := lost_promises()):
                terminal.info(f"on this system, {'; '.join(lost)}")
            if chosen.path is None:
                _name_own_model(terminal, scorer)
            interrupts.stop = scorer.stop
            inputs = shards.plan(paths, documents, results.out, interrupts, terminal)
            if model.adapt:
                inputs.files = list(inputs.files)
                _adapt(scorer, inputs.files, documents, model.equal_shares, interrupts, terminal)
            report.begin(scorer)
            run = _ScoringRun(results, chosen, rows, RunStats(), interrupts, inputs, report, stdin_text)
            run.note = _note_on_effort(model, scorer)
            output = _write_rows(run, scorer, paths, documents, destination, terminal)
    if output.earlier is not None:
        show_resumed(terminal, output.earlier, complete=run.problem is None)
    if run.problem is not None:
        terminal.error(f"{run.problem}; {output.saved}{how_to_resume(output)}")
        raise click.exceptions.Exit(run.exit_code)
    _finish(run, scorer, output, paths, documents, terminal)


def _load(model: ModelOptions, engine: EngineOptions, interrupts: Interrupts, terminal: Terminal) -> Scorer:
    """Load the model, and show its notices."""
    from authorid.scoring.scorer import Scorer

    started = time.perf_counter()
    scorer = Scorer.load(
        model.path,
        engine,
        effort=model.effort,
        max_false_attribution=model.max_false_attribution,
        any_text=model.any_text,
    )
    interrupts.exit_if_interrupted()
    terminal.detail(f"Loading {scorer.bundle.name}: {time.perf_counter() - started:.1f} s")
    for notice in scorer.notices:
        terminal.warning(notice)
    return scorer


def _note_on_effort(model: ModelOptions, scorer: Scorer) -> str | None:
    """What to show if nobody chose an effort, and the model's own leaves its encoder out; else None."""
    if model.effort is None and scorer.bundle.graphs and scorer.effort == "fast":
        return "effort fast: in training, the encoder gained next to nothing (--effort full uses it)"
    return None


def _name_own_model(terminal: Terminal, scorer: Scorer) -> None:
    """The included model answers: say so where there is another one, which may have been meant."""
    from authorid.cli.model_places import newest_bundle

    own = newest_bundle()
    if own is not None:
        terminal.info(f"the included model {scorer.bundle.name} answers; to use yours: --model {shlex.quote(str(own))}")


def _adapt(
    scorer: Scorer,
    inputs: list[InputPath],
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
    from authorid.scoring.merged_stats import shard_statistics
    from authorid.scoring.stats import versions

    results = run.results
    rows = {"evidence": results.evidence, "explain": results.explain}
    fingerprint = run_fingerprint(
        paths,
        documents,
        manifest=scorer.bundle.path / MANIFEST,
        scorer=scorer.describe(),
        versions=versions(),
        output={"format": results.form, "top": results.top, **rows, **run.model.fingerprint, **run.inputs.fingerprint},
    )
    gc.freeze()  # what is loaded by now is needed to the end: no collection has to look through it
    started = time.perf_counter()
    with (
        Timeout(documents.timeout) as timeout,
        destination.open(
            run.inputs.writer(
                results.form,
                scorer.bundle.answers,
                fingerprint,
                lambda: shard_statistics(run.stats, time.perf_counter() - started, _about(scorer, output)),
            ),
            top=results.top,
            fingerprint=fingerprint,
            answers=scorer.bundle.answers,
            file_digest=lambda file: file_sha256(file, documents, timeout),
        ) as output,
        terminal.progress("Scoring") as reporter,
        ScoringProgress(
            run.inputs.countable(countable(paths, run.stdin_text)), documents, run.stats, reporter
        ) as progress,
        closing(
            scorer.score_documents(read_standard_input(documents, output.recall), stats=run.stats, **rows)
            if run.stdin_text
            else scorer.score(run.inputs.files, documents, stats=run.stats, recall=output.recall, **rows)
        ) as attributions,
    ):
        run.problem = _write_all(run, attributions, output, progress, terminal)
        if run.problem is None and run.interrupts.exit_code is not None:
            run.problem = "interrupted"
        if run.problem is None:
            output.finish()
    run.exit_code = run.interrupts.exit_code or EXIT_FATAL
    run.seconds = time.perf_counter() - started
    return output


def _about(scorer: Scorer, output: Output) -> dict[str, Any]:
    """What scored, and what became of an earlier run, for the statistics."""
    about, earlier = scorer.describe(), output.earlier
    if earlier is not None:
        about["resumed"] = {"kept": earlier.kept, "changed": earlier.changed, "vanished": earlier.vanished}
    return about


def _write_all(
    run: _ScoringRun, attributions: Iterable[Attribution], output: Output, progress: ScoringProgress, terminal: Terminal
) -> str | None:
    """Write every row to `output`. Returns the problem that ended this early, or None."""
    from authorid.errors import AuthoridError, first_line
    from authorid.inputs.readers.finishing import GUTENBERG_NOTE

    try:
        for done, attribution in enumerate(attributions, start=1):
            with run.stats.stages.stage("write"):
                output.write(attribution)
            if attribution.status != "scored":
                terminal.detail(f"{attribution.status}: {attribution.ref}: {attribution.error or attribution.reason}")
            run.model.note(attribution)
            run.report.add(attribution)
            if done <= run.shown:
                run.rows.append(attribution)
            run.cut += (attribution.reader or "").endswith(GUTENBERG_NOTE)
            progress.report(done)
            if run.results.fail_fast and attribution.status == "failed":
                return f"stopped at the first failure, {attribution.ref}: {attribution.error}"
    except (AuthoridError, BrokenPipeError):
        raise
    except Exception as error:  # of any thread of the run: whatever it is, the rows that are finished are safe
        for part in traceback.format_exception(error):
            terminal.detail(part)
        return f"the run broke off: {type(error).__name__}: {first_line(error)}"
    return None


def _finish(
    run: _ScoringRun,
    scorer: Scorer,
    output: Output,
    paths: tuple[str, ...],
    documents: ReadOptions,
    terminal: Terminal,
) -> None:
    """Write and show the results of a complete run; exits with code 3 when some documents failed."""
    from authorid.cli.final_screen import show_run

    stats = run.stats
    report = stats.report(run.seconds, _about(scorer, output))
    if run.results.stats is not None:
        write_json(run.results.stats, report)
    if not stats.documents:
        terminal.warning(run.inputs.none or no_documents(paths, documents))
        return
    failed = stats.status["failed"]
    show_run(terminal, run.rows, stats, report, scorer.bundle.answers)
    if run.note is not None:
        terminal.info(run.note)
    run.report.write(scorer, documents, report, run.model.warnings, terminal)
    for warning in run.model.warnings:
        terminal.warning(warning)
    if run.cut:
        terminal.info(f"Project Gutenberg's header and licence were left out of {run.cut} documents (column reader)")
    if failed:
        terminal.warning(f"{failed} of {stats.documents} documents failed; their rows give the reasons")
        raise click.exceptions.Exit(EXIT_SOME_FAILED)
