"""``authorid train``: train a model on a directory of authors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import click

from authorid.cli.model_places import DEFAULT_RUN
from authorid.cli.options import (
    PATH,
    SAMPLES_TO_LEARN_FROM,
    AdvancedOption,
    FiniteRange,
    SectionedCommand,
    Share,
    all_authors_option,
    document_options,
    exclude_author_option,
    is_given,
    option_group,
    quiet_option,
    refuse_options,
    sample_words_option,
    usage_error,
    verbose_option,
)
from authorid.cli.quantities import ByteSize
from authorid.cli.resuming import explaining_interrupts

if TYPE_CHECKING:
    from authorid.bundle.manifest import Typography
    from authorid.cli.console import Terminal
    from authorid.inputs.documents import ReadOptions
    from authorid.training.corpus_spec import CorpusSpec
    from authorid.training.ngram_options import NgramOptions
    from authorid.training.recipes import TrainingOptions
    from authorid.training.run_directory import Existing

__all__ = ["train"]

_ENCODER_TRAINING_OPTIONS = {"resume"}
"""The parameters besides those in the group of the encoder that have no effect with --no-encoder."""


class EncoderChoice(NamedTuple):
    """How to train the encoder; None when there is none, for the `reason`, if that is not the user's wish."""

    options: TrainingOptions | None
    reason: str = ""


class _RecipeChoice(click.Choice[str]):
    """The name of a recipe; ``seed``, the former name of ``classic``, is accepted too."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        return super().convert("classic" if value == "seed" else value, param, ctx)


@option_group(
    "Encoder",
    "encoder",
    click.option(
        "--encoder/--no-encoder",
        default=None,
        show_default="encoder, if TensorFlow is installed",
        help="Train an encoder beside the n-grams, or fit only the n-grams, which takes seconds.",
    ),
    click.option(
        "--base-model",
        default="distilbert-base-uncased",
        metavar="DIR|HUB_ID",
        help="BERT or DistilBERT checkpoint in Hugging Face layout.",
    ),
    click.option(
        "--recipe",
        type=_RecipeChoice(["probe", "tune", "windows", "classic"]),
        default="probe",
        help="probe: fit a head to what the lower layers of the pretrained encoder compute, in one pass; tune: then "
        "train these layers a little, if that helps; windows: fine-tune on all windows of each document; classic: on "
        "its first 512 tokens, with Adam at 5e-5.",
    ),
    click.option(
        "--layers",
        type=click.IntRange(min=1),
        show_default="chosen on the held-out documents, at most 3",
        help="Layers of the encoder that the probe uses. Fewer are faster.",
    ),
    click.option(
        "--epochs",
        type=click.IntRange(min=1),
        show_default="tune: 2; windows: 4; classic: 20",
        help="Passes over the corpus. The probe has none, and none of the options below but the seed, the window, the "
        "stride and those of the validation.",
    ),
    click.option(
        "--batch",
        cls=AdvancedOption,
        type=click.IntRange(min=1),
        show_default="tune, windows: 32; classic: 2",
        help="Examples in a training step.",
    ),
    click.option(
        "--learning-rate",
        cls=AdvancedOption,
        type=FiniteRange(min=0.0, min_open=True),
        show_default="tune: 2e-5; windows: 3e-4; classic: 5e-5",
        help="Peak learning rate.",
    ),
    click.option(
        "--seed", cls=AdvancedOption, type=click.IntRange(min=0), show_default="1; classic: 1000", help="Random seed."
    ),
    click.option(
        "--window",
        cls=AdvancedOption,
        type=click.IntRange(min=8),
        show_default="128; classic: 512",
        help="Window length in tokens.",
    ),
    click.option(
        "--stride",
        cls=AdvancedOption,
        type=click.IntRange(min=1),
        show_default="window - 2",
        help="Tokens between window starts.",
    ),
    click.option(
        "--pooling",
        cls=AdvancedOption,
        type=click.Choice(["first", "mean"]),
        show_default="first",
        help="Classify the first token of a window, or the mean of its tokens.",
    ),
    click.option(
        "--funnel/--no-funnel",
        cls=AdvancedOption,
        default=None,
        show_default="windows: yes; classic: no",
        help="Drop every second token after a third of the layers, or keep all.",
    ),
    click.option(
        "--validation-split",
        cls=AdvancedOption,
        type=Share(max_open=True),
        metavar="SHARE",
        default=0.2,
        help="Share of documents held out; 0: none.",
    ),
    click.option(
        "--validation",
        cls=AdvancedOption,
        type=click.Choice(["random", "last", "shifted"]),
        show_default="shifted; classic: random",
        help="Documents to hold out. last: the last of each author by file name; shifted: the last if file names "
        "carry numbers, else those at one end of the author's range of subjects.",
    ),
    click.option(
        "--label-smoothing",
        cls=AdvancedOption,
        type=Share(max_open=True),
        metavar="SHARE",
        default=0.0,
        help="Share of the target probability to spread over all authors.",
    ),
    click.option(
        "--topic-dropout",
        cls=AdvancedOption,
        type=Share(),
        metavar="SHARE",
        show_default="tune: 0.3; windows: 1; classic: 0",
        help="Highest rate at which a window loses its rare words.",
    ),
    click.option(
        "--train-embeddings/--freeze-embeddings",
        cls=AdvancedOption,
        default=None,
        show_default="tune, windows: freeze; classic: train",
        help="Train the word embeddings, or keep them fixed.",
    ),
    click.option(
        "--precision",
        cls=AdvancedOption,
        type=click.Choice(["float32", "bfloat16"]),
        default="float32",
        help="Number format to train in; bfloat16 is faster on CPUs that support it.",
    ),
)
def _encoder_options(
    encoder: bool | None,
    base_model: str,
    recipe: Literal["probe", "tune", "windows", "classic"],
    layers: int | None,
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
    train_embeddings: bool | None,
    precision: Literal["float32", "bfloat16"],
) -> EncoderChoice:
    """How to train the encoder, if there is one."""
    context = click.get_current_context()
    grouped = {option.name for option in context.command.params if getattr(option, "group", "") == "Encoder"}
    for_encoder = grouped - {"encoder"} | _ENCODER_TRAINING_OPTIONS
    if encoder is False:
        refuse_options(context, for_encoder, "this option is for an encoder, and there is none with --no-encoder")
        return EncoderChoice(None)
    from authorid.training.encoder.train import missing_extra

    wanted = encoder or any(is_given(context, name) for name in for_encoder)
    if not wanted and (error := missing_extra()):
        return EncoderChoice(None, f"only the n-gram model is fitted; for an encoder, {error}")
    from authorid.training.recipes import TrainingOptions

    given: dict[str, Any] = {
        "layers": layers,
        "epochs": epochs,
        "batch": batch,
        "learning_rate": learning_rate,
        "seed": seed,
        "window": window,
        "stride": stride,
        "pooling": pooling,
        "funnel": funnel,
        "topic_dropout": topic_dropout,
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
    return EncoderChoice(options)


@click.command(cls=SectionedCommand)
@click.argument("corpus", type=PATH, metavar="CORPUS")
@click.option("--out", "-o", type=PATH, default=DEFAULT_RUN, metavar="RUN", help="Directory for the run.")
@click.option("--test-corpus", type=PATH, metavar="DIR", help="Evaluate the finished model on this corpus.")
@click.option(
    "--keep-typography",
    is_flag=True,
    help="Learn from quotes, dashes, spaces and ligatures as they are, not in the form that a keyboard has. "
    "The classic recipe always does.",
)
@click.option("--resume", is_flag=True, help="Continue an interrupted training.")
@click.option("--force", is_flag=True, help="Replace an existing run.")
@sample_words_option(f"For the n-gram model. {SAMPLES_TO_LEARN_FROM}")
@click.option(
    "--max-size",
    cls=AdvancedOption,
    type=ByteSize(),
    show_default="11M; more than 250 authors: more in proportion",
    help="Size of a bundle without an encoder, at most, such as 50M: the rarest n-grams are left out.",
)
@exclude_author_option
@all_authors_option
@_encoder_options
@document_options
@quiet_option
@verbose_option
def train(
    corpus: Path,
    out: Path,
    test_corpus: Path | None,
    keep_typography: bool,
    resume: bool,
    force: bool,
    exclude_authors: tuple[str, ...],
    all_authors: bool,
    sample_words: int | None,
    max_size: int | None,
    encoder: EncoderChoice,
    documents: ReadOptions,
    quiet: bool,
    verbose: bool,
) -> None:
    """Train a model on CORPUS and write a run directory.

    The model has two parts: an n-gram model is fitted, and an encoder is trained. CORPUS is a directory with one
    directory per author, or with files called Author_Title.txt.
    """
    from authorid.cli.console import Terminal
    from authorid.training.corpus_spec import CorpusSpec
    from authorid.training.ngram_options import NgramOptions

    terminal = Terminal(quiet=quiet, verbose=verbose)
    spec = CorpusSpec(corpus, documents, exclude_authors, all_authors)
    if encoder.options is None:
        if encoder.reason:
            terminal.info(encoder.reason)
        typography: Typography = "kept" if keep_typography else "folded"
        ngrams = NgramOptions(typography=typography, sample_words=sample_words, max_size=max_size)
        _train_ngrams(terminal, spec, out, ngrams, test_corpus=test_corpus, force=force)
        return
    from authorid.training import train as run_training

    if max_size is not None:
        raise usage_error("only a model without an encoder has this limit; add --no-encoder", "--max-size")
    if resume and force:
        raise usage_error("--resume continues a training, --force starts it over: choose one", "--resume")
    options = replace(encoder.options, sample_words=sample_words)
    if keep_typography:
        options = replace(options, typography="kept")
    existing: Existing = "resume" if resume else "replace" if force else "refuse"
    with explaining_interrupts(terminal, out), terminal.progress("Training") as reporter:
        run = run_training(spec, out, options, test_corpus=test_corpus, existing=existing, reporter=reporter)
    metrics = [(name.replace("_", " "), f"{value:.4f}") for name, value in run.metrics.items()]
    terminal.table("Training", [("metric", False), ("last epoch", True)], metrics)
    terminal.info(f"run written to {out}; next: authorid export {out} --quantize")


def _train_ngrams(
    terminal: Terminal, corpus: CorpusSpec, out: Path, options: NgramOptions, *, test_corpus: Path | None, force: bool
) -> None:
    from authorid.cli.result_tables import show_metrics
    from authorid.training.evaluate import EvaluationOptions, evaluate
    from authorid.training.ngram_run import train_ngrams

    with explaining_interrupts(terminal, out), terminal.progress("Training") as reporter:
        train_ngrams(corpus, out, options, test_corpus=test_corpus, force=force, reporter=reporter)
    if test_corpus is not None:
        with terminal.progress("Evaluating") as reporter:
            report = evaluate(out, corpus.at(test_corpus), EvaluationOptions(ablation=False), reporter=reporter)
        show_metrics(terminal, report.metrics)
    terminal.info(
        f"run written to {out}, which is also a bundle; next: authorid score DOCUMENTS --model {out} --out results.csv"
    )
