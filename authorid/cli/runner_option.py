"""The options ``--runner`` and ``--ray-address`` of ``authorid score``, and a run on a cluster."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from authorid.cli.exit_codes import EXIT_FATAL, EXIT_SOME_FAILED
from authorid.cli.files import check_writable, make_directory, write_json
from authorid.cli.interrupts import Interrupts, raise_interrupt
from authorid.cli.options import option_group, usage_error
from authorid.cli.resuming import resuming_command
from authorid.cli.score_inputs import checked_paths, input_paths, no_documents, require_any

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.cli.result_options import ResultOptions
    from authorid.encoder.engine_options import EngineOptions
    from authorid.inputs.discovery import DiscoveredFile
    from authorid.inputs.documents import ReadOptions
    from authorid.outputs import Destination
    from authorid.outputs.answers import Answers
    from authorid.outputs.records import Attribution
    from authorid.reporter import Reporter
    from authorid.runners.run_plan import RunPlan
    from authorid.runners.shard_worker import ShardDone, ShardRun
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats

__all__ = ["RunnerOptions", "runner_options"]

_RATES = {"documents_per_second": "documents", "tokens_per_second": "tokens"}
"""What the report has per second of the whole run, and of what."""


class RunnerOptions(NamedTuple):
    """Where the documents are scored."""

    name: Literal["local", "ray"]
    ray_address: str | None


@option_group(
    "Scale out",
    "runner",
    click.option(
        "--runner",
        type=click.Choice(["local", "ray"]),
        default="local",
        help="Where to score: in this process, or in shards on a Ray cluster, whose nodes share the file system.",
    ),
    click.option(
        "--ray-address",
        metavar="ADDRESS",
        show_default="a Ray that is started here",
        help="The Ray cluster; auto is the one that this machine belongs to.",
    ),
)
def _options(runner: Literal["local", "ray"], ray_address: str | None) -> RunnerOptions:
    if ray_address is not None and runner != "ray":
        raise usage_error("only --runner ray has an address", "--ray-address")
    return RunnerOptions(runner, ray_address)


def runner_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options. The `command` takes the values of all others, and is called for a local run only."""

    @wraps(command)
    def on_runner(*, runner: RunnerOptions, **values: Any) -> Any:
        if runner.name == "local":
            return command(**values)
        return _score_on_ray(runner, values)

    return _options(on_runner)


@dataclass(slots=True, eq=False)
class _ClusterRun:
    """A run on a cluster: what the command line says, and where the parts are."""

    values: dict[str, Any]
    terminal: Terminal
    paths: tuple[str, ...]
    results: ResultOptions
    documents: ReadOptions
    parts: Path
    started: float


def _check(values: dict[str, Any]) -> None:
    """Raise a usage error for what the documents of a shard do not allow."""
    from authorid.outputs import is_stream

    results, model = values["results"], values["model"]
    refused = {
        "--shard": (values["shards"].shard is not None, "the runner makes the shards"),
        "--stdin-text": (values["stdin_text"], "one document needs no cluster"),
        "--adapt": (model.adapt, "the answers would depend on the other documents of the shard"),
        "--known": (values["known"].corpus is not None, "make a model first: authorid train --no-encoder"),
        "--report": (results.report is not None, "a report is made of a local run"),
        "--fail-fast": (results.fail_fast, "shards are scored at the same time"),
    }
    for option, (given, reason) in refused.items():
        if given:
            raise usage_error(f"not with --runner ray: {reason}", option)
    if results.out is None or is_stream(results.out):
        raise usage_error("the workers leave their parts beside a file: --out FILE", "--runner")


def _score_on_ray(runner: RunnerOptions, values: dict[str, Any]) -> None:
    """Score the documents in shards on a Ray cluster, and merge the shards."""
    from authorid.cli.console import Terminal
    from authorid.errors import expect
    from authorid.outputs import require_format, reserve
    from authorid.runners.run_plan import parts_directory

    _check(values)
    paths = checked_paths(values["paths"], stdin_text=False, adapt=False)
    expect(["ray"], "ray")
    terminal, results = Terminal(quiet=values["quiet"], verbose=values["verbose"]), values["results"]
    require_any(paths, values["documents"], terminal)
    require_format(results.form)
    if results.stats is not None:
        check_writable(results.stats)
    parts = parts_directory(results.out)
    with reserve(results.out, resume=results.resume, force=results.force) as destination:
        _check_parts(parts, results, complete=destination.complete)
        if destination.complete:
            terminal.info(f"{results.out} is complete: there is nothing to resume (--force scores again)")
            return
        skip = destination.files | results.files | {str(parts)}
        documents = replace(values["documents"], skip=skip)
        run = _ClusterRun(values, terminal, paths, results, documents, parts, time.perf_counter())
        with Interrupts() as interrupts:
            scorer = _load(run)
        interrupts.exit_if_interrupted()
        plan = _score_shards(run, scorer, runner)
        _merge(run, plan, destination)


def _check_parts(parts: Path, results: ResultOptions, *, complete: bool) -> None:
    """Raise `OutputError` unless the user allowed what becomes of the parts of an interrupted run."""
    from authorid.errors import OutputError
    from authorid.runners.run_plan import is_parts_directory, remove_parts

    if not os.path.lexists(parts):
        return
    if not is_parts_directory(parts):
        raise OutputError(f"{parts}: not the parts of a run, which need this name; move it, or choose another --out")
    if complete or (results.force and not results.resume):
        remove_parts(parts)
    elif not results.resume:
        raise OutputError(
            f"{parts}: a run was interrupted here; pass --resume to continue it, or --force to start over"
        )


def _load(run: _ClusterRun) -> Scorer:
    from authorid.scoring.scorer import Scorer

    scorer = Scorer.load(options=run.values["engine"], **_model_arguments(run))
    for notice in scorer.notices:
        run.terminal.warning(notice)
    if run.results.evidence and scorer.engine is None:
        raise usage_error(f"no window is read: the encoder does not run at effort {scorer.effort}", "--evidence")
    return scorer


def _model_arguments(run: _ClusterRun) -> dict[str, Any]:
    """The arguments of `Scorer.load`, as they are right on every node."""
    model = run.values["model"]
    return {
        "model": None if model.path is None else str(model.path.absolute()),
        "effort": model.effort,
        "max_false_attribution": model.max_false_attribution,
        "any_text": model.any_text,
    }


def _score_shards(run: _ClusterRun, scorer: Scorer, runner: RunnerOptions) -> RunPlan:
    """Score all shards. Ends the command with a line that tells how to go on when that does not succeed."""
    from authorid.errors import ClusterError
    from authorid.runners.ray_runner import RayCluster, quiet_descriptors
    from authorid.runners.run_plan import is_planned, remove_parts

    make_directory(run.parts)
    engine = run.values["engine"]
    engine = replace(engine, workers=engine.workers or 1, threads=engine.threads or 1)
    interrupts = Interrupts(raise_interrupt)
    shards, problem = None, ""
    try:
        with (
            quiet_descriptors(run.parts / "ray.log") as stderr,
            RayCluster(runner.ray_address, engine.workers * engine.threads) as cluster,
        ):
            run.terminal.console.file = stderr
            with interrupts:  # Ray has set a handler for SIGTERM
                try:
                    shards = _planned(run, scorer, engine, cluster.actors)
                    with run.terminal.progress("Scoring") as reporter:
                        cluster.score(shards, _reporting(run, shards.plan, cluster.actors, reporter))
                except ClusterError as error:
                    problem = f"{error}; "
                except KeyboardInterrupt:
                    problem = "interrupted; "
            if problem:  # before the cluster is left, which can take long
                run.terminal.error(problem + _saved(shards))
    finally:
        run.terminal.console.file = sys.stderr
        if not is_planned(run.parts):
            remove_parts(run.parts)
    if problem or shards is None:
        raise click.exceptions.Exit(interrupts.exit_code or EXIT_FATAL)
    return shards.plan


def _saved(shards: ShardRun | None) -> str:
    """How much is finished, and how to go on."""
    if shards is None:
        return "nothing was scored"
    finished = shards.plan.shards - len(shards.plan.unfinished())
    return f"{finished} of {shards.plan.shards} shards are finished. To go on: {resuming_command()}"


def _planned(run: _ClusterRun, scorer: Scorer, engine: EngineOptions, workers: int) -> ShardRun:
    """The shards of the run: those of the run that was interrupted, or new ones."""
    from authorid.inputs.listing import listed_files, read_listing
    from authorid.runners.run_plan import begin_plan
    from authorid.runners.shard_worker import ShardRun, rows_fingerprint

    listing = run.values["shards"].listing
    if listing is not None:
        files = read_listing(listing)
    else:
        files = listed_files(input_paths(run.paths, Interrupts()), run.documents)
    rows = {"evidence": run.results.evidence, "explain": run.results.explain}
    fingerprint = rows_fingerprint(scorer, run.paths, run.documents, rows)
    with run.terminal.progress("Listing") as reporter:
        plan = begin_plan(run.parts, _counted(files, reporter), fingerprint, workers=workers)
    finished = plan.shards - len(plan.unfinished())
    if finished:
        run.terminal.info(f"resumed: {finished} of {plan.shards} shards are finished")
    return ShardRun(
        plan=plan,
        token=os.urandom(8).hex(),
        directory=os.getcwd(),  # noqa: PTH109 (bytes that are not text stay as they are)
        paths=run.paths,
        documents=run.documents,
        model=_model_arguments(run),
        digest=scorer.bundle.digest,
        engine=engine,
        rows=rows,
    )


def _counted(files: Iterator[DiscoveredFile], reporter: Reporter) -> Iterator[DiscoveredFile]:
    for count, file in enumerate(files, start=1):
        reporter.progress(count)
        yield file


def _reporting(run: _ClusterRun, plan: RunPlan, workers: int, reporter: Reporter) -> Callable[[ShardDone], None]:
    """What shows the progress of all workers."""
    done = plan.shards - len(plan.unfinished())
    documents = failed = 0
    started = time.monotonic()

    def report(shard: ShardDone) -> None:
        nonlocal done, documents, failed
        if shard.error:
            run.terminal.detail(f"shard {plan.shard(shard.shard)} on node {shard.node[:8]}: {shard.error}")
            return
        done, documents, failed = done + 1, documents + shard.documents, failed + shard.failed
        rate = documents / max(time.monotonic() - started, 1e-3)
        parts = [f"{documents:,} documents", f"{rate:,.0f} documents/s", f"{workers} workers"]
        reporter.progress(done, plan.shards, ", ".join(parts + [f"{failed:,} failed"] * bool(failed)))

    reporter.progress(done, plan.shards, f"{workers} workers")
    return report


def _merge(run: _ClusterRun, plan: RunPlan, destination: Destination) -> None:
    """Write the results, remove the parts, and show what a local run shows."""
    from authorid.outputs import FORMATS
    from authorid.outputs.file_output import file_without_journal
    from authorid.outputs.journal import remove_journal
    from authorid.outputs.part_order import merged_records, ordered_parts
    from authorid.runners.run_plan import remove_parts
    from authorid.scoring.merged_stats import merge_statistics

    results, files = run.results, destination.run_files
    assert files is not None
    parts = ordered_parts([plan.part(number) for number in range(1, plan.shards + 1)])
    answers, total = parts[0].answers, sum(part.rows for part in parts)
    stats, report = merge_statistics(part.statistics() for part in parts)
    shown: list[Attribution] = []
    writer = FORMATS[results.form](results.top, answers)
    with (
        Interrupts() as interrupts,
        file_without_journal(str(results.out), files, writer) as write,
        run.terminal.progress("Merging") as reporter,
    ):
        for done, record in enumerate(merged_records(parts), start=1):
            if interrupts.exit_code is not None:
                run.terminal.error(f"interrupted; all shards are finished. To go on: {resuming_command()}")
                raise click.exceptions.Exit(interrupts.exit_code)
            write(record)
            if done <= run.values["rows"]:
                shown.append(record)
            reporter.progress(done, total)
    remove_journal(files.journal)
    remove_parts(run.parts)
    _finish(run, shown, stats, report, answers)


def _finish(
    run: _ClusterRun, shown: list[Attribution], stats: RunStats, report: dict[str, Any], answers: Answers
) -> None:
    """Write and show the statistics; exits with code 3 when some documents failed."""
    from authorid.cli.final_screen import show_run

    seconds = time.perf_counter() - run.started
    rates = {name: round(report[of] / seconds, 3) for name, of in _RATES.items()}
    report |= {"wall_seconds": round(seconds, 6), **rates, "runner": "ray"}
    if run.results.stats is not None:
        write_json(run.results.stats, report)
    if not stats.documents:
        run.terminal.warning(no_documents(run.paths, run.documents))
        return
    show_run(run.terminal, shown, stats, report, answers)
    if failed := stats.status["failed"]:
        run.terminal.warning(f"{failed} of {stats.documents} documents failed; their rows give the reasons")
        raise click.exceptions.Exit(EXIT_SOME_FAILED)
