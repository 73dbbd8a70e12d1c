"""The command line: parses, calls the library, renders.

Exit codes are promises: 0 all done; 1 nothing could be done; 2 wrong usage; 3 done, but some documents failed;
130 interrupted (143 by SIGTERM).
"""

from __future__ import annotations

import codecs
import errno
import gc
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click

if TYPE_CHECKING:
    from authorid.cli.console import Screen
    from authorid.cli.interrupts import Interrupts
    from authorid.outputs import Destination
    from authorid.outputs.resume import EarlierRun
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.cascade import Effort
    from authorid.scoring.stats import RunStats

PATH = click.Path(path_type=Path)
EFFORT = click.Choice(["fast", "full", "auto"])
PRECISION = click.Choice(["auto", "int8", "fp32"])
PROVIDER = click.Choice(["auto", "cpu", "openvino"])

EXIT_FATAL, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 3, 130


def main() -> None:
    """Entry point of the ``authorid`` command."""
    from authorid.errors import AuthoridError

    _hold_standard_descriptors()
    if threading.current_thread() is threading.main_thread():
        # Until a run takes its signals itself (see Interrupts), and after it, SIGTERM unwinds as Ctrl-C does.
        signal.signal(signal.SIGTERM, _leave)
    try:
        # As `app.main` does it, which would make more of a Ctrl-C than its exit code.
        with app.make_context("authorid", sys.argv[1:]) as context:
            app.invoke(context)
            context.exit()
    except click.exceptions.Exit as error:
        sys.exit(error.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except AuthoridError as error:
        from authorid.cli.console import Screen

        Screen().complain(f"error: {error}")
        sys.exit(EXIT_FATAL)
    except MemoryError:
        from authorid.cli.console import Screen

        Screen().complain("error: out of memory; what a run had finished is safe, and --resume goes on from there")
        sys.exit(EXIT_FATAL)
    except KeyboardInterrupt:
        sys.exit(EXIT_INTERRUPTED)
    except BrokenPipeError:
        # Whoever read our output has gone; close standard output so that its flush at exit does not complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FATAL)
    except OSError as error:
        # Whatever has no message of its own: a directory without rights, a current directory that is gone.
        from authorid.cli.console import Screen
        from authorid.errors import os_error_reason

        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        Screen().complain(f"error: {place}{os_error_reason(error)}")
        sys.exit(EXIT_FATAL)


def _leave(number: int, _: object) -> None:
    sys.exit(128 + number)


def _hold_standard_descriptors() -> None:
    """Put /dev/null where a standard descriptor is closed: else the journal would get its number, and messages."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free: this one


def _version(context: click.Context, _: click.Parameter, wanted: bool) -> None:
    if wanted:
        from authorid import __version__

        click.echo(f"authorid {__version__}")
        context.exit()


class _Commands(click.Group):
    """Commands in the order in which they are written below: the order in which one needs them."""

    def list_commands(self, _: click.Context) -> list[str]:
        return list(self.commands)


@click.group(cls=_Commands, no_args_is_help=True, context_settings={"show_default": True})
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_version,
    help="Show the version and exit.",
)
def app() -> None:
    """Who wrote this? Authorship attribution for whole directories, on ordinary CPUs."""


@app.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option("--out", "-o", metavar="FILE", help="Where to write the results; - is stdout.")
@click.option("--model", "-m", type=PATH, metavar="BUNDLE", help="Model to use instead of the embedded one.")
@click.option(
    "--format",
    "-f",
    "form",
    type=click.Choice(["csv", "jsonl"]),
    help="Format of the results; by default, from FILE's ending.",
)
@click.option("--top", type=click.IntRange(min=1), default=5, help="How many authors a JSONL row ranks.")
@click.option("--evidence", is_flag=True, help="Add per-window probabilities to JSONL rows.")
@click.option("--stats", type=PATH, metavar="FILE", help="Write the run's statistics as JSON.")
@click.option(
    "--effort",
    type=EFFORT,
    default="auto",
    help="fast: n-grams only; full: all experts; auto: the encoder where n-grams are not sure.",
)
@click.option(
    "--max-false-attribution",
    type=click.FloatRange(min=0.0, max=1.0),
    metavar="SHARE",
    help="Say unknown so often that about this share of texts by strangers is attributed, at most.",
)
@click.option("--precision", type=PRECISION, default="auto", help="Which of the model's graphs to run.")
@click.option(
    "--provider",
    type=PROVIDER,
    default="auto",
    help="Whose kernels run it; auto: as tuned, else cpu. openvino is an extra.",
)
@click.option(
    "--workers",
    type=click.IntRange(min=0, max=1024),
    default=0,
    help="Batches in flight at once; 0: as tuned, or one a core.",
)
@click.option(
    "--threads",
    type=click.IntRange(min=0, max=1024),
    default=0,
    help="Intra-op threads for each batch; 0: as tuned, or 1.",
)
@click.option(
    "--batch-tokens",
    type=click.IntRange(min=0),
    default=0,
    help="Size of a batch in tokens; 0: as tuned, or 256 (openvino: 1024).",
)
@click.option("--include", multiple=True, metavar="GLOB", help="Only files that match.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="No files or directories that match.")
@click.option("--hidden", is_flag=True, help="Read hidden files too.")
@click.option("--follow-symlinks", is_flag=True, help="Follow links; loops are found.")
@click.option("--encoding", metavar="NAME", help="Encoding to try when a file is not UTF-8.")
@click.option("--max-bytes", type=click.IntRange(min=1), default=16 * 1024 * 1024, help="Larger files fail unread.")
@click.option(
    "--timeout", type=click.FloatRange(min=0.001), metavar="SECONDS", help="Give up on a file that does not answer."
)
@click.option(
    "--ignore-file", type=PATH, metavar="FILE", help="Rules as in .gitignore: what to pass over below each PATH."
)
@click.option("--resume", is_flag=True, help="Go on with a run that was interrupted.")
@click.option("--force", is_flag=True, help="Replace an existing FILE; drop an interrupted run.")
@click.option("--fail-fast", is_flag=True, help="Stop at the first document that fails.")
@click.option("--rows", type=click.IntRange(min=0), default=20, help="Rows in the table on the screen.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
def score(
    paths: tuple[str, ...],
    out: str | None,
    model: Path | None,
    form: str | None,
    top: int,
    evidence: bool,
    stats: Path | None,
    effort: Effort,
    max_false_attribution: float | None,
    precision: str,
    provider: str,
    workers: int,
    threads: int,
    batch_tokens: int,
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hidden: bool,
    follow_symlinks: bool,
    encoding: str | None,
    max_bytes: int,
    timeout: float | None,
    ignore_file: Path | None,
    resume: bool,
    force: bool,
    fail_fast: bool,
    rows: int,
    quiet: bool,
) -> None:
    """Attribute every document below PATH and write one row for each.

    PATH is a file, a directory, or - for a list of paths on standard input.
    """
    from authorid.cli.console import Screen
    from authorid.cli.interrupts import Interrupts
    from authorid.encoder.engine import EngineOptions
    from authorid.inputs.documents import ReadOptions
    from authorid.inputs.reading import file_sha256
    from authorid.inputs.timeouts import Timeout
    from authorid.outputs import format_for, reserve, run_fingerprint
    from authorid.scoring.scorer import Scorer
    from authorid.scoring.stats import RunStats, versions

    screen = Screen(quiet=quiet)
    _check_encoding(encoding)
    ignore = _lines(ignore_file)
    if resume and out in (None, "-"):
        raise _wrong("there is nothing to resume without --out FILE", "--resume")
    if stats is not None and out not in (None, "-") and os.path.realpath(stats) == os.path.realpath(str(out)):
        raise _wrong("the statistics would replace the results: name another file", "--stats")
    if stats is not None:
        _check_writable(stats)
    with reserve(out, resume=resume, force=force) as destination, Timeout(timeout) as limit:
        if destination.complete:
            screen.say(f"{out} is there and nothing was interrupted: nothing to resume (--force scores again)")
            return
        options = ReadOptions(
            include=include,
            exclude=exclude,
            ignore=ignore,
            follow_symlinks=follow_symlinks,
            hidden=hidden,
            encoding=encoding,
            max_bytes=max_bytes,
            timeout=timeout,
            skip=destination.files | {str(Path(path).absolute()) for path in (out, stats) if path not in (None, "-")},
        )
        scorer = Scorer.load(
            model,
            EngineOptions(precision, workers, threads, batch_tokens, provider),
            effort=effort,
            max_false_attribution=max_false_attribution,
        )
        for notice in scorer.notices:
            screen.complain(f"warning: {notice}")
        kind = format_for(out or "", form)
        fingerprint = run_fingerprint(
            paths,
            options,
            bundle=scorer.bundle.path,
            scorer=scorer.describe(),
            versions=versions(),
            output={"format": kind, "top": top, "evidence": evidence},
        )
        gc.freeze()  # what was loaded is no garbage, and need not be looked through again and again
        run = RunStats()
        shown: list[Attribution] = []
        started = time.perf_counter()
        with (
            Interrupts(scorer.stop) as interrupts,
            destination.open(
                kind,
                top=top,
                fingerprint=fingerprint,
                authors=scorer.bundle.authors,
                file_digest=lambda file: file_sha256(file, options, limit),
            ) as output,
            screen.progress("Scoring") as advance,
            closing(
                scorer.score(_named(paths, interrupts), options, evidence=evidence, stats=run, recall=output.recall)
            ) as attributions,
        ):

            def take(attribution: Attribution) -> None:
                with run.stages.stage("write"):
                    output.write(attribution.to_record())
                if len(shown) < rows:
                    shown.append(attribution)
                advance(1)

            trouble = _take_all(attributions, take, fail_fast=fail_fast)
            if trouble is None and interrupts.exit_code is not None:
                trouble = "interrupted"
            if trouble is None:
                output.finish()
        seconds = time.perf_counter() - started
    earlier = output.earlier
    if earlier is not None:
        _tell_resumed(screen, earlier, complete=trouble is None)
    if trouble is not None:
        screen.complain(f"error: {trouble}; {output.saved}{_how_to_resume(destination)}")
        raise click.exceptions.Exit(interrupts.exit_code or EXIT_FATAL)
    about = scorer.describe()
    if earlier is not None:
        about["resumed"] = {"kept": earlier.kept, "changed": earlier.changed, "vanished": earlier.vanished}
    report = run.report(seconds, about)
    if stats is not None:
        _write_json(stats, report)
    _tell_finished(screen, run, shown, report)
    if run.status["failed"]:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _wrong(message: str, option: str) -> click.BadParameter:
    """The error for a command line on which `option` is wrong; names may be in the `message`."""
    from authorid.outputs.escaping import visible

    return click.BadParameter(visible(message), param_hint=option)


def _take_all(
    attributions: Iterable[Attribution], take: Callable[[Attribution], None], *, fail_fast: bool
) -> str | None:
    """Pass every row on to `take`. Returns what ended that too early, if anything did."""
    from authorid.errors import AuthoridError, first_line

    try:
        for attribution in attributions:
            take(attribution)
            if fail_fast and attribution.status == "failed":
                return f"stopped at the first failure, {attribution.path}: {attribution.error}"
    except (AuthoridError, BrokenPipeError):
        raise
    except Exception as error:  # a thread's, passed on: whatever it is, what was finished is safe
        return f"the run broke off: {type(error).__name__}: {first_line(error)}"
    return None


def _tell_finished(screen: Screen, run: RunStats, shown: list[Attribution], report: dict[str, Any]) -> None:
    """What a run that came to its end has found: the first rows, who wrote how many, how long it took."""
    if not run.documents:
        screen.complain("warning: no documents found")
    else:
        screen.attributions(shown, run.documents)
        if run.status["scored"]:
            screen.counts(run.authors.most_common(), run.status["scored"])
        screen.statistics(report)
    if run.status["failed"]:
        screen.complain(f"{run.status['failed']} of {run.documents} documents failed; their rows say why")


def _named(paths: Iterable[str], interrupts: Interrupts) -> Iterator[str]:
    """The paths on the command line, and where one of them is ``-``, those listed on standard input."""
    from authorid.errors import AuthoridError
    from authorid.inputs.path_lists import listed_paths

    # A signal that came before there was a run to stop.
    if interrupts.exit_code is not None:
        return
    for path in paths:
        if path == "-":
            if sys.stdin is None:
                raise AuthoridError("standard input is closed: there is no list of paths to read")
            yield from listed_paths(sys.stdin.buffer)
        else:
            yield path


def _lines(ignore_file: Path | None) -> tuple[str, ...]:
    if ignore_file is None:
        return ()
    try:
        lines = ignore_file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError as error:
        raise _wrong(f"{ignore_file}: {error.strerror}", "--ignore-file") from None
    return tuple(os.fsdecode(line) for line in lines)


def _tell_resumed(screen: Screen, earlier: EarlierRun, *, complete: bool) -> None:
    """What became of the rows of the run that was interrupted."""
    message = f"resumed: {earlier.kept} rows kept"
    if earlier.changed:
        message += f", {earlier.changed} documents changed since and were scored again"
    if earlier.vanished:
        message += f", {earlier.vanished} are no longer there and have no row"
    if earlier.names:
        more = earlier.changed + earlier.vanished - len(earlier.names)
        message += ": " + ", ".join(earlier.names) + (f" and {more} more" if more else "")
    screen.say(message if complete else f"{message} so far")


def _how_to_resume(destination: Destination) -> str:
    if destination.target is None:
        return ""
    arguments = sys.argv[1:]
    end = arguments.index("--") if "--" in arguments else len(arguments)
    options = [argument for argument in arguments[:end] if argument not in ("--force", "--resume")]
    return f". To go on: {shlex.join(['authorid', *options, '--resume', *arguments[end:]])}"


def _check_encoding(encoding: str | None) -> None:
    try:
        if encoding is not None:
            "a".encode(encoding)  # knows not only the name, but also whether it is for text
    except (LookupError, UnicodeError):
        raise _wrong(f"Python knows no text encoding {encoding!r}", "--encoding") from None


@app.command()
@click.argument("corpus", type=PATH, metavar="CORPUS")
@click.option("--out", "-o", type=PATH, required=True, metavar="RUN", help="Where to put the run directory.")
@click.option(
    "--base-model",
    default="distilbert-base-uncased",
    metavar="DIR|HUB_ID",
    help="BERT or DistilBERT checkpoint in Hugging Face layout.",
)
@click.option(
    "--recipe",
    type=click.Choice(["windows", "seed"]),
    default="windows",
    help="windows: whole documents in windows; seed: first 512 tokens, Adam 5e-5.",
)
@click.option("--epochs", type=click.IntRange(min=1), help="Passes over the corpus.  [4; seed: 20]")
@click.option("--batch", type=click.IntRange(min=1), help="Examples in a step.  [32; seed: 2]")
@click.option("--learning-rate", type=float, help="Highest learning rate.  [3e-4; seed: 5e-5]")
@click.option("--seed", type=click.IntRange(min=0), help="Seed of everything random.  [1; seed: 1000]")
@click.option("--window", type=click.IntRange(min=8), help="Window length in tokens.  [128; seed: 512]")
@click.option("--stride", type=click.IntRange(min=1), help="Tokens between window starts.  [window - 2]")
@click.option(
    "--pooling",
    type=click.Choice(["first", "mean"]),
    help="What of a window is classified: its first token, or the mean of its tokens.  [first]",
)
@click.option(
    "--funnel/--no-funnel",
    default=None,
    help="After a third of the layers, go on with every second token or with all.  [yes; seed: no]",
)
@click.option("--validation-split", type=float, default=0.2, help="Share of documents held out; 0: none.")
@click.option(
    "--validation",
    type=click.Choice(["random", "last", "shifted"]),
    help="Which are held out. last: each author's last by file name; shifted: these if names carry numbers, else "
    "those at one end of the author's range of subjects.  [shifted; seed: random]",
)
@click.option("--label-smoothing", type=float, default=0.0, help="Share of the target given to all authors alike.")
@click.option("--topic-dropout", type=float, help="Highest rate at which a window loses its rare words.  [1; seed: 0]")
@click.option(
    "--residual/--no-residual",
    default=None,
    help="Train the encoder on what the n-grams leave unexplained, or on its own.  [no]",
)
@click.option("--train-embeddings/--freeze-embeddings", default=None, help="Tune word embeddings.  [no; seed: yes]")
@click.option(
    "--precision",
    type=click.Choice(["float32", "bfloat16"]),
    default="float32",
    help="bfloat16 is faster on CPUs that have it.",
)
@click.option("--encoder/--no-encoder", default=True, help="Tune an encoder too, or fit n-grams only: seconds.")
@click.option("--test-corpus", type=PATH, metavar="DIR", help="Held-out corpus to measure the finished model on.")
@click.option("--resume", is_flag=True, help="Go on with a training that was interrupted.")
@click.option("--force", is_flag=True, help="Replace an existing run.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
@click.pass_context
def train(
    context: click.Context,
    corpus: Path,
    out: Path,
    base_model: str,
    recipe: Literal["windows", "seed"],
    epochs: int | None,
    batch: int | None,
    learning_rate: float | None,
    seed: int | None,
    window: int | None,
    stride: int | None,
    pooling: str | None,
    funnel: bool | None,
    validation_split: float,
    validation: str | None,
    label_smoothing: float,
    topic_dropout: float | None,
    residual: bool | None,
    train_embeddings: bool | None,
    precision: Literal["float32", "bfloat16"],
    encoder: bool,
    test_corpus: Path | None,
    resume: bool,
    force: bool,
    quiet: bool,
) -> None:
    """Fit n-grams and fine-tune an encoder on CORPUS, and write a run directory.

    CORPUS is a directory with one directory per author.
    """
    from authorid.cli.console import Screen, TrainingProgress
    from authorid.training import TrainingOptions
    from authorid.training import train as run_training

    screen = Screen(quiet=quiet)
    if not encoder:
        idle = {parameter.name for parameter in context.command.params} - _NGRAM_OPTIONS
        _refuse(context, idle, "this is for an encoder, and there is none with --no-encoder")
        _train_ngrams(screen, corpus, out, test_corpus=test_corpus, force=force)
        return
    given: dict[str, Any] = {
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
        "window": window,
        "stride": stride,
        "pooling": pooling,
        "funnel": funnel,
        "topic_dropout": topic_dropout,
        "residual": residual,
        "validation_how": validation,
        "freeze_embeddings": None if train_embeddings is None else not train_embeddings,
    }
    options = TrainingOptions(
        base_model=base_model,
        recipe=recipe,
        validation_split=validation_split,
        label_smoothing=label_smoothing,
        precision=precision,
        **{name: value for name, value in given.items() if value is not None},
    )
    with TrainingProgress(screen) as report:
        run = run_training(corpus, out, options, test_corpus=test_corpus, resume=resume, force=force, report=report)
    metrics = [(name.replace("_", " "), f"{value:.4f}") for name, value in run.metrics.items()]
    screen.table("Training", [("measure", False), ("last epoch", True)], metrics)
    screen.say(f"run written to {out}; next: authorid export {out} --out BUNDLE --quantize")


_NGRAM_OPTIONS = {"corpus", "out", "encoder", "test_corpus", "force", "quiet"}
"""Parameters of `train` that mean something without an encoder."""


def _refuse(context: click.Context, idle: Collection[str | None], reason: str) -> None:
    """A usage error when one of the parameters `idle`, which would do nothing, is on the command line."""
    for parameter in context.command.params:
        if parameter.name is None or parameter.name not in idle:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise _wrong(reason, " / ".join([*parameter.opts, *parameter.secondary_opts]))


def _train_ngrams(screen: Screen, corpus: Path, out: Path, *, test_corpus: Path | None, force: bool) -> None:
    from authorid.training.evaluate import evaluate_model
    from authorid.training.ngram_run import train_ngrams

    train_ngrams(corpus, out, test_corpus=test_corpus, force=force, told=lambda message: _tell(screen, message))
    if test_corpus is not None:
        screen.evaluation(evaluate_model(out, test_corpus, warn=screen.complain))
    screen.say(
        f"run written to {out}, a bundle already; next: authorid score DOCUMENTS --model {out} --out results.csv"
    )


def _tell(screen: Screen, message: str) -> None:
    if message.startswith("warning: "):
        screen.complain(message)
    else:
        screen.say(message)


@app.command()
@click.argument("model", type=PATH, metavar="MODEL")
@click.argument("corpus", type=PATH, metavar="CORPUS")
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write every figure as JSON.")
@click.option("--plots", type=PATH, metavar="DIR", help="Write confusion, reliability, risk and length as PNG.")
@click.option("--strangers", type=PATH, metavar="DIR", help="Documents by authors that MODEL does not know.")
@click.option("--effort", type=EFFORT, default="auto", help="The effort to measure, as in score.")
@click.option("--ablation/--no-ablation", default=True, help="Measure every effort, and each expert alone.")
@click.option("--precision", type=PRECISION, default="auto", help="Which of a bundle's graphs to run.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
@click.pass_context
def evaluate(
    context: click.Context,
    model: Path,
    corpus: Path,
    json_file: Path | None,
    plots: Path | None,
    strangers: Path | None,
    effort: Effort,
    ablation: bool,
    precision: str,
    quiet: bool,
) -> None:
    """Measure MODEL on documents whose authors are known.

    MODEL is a run directory or a bundle, CORPUS a directory with one directory per author.
    """
    from authorid.bundle.manifest import MANIFEST
    from authorid.cli.console import Screen
    from authorid.errors import require
    from authorid.training.evaluate import examine

    if not (model / MANIFEST).is_file() and (model / "run.json").is_file():
        _refuse(context, {"effort", "ablation", "precision"}, f"{model} is a training run; this is for bundles")
    if json_file is not None:
        _check_writable(json_file)
    if plots is not None:
        require("matplotlib.figure", "train")
        _make_directory(plots)
    screen = Screen(quiet=quiet)
    with screen.progress("Evaluating") as advance:
        findings = examine(
            model,
            corpus,
            precision=precision,
            effort=effort,
            strangers=strangers,
            ablation=ablation,
            advance=advance,
            warn=screen.complain,
        )
    if json_file is not None:
        _write_json(json_file, findings.to_json())
    if plots is not None:
        findings.plot(plots)
    screen.evaluation(findings.metrics)
    screen.findings(findings)


_BUNDLE_OPTIONS = {"run", "out", "name", "encoder", "encoder_weight", "force", "quiet"}
"""Parameters of `export` that mean something for a bundle."""


@app.command()
@click.argument("run", type=PATH, metavar="RUN")
@click.option("--out", "-o", type=PATH, required=True, metavar="BUNDLE", help="Where to put the bundle.")
@click.option("--quantize", is_flag=True, help="Make the INT8 graph too.")
@click.option("--fp32/--no-fp32", default=True, help="Keep the float32 graph in the bundle.")
@click.option("--name", help="Name of the model, for its card and the statistics.")
@click.option(
    "--encoder", type=PATH, metavar="BUNDLE", help="Put the n-grams of RUN beside the encoder of this bundle."
)
@click.option(
    "--encoder-weight",
    type=click.FloatRange(min=0.0),
    help="Weight of the encoder beside the n-grams; default: as measured.",
)
@click.option("--openvino", is_flag=True, help="Add graphs in OpenVINO's dialect, for --provider openvino.")
@click.option("--corpus", type=PATH, metavar="DIR", help="The training corpus; by default, where the run says it was.")
@click.option("--verify-on", type=PATH, metavar="DIR", help="Compare the graphs on this corpus instead.")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Which windows INT8 is calibrated on.")
@click.option(
    "--license", "license_name", default="other", metavar="NAME", help="License of the weights, for the model card."
)
@click.option("--force", is_flag=True, help="Replace a bundle, and write even a graph that fails its checks.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
@click.pass_context
def export(
    context: click.Context,
    run: Path,
    out: Path,
    quantize: bool,
    fp32: bool,
    name: str | None,
    encoder: Path | None,
    encoder_weight: float | None,
    openvino: bool,
    corpus: Path | None,
    verify_on: Path | None,
    seed: int,
    license_name: str,
    force: bool,
    quiet: bool,
) -> None:
    """Turn a training run into an ONNX bundle, verified before it is written.

    RUN is a run directory that train has written.
    """
    from authorid.bundle.manifest import MANIFEST
    from authorid.cli.console import Screen
    from authorid.errors import require

    screen = Screen(quiet=quiet)
    if (run / MANIFEST).is_file():
        from authorid.training.ngram_run import export_ngrams

        idle = {parameter.name for parameter in context.command.params} - _BUNDLE_OPTIONS
        _refuse(context, idle, f"{run} is a bundle: its graphs stay as they are; this is for a run with an encoder")
        export_ngrams(run, out, encoder=encoder, weight=encoder_weight, name=name, force=force)
        screen.say(f"bundle written to {out}; next: authorid score DOCUMENTS --model {out} --out results.csv")
        return
    if encoder is not None:
        raise _wrong(f"{run} has an encoder of its own", "--encoder")
    room = require("authorid.export", "train")
    options = room.ExportOptions(
        quantize=quantize,
        keep_fp32=fp32,
        openvino=openvino,
        name=name,
        corpus=corpus,
        verify_on=verify_on,
        seed=seed,
        license_name=license_name,
        force=force,
        encoder_weight=encoder_weight,
    )
    report = room.export_run(run, out, options, screen.say)
    screen.table("Parity", [("check", False), ("value", True), ("bound", True), ("", False)], report.rows)
    screen.say(f"bundle written to {out}; next: authorid score DOCUMENTS --model {out} --out results.csv")


@app.command()
@click.option("--model", "-m", type=PATH, metavar="BUNDLE", help="Model to tune instead of the embedded one.")
@click.option("--precision", type=PRECISION, default="auto", help="Which of the model's graphs to tune.")
@click.option(
    "--provider",
    type=PROVIDER,
    default="auto",
    help="Whose kernels to tune; auto: all, and the fastest is what auto means.",
)
@click.option("--seconds", type=click.FloatRange(min=0.1), default=60.0, help="How long to measure, in all.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
def tune(
    model: Path | None,
    precision: str,
    provider: str,
    seconds: float,
    quiet: bool,
) -> None:
    """Measure how the model runs fastest on this machine; score will use it."""
    from authorid.bundle.manifest import load_bundle
    from authorid.cli.console import Screen
    from authorid.encoder.tuning import tune as run_tuning
    from authorid.models import default_bundle

    screen = Screen(quiet=quiet)
    bundle = load_bundle(model or default_bundle())
    with screen.progress("Tuning") as advance:
        trials = run_tuning(bundle, precision, provider=provider, seconds=seconds, advance=advance, told=screen.say)
    best = trials[0].tokens_per_second
    columns = [(name, True) for name in ("workers", "threads", "batch tokens", "tokens/s", "of best")]
    screen.table(
        f"{bundle.name}, {trials[0].options.precision}: fastest first",
        [("provider", False), *columns],
        [
            (
                t.options.provider,
                t.options.workers,
                t.options.threads,
                t.options.budget,
                f"{t.tokens_per_second:,.0f}",
                f"{t.tokens_per_second / best:.0%}",
            )
            for t in trials
        ],
    )


@app.command()
@click.option("--model", "-m", type=PATH, metavar="BUNDLE", help="Model to measure instead of the embedded one.")
@click.option(
    "--documents", type=PATH, metavar="DIR", help="Documents to score from end to end; default: generated ones."
)
@click.option("--json", "record", type=PATH, metavar="FILE", help="Write what was measured as JSON.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=40.0, help="How long to measure, in all.")
@click.option("--quiet", "-q", is_flag=True, help="Nothing on the screen but errors.")
def bench(
    model: Path | None,
    documents: Path | None,
    record: Path | None,
    seconds: float,
    quiet: bool,
) -> None:
    """Measure how fast the model is on this machine: latency, throughput, documents per second."""
    from authorid.benchmark import BenchOptions, run_benchmark, tables
    from authorid.cli.console import Screen

    if record is not None:
        _check_writable(record)
    screen = Screen(quiet=quiet)
    result = run_benchmark(model, BenchOptions(documents, seconds), report=lambda what: screen.say(f"{what} ..."))
    for title, columns, rows in tables(result, bar="█" if screen.console.is_terminal else "#"):
        screen.table(title, columns, rows)
    for missing in result["unavailable"]:
        screen.say(f"not measured: {missing['precision']} on {missing['provider']}: {missing['reason']}")
    if record is not None:
        _write_json(record, result)


def _make_directory(path: Path) -> None:
    from authorid.errors import OutputError, os_error_reason

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


def _check_writable(path: Path) -> None:
    """Raises `OutputError` where a file cannot be written, before there is anything to write; leaves no trace."""
    from tempfile import TemporaryFile

    from authorid.errors import OutputError, os_error_reason

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            with TemporaryFile(dir=path.parent):
                return
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    from authorid.errors import OutputError, os_error_reason

    try:
        path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {os_error_reason(error)}") from None


if __name__ == "__main__":
    main()
