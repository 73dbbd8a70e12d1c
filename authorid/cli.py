"""The command line: parses, calls the library, renders.

Exit codes are promises: 0 all done; 1 nothing could be done; 2 wrong usage; 3 done, but some documents failed;
130 interrupted (143 by SIGTERM).
"""

from __future__ import annotations

import codecs
import errno
import json
import os
import shlex
import signal
import sys
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from authorid.attribution import Attribution
    from authorid.console import Screen
    from authorid.interrupts import Interrupts
    from authorid.results import Place
    from authorid.results.resume import Earlier
    from authorid.stats import RunStats

app = typer.Typer(
    name="authorid",
    help="Who wrote this? Authorship attribution for whole directories, on ordinary CPUs.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)

EXIT_FATAL, EXIT_SOME_FAILED, EXIT_INTERRUPTED = 1, 3, 130


class Format(StrEnum):
    """Formats of a results file."""

    csv = "csv"
    jsonl = "jsonl"


class EffortChoice(StrEnum):
    """Which experts to ask."""

    fast = "fast"
    full = "full"
    auto = "auto"


class PrecisionChoice(StrEnum):
    """Precisions a graph may have; auto is the fastest that the bundle holds."""

    auto = "auto"
    int8 = "int8"
    fp32 = "fp32"


class ProviderChoice(StrEnum):
    """Who may run a graph; auto is the fastest that is right here."""

    auto = "auto"
    cpu = "cpu"
    openvino = "openvino"


def main() -> None:
    """Entry point of the ``authorid`` command."""
    from authorid.errors import AuthoridError

    _hold_standard_descriptors()
    if threading.current_thread() is threading.main_thread():
        # Until a run takes its signals itself (see Interrupts), and after it, SIGTERM unwinds as Ctrl-C does.
        signal.signal(signal.SIGTERM, _leave)
    try:
        app()
    except AuthoridError as error:
        from authorid.console import Screen

        Screen().complain(f"error: {error}")
        sys.exit(EXIT_FATAL)
    except MemoryError:
        from authorid.console import Screen

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
        from authorid.console import Screen
        from authorid.errors import reason

        place = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
        Screen().complain(f"error: {place}{reason(error)}")
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


def _version(wanted: bool) -> None:
    if wanted:
        from authorid import __version__

        typer.echo(f"authorid {__version__}")
        raise typer.Exit


@app.callback()
def _authorid(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    pass


@app.command()
def score(
    paths: Annotated[
        list[str],
        typer.Argument(metavar="PATH...", help="Files, directories, or - for a list of paths on stdin."),
    ],
    out: Annotated[
        str | None,
        typer.Option("--out", "-o", metavar="FILE", help="Where to write the results; - is stdout."),
    ] = None,
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", metavar="BUNDLE", help="Model to use instead of the embedded one."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", "-f", help="Format of the results; by default, from FILE's ending."),
    ] = None,
    top: Annotated[int, typer.Option(min=1, help="How many authors a JSONL row ranks.")] = 5,
    evidence: Annotated[bool, typer.Option("--evidence", help="Add per-window probabilities to JSONL rows.")] = False,
    stats: Annotated[
        Path | None, typer.Option("--stats", metavar="FILE", help="Write the run's statistics as JSON.")
    ] = None,
    effort: Annotated[
        EffortChoice,
        typer.Option(help="fast: n-grams only; full: all experts; auto: the encoder where n-grams are not sure."),
    ] = EffortChoice.auto,
    max_false_attribution: Annotated[
        float | None,
        typer.Option(
            metavar="SHARE",
            min=0.0,
            max=1.0,
            help="Say unknown so often that about this share of texts by strangers is attributed, at most.",
        ),
    ] = None,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Which of the model's graphs to run.")
    ] = PrecisionChoice.auto,
    provider: Annotated[
        ProviderChoice,
        typer.Option(help="Whose kernels run it; auto: as tuned, else cpu. openvino is an extra."),
    ] = ProviderChoice.auto,
    workers: Annotated[
        int, typer.Option(min=0, max=1024, help="Batches in flight at once; 0: as tuned, or one a core.")
    ] = 0,
    threads: Annotated[
        int, typer.Option(min=0, max=1024, help="Intra-op threads for each batch; 0: as tuned, or 1.")
    ] = 0,
    batch_tokens: Annotated[
        int, typer.Option(min=0, help="Size of a batch in tokens; 0: as tuned, or 256 (openvino: 1024).")
    ] = 0,
    include: Annotated[list[str] | None, typer.Option(metavar="GLOB", help="Only files that match.")] = None,
    exclude: Annotated[
        list[str] | None, typer.Option(metavar="GLOB", help="No files or directories that match.")
    ] = None,
    hidden: Annotated[bool, typer.Option("--hidden", help="Read hidden files too.")] = False,
    follow_symlinks: Annotated[bool, typer.Option("--follow-symlinks", help="Follow links; loops are found.")] = False,
    encoding: Annotated[
        str | None, typer.Option(metavar="NAME", help="Encoding to try when a file is not UTF-8.")
    ] = None,
    max_bytes: Annotated[int, typer.Option(min=1, help="Larger files fail unread.")] = 16 * 1024 * 1024,
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.001, help="Give up on a file that does not answer.")
    ] = None,
    ignore_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Rules as in .gitignore: what to pass over below each PATH.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a run that was interrupted.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing FILE; drop an interrupted run.")] = False,
    fail_fast: Annotated[bool, typer.Option("--fail-fast", help="Stop at the first document that fails.")] = False,
    rows: Annotated[int, typer.Option(min=0, help="Rows in the table on the screen.")] = 20,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Attribute every document below PATH and write one row for each."""
    from authorid.console import Screen
    from authorid.documents import ReadOptions, digest
    from authorid.engine import EngineOptions
    from authorid.interrupts import Interrupts
    from authorid.patience import Patience
    from authorid.pipeline import Scorer
    from authorid.results import format_for, reserve, run_settings
    from authorid.stats import RunStats

    screen = Screen(quiet=quiet)
    _check_encoding(encoding)
    ignore = _lines(ignore_file)
    if resume and out in (None, "-"):
        raise typer.BadParameter("there is nothing to resume without --out FILE", param_hint="--resume")
    if stats is not None and out not in (None, "-") and os.path.realpath(stats) == os.path.realpath(str(out)):
        raise typer.BadParameter("the statistics would replace the results: name another file", param_hint="--stats")
    if stats is not None:
        _check_writable(stats)
    with reserve(out, resume=resume, force=force) as place, Patience(timeout) as patience:
        if place.complete:
            screen.say(f"{out} is there and nothing was interrupted: nothing to resume (--force scores again)")
            return
        options = ReadOptions(
            include=tuple(include or ()),
            exclude=tuple(exclude or ()),
            ignore=ignore,
            follow_symlinks=follow_symlinks,
            hidden=hidden,
            encoding=encoding,
            max_bytes=max_bytes,
            timeout=timeout,
            skip=place.files | {str(Path(path).absolute()) for path in (out, stats) if path not in (None, "-")},
        )
        scorer = Scorer.load(
            model,
            EngineOptions(precision.value, workers, threads, batch_tokens, provider.value),
            effort=effort.value,
            max_false_attribution=max_false_attribution,
        )
        for notice in scorer.notices:
            screen.complain(f"warning: {notice}")
        kind = format_for(out or "", form)
        settings = run_settings(scorer, paths, options, form=kind, top=top, evidence=evidence)
        run = RunStats()
        shown: list[Attribution] = []
        started = time.perf_counter()
        with (
            Interrupts(scorer.stop) as interrupts,
            place.open(
                kind, top=top, settings=settings, digest=lambda found: digest(found, options, patience)
            ) as output,
            screen.progress("Scoring") as advance,
            closing(
                scorer.score(_named(paths, interrupts), options, evidence=evidence, stats=run, recall=output.recall)
            ) as attributions,
        ):

            def take(attribution: Attribution) -> None:
                with run.stages.stage("write"):
                    output.write(attribution)
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
        screen.complain(f"error: {trouble}; {output.saved}{_how_to_resume(place)}")
        raise typer.Exit(interrupts.exit_code or EXIT_FATAL)
    about = scorer.describe()
    if earlier is not None:
        about["resumed"] = {"kept": earlier.kept, "changed": earlier.changed, "vanished": earlier.vanished}
    report = run.report(seconds, about)
    if stats is not None:
        _write_json(stats, report)
    _tell_finished(screen, run, shown, report)
    if run.status["failed"]:
        raise typer.Exit(EXIT_SOME_FAILED)


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


def _named(paths: list[str], interrupts: Interrupts) -> Iterator[str]:
    """The paths on the command line, and where one of them is ``-``, those listed on standard input."""
    from authorid.documents import listed_paths
    from authorid.errors import AuthoridError

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
        raise typer.BadParameter(f"{ignore_file}: {error.strerror}", param_hint="--ignore-file") from None
    return tuple(os.fsdecode(line) for line in lines)


def _tell_resumed(screen: Screen, earlier: Earlier, *, complete: bool) -> None:
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


def _how_to_resume(place: Place) -> str:
    if place.target is None:
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
        raise typer.BadParameter(f"Python knows no text encoding {encoding!r}", param_hint="--encoding") from None


class RecipeChoice(StrEnum):
    """Ways to fine-tune."""

    windows = "windows"
    seed = "seed"


class TrainPrecision(StrEnum):
    """Precisions to compute in while training; variables stay float32."""

    float32 = "float32"
    bfloat16 = "bfloat16"


class PoolingChoice(StrEnum):
    """How the token states of a window become one vector."""

    first = "first"
    mean = "mean"


class SplitChoice(StrEnum):
    """How validation documents are chosen."""

    random = "random"
    last = "last"
    shifted = "shifted"


@app.command()
def train(
    context: typer.Context,
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A directory with one directory per author.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="RUN", help="Where to put the run directory.")],
    base_model: Annotated[
        str, typer.Option(metavar="DIR|HUB_ID", help="BERT or DistilBERT checkpoint in Hugging Face layout.")
    ] = "distilbert-base-uncased",
    recipe: Annotated[
        RecipeChoice,
        typer.Option(help="windows: whole documents in windows; seed: first 512 tokens, Adam 5e-5."),
    ] = RecipeChoice.windows,
    epochs: Annotated[int | None, typer.Option(min=1, help="Passes over the corpus.  [4; seed: 20]")] = None,
    batch: Annotated[int | None, typer.Option(min=1, help="Examples in a step.  [32; seed: 2]")] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest learning rate.  [3e-4; seed: 5e-5]")] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of everything random.  [1; seed: 1000]")] = None,
    window: Annotated[int | None, typer.Option(min=8, help="Window length in tokens.  [128; seed: 512]")] = None,
    stride: Annotated[int | None, typer.Option(min=1, help="Tokens between window starts.  [window - 2]")] = None,
    pooling: Annotated[
        PoolingChoice | None,
        typer.Option(help="What of a window is classified: its first token, or the mean of its tokens.  [first]"),
    ] = None,
    funnel: Annotated[
        bool | None,
        typer.Option(
            "--funnel/--no-funnel",
            help="After a third of the layers, go on with every second token or with all.  [yes; seed: no]",
        ),
    ] = None,
    validation_split: Annotated[float, typer.Option(help="Share of documents held out; 0: none.")] = 0.2,
    validation: Annotated[
        SplitChoice | None,
        typer.Option(
            help="Which are held out. last: each author's last by file name; shifted: these if names carry numbers, "
            "else those at one end of the author's range of subjects.  [shifted; seed: random]"
        ),
    ] = None,
    label_smoothing: Annotated[float, typer.Option(help="Share of the target given to all authors alike.")] = 0.0,
    topic_dropout: Annotated[
        float | None, typer.Option(help="Highest rate at which a window loses its rare words.  [1; seed: 0]")
    ] = None,
    residual: Annotated[
        bool | None,
        typer.Option(
            "--residual/--no-residual",
            help="Train the encoder on what the n-grams leave unexplained, or on its own.  [no]",
        ),
    ] = None,
    train_embeddings: Annotated[
        bool | None,
        typer.Option("--train-embeddings/--freeze-embeddings", help="Tune word embeddings.  [no; seed: yes]"),
    ] = None,
    precision: Annotated[
        TrainPrecision, typer.Option(help="bfloat16 is faster on CPUs that have it.")
    ] = TrainPrecision.float32,
    encoder: Annotated[
        bool, typer.Option("--encoder/--no-encoder", help="Tune an encoder too, or fit n-grams only: seconds.")
    ] = True,
    test_corpus: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Held-out corpus to measure the finished model on.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a training that was interrupted.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace an existing run.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Fit n-grams and fine-tune an encoder on CORPUS, and write a run directory."""
    from authorid.console import Screen, TrainingProgress
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
        "pooling": None if pooling is None else pooling.value,
        "funnel": funnel,
        "topic_dropout": topic_dropout,
        "residual": residual,
        "validation_how": None if validation is None else validation.value,
        "freeze_embeddings": None if train_embeddings is None else not train_embeddings,
    }
    options = TrainingOptions(
        base_model=base_model,
        recipe=recipe.value,
        validation_split=validation_split,
        label_smoothing=label_smoothing,
        precision=precision.value,
        **{name: value for name, value in given.items() if value is not None},
    )
    with TrainingProgress(screen) as report:
        run = run_training(corpus, out, options, test_corpus=test_corpus, resume=resume, force=force, report=report)
    metrics = [(name.replace("_", " "), f"{value:.4f}") for name, value in run.metrics.items()]
    screen.table("Training", [("measure", False), ("last epoch", True)], metrics)
    screen.say(f"run written to {out}; next: authorid export {out} --out BUNDLE --quantize")


_NGRAM_OPTIONS = {"corpus", "out", "encoder", "test_corpus", "force", "quiet"}
"""Parameters of `train` that mean something without an encoder."""


def _refuse(context: typer.Context, idle: Collection[str | None], reason: str) -> None:
    """A usage error when one of the parameters `idle`, which would do nothing, is on the command line."""
    for parameter in context.command.params:
        if parameter.name is None or parameter.name not in idle:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise typer.BadParameter(reason, param_hint=" / ".join([*parameter.opts, *parameter.secondary_opts]))


def _train_ngrams(screen: Screen, corpus: Path, out: Path, *, test_corpus: Path | None, force: bool) -> None:
    from authorid.training.measure import evaluate_model
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
def evaluate(
    context: typer.Context,
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="A run directory or a bundle.")],
    corpus: Annotated[Path, typer.Argument(metavar="CORPUS", help="A directory with one directory per author.")],
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every figure as JSON.")
    ] = None,
    plots: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write confusion, reliability, risk and length as PNG.")
    ] = None,
    strangers: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Documents by authors that MODEL does not know.")
    ] = None,
    effort: Annotated[EffortChoice, typer.Option(help="The effort to measure, as in score.")] = EffortChoice.auto,
    ablation: Annotated[
        bool, typer.Option("--ablation/--no-ablation", help="Measure every effort, and each expert alone.")
    ] = True,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Which of a bundle's graphs to run.")
    ] = PrecisionChoice.auto,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Measure MODEL on documents whose authors are known."""
    from authorid.bundle import MANIFEST
    from authorid.console import Screen
    from authorid.errors import require
    from authorid.training.measure import examine

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
            precision=precision.value,
            effort=effort.value,
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
def export(
    context: typer.Context,
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A run directory that train has written.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="BUNDLE", help="Where to put the bundle.")],
    quantize: Annotated[bool, typer.Option("--quantize", help="Make the INT8 graph too.")] = False,
    fp32: Annotated[bool, typer.Option("--fp32/--no-fp32", help="Keep the float32 graph in the bundle.")] = True,
    name: Annotated[str | None, typer.Option(help="Name of the model, for its card and the statistics.")] = None,
    encoder: Annotated[
        Path | None, typer.Option(metavar="BUNDLE", help="Put the n-grams of RUN beside the encoder of this bundle.")
    ] = None,
    encoder_weight: Annotated[
        float | None, typer.Option(min=0.0, help="Weight of the encoder beside the n-grams; default: as measured.")
    ] = None,
    openvino: Annotated[
        bool, typer.Option("--openvino", help="Add graphs in OpenVINO's dialect, for --provider openvino.")
    ] = False,
    corpus: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="The training corpus; by default, where the run says it was."),
    ] = None,
    verify_on: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Compare the graphs on this corpus instead.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which windows INT8 is calibrated on.")] = 0,
    license_name: Annotated[
        str, typer.Option("--license", metavar="NAME", help="License of the weights, for the model card.")
    ] = "other",
    force: Annotated[
        bool, typer.Option("--force", help="Replace a bundle, and write even a graph that fails its checks.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Turn a training run into an ONNX bundle, verified before it is written."""
    from authorid.bundle import MANIFEST
    from authorid.console import Screen
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
        raise typer.BadParameter(f"{run} has an encoder of its own", param_hint="--encoder")
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
def tune(
    model: Annotated[
        Path | None, typer.Option("--model", "-m", metavar="BUNDLE", help="Model to tune instead of the embedded one.")
    ] = None,
    precision: Annotated[
        PrecisionChoice, typer.Option(help="Which of the model's graphs to tune.")
    ] = PrecisionChoice.auto,
    provider: Annotated[
        ProviderChoice, typer.Option(help="Whose kernels to tune; auto: all, and the fastest is what auto means.")
    ] = ProviderChoice.auto,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure, in all.")] = 60.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Measure how the model runs fastest on this machine; score will use it."""
    from authorid.bundle import load_bundle
    from authorid.console import Screen
    from authorid.models import default_bundle
    from authorid.tuning import tune as run_tuning

    screen = Screen(quiet=quiet)
    bundle = load_bundle(model or default_bundle())
    with screen.progress("Tuning") as advance:
        trials = run_tuning(
            bundle, precision.value, provider=provider.value, seconds=seconds, advance=advance, told=screen.say
        )
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
def bench(
    model: Annotated[
        Path | None,
        typer.Option("--model", "-m", metavar="BUNDLE", help="Model to measure instead of the embedded one."),
    ] = None,
    documents: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Documents to score from end to end; default: generated ones.")
    ] = None,
    record: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write what was measured as JSON.")
    ] = None,
    seconds: Annotated[float, typer.Option(min=0.1, help="How long to measure, in all.")] = 40.0,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Nothing on the screen but errors.")] = False,
) -> None:
    """Measure how fast the model is on this machine: latency, throughput, documents per second."""
    from authorid.benchmark import BenchOptions, run_benchmark, tables
    from authorid.console import Screen

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
    from authorid.errors import OutputError, reason

    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {reason(error)}") from None


def _check_writable(path: Path) -> None:
    """Raises `OutputError` where a file cannot be written, before there is anything to write; leaves no trace."""
    from tempfile import TemporaryFile

    from authorid.errors import OutputError, reason

    try:
        if path.is_dir():
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if not path.exists():
            with TemporaryFile(dir=path.parent):
                return
        if not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {reason(error)}") from None


def _write_json(path: Path, record: dict[str, Any]) -> None:
    from authorid.errors import OutputError, reason

    try:
        path.write_text(json.dumps(record, indent=2) + "\n", "utf-8")
    except OSError as error:
        raise OutputError(f"{path}: cannot write there: {reason(error)}") from None


if __name__ == "__main__":
    main()
