"""``authorid export``: turn a training run, or a classifier from elsewhere, into a bundle."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authorid.cli.options import (
    PATH,
    AdvancedOption,
    FiniteRange,
    SectionedCommand,
    option_group,
    quiet_option,
    refuse_options,
    usage_error,
    verbose_option,
)
from authorid.cli.resuming import explaining_interrupts

if TYPE_CHECKING:
    from authorid.cli.console import Terminal

__all__ = ["export"]

_NGRAM_EXPORT_OPTIONS = {"source", "out", "name", "encoder", "encoder_weight", "force", "quiet", "verbose", "config"}
"""The parameters that have an effect when SOURCE is an n-gram run, which is a bundle already."""


@option_group(
    "Graphs",
    "graph_options",
    click.option("--quantize", is_flag=True, help="Add an INT8 graph."),
    click.option("--fp32/--no-fp32", default=True, help="Keep the float32 graph in the bundle, or leave it out."),
    click.option("--openvino", is_flag=True, help="Add graphs for --provider openvino."),
    click.option(
        "--corpus",
        type=PATH,
        metavar="PATH",
        show_default="as recorded in a run",
        help="Documents to calibrate INT8 on: a directory, a file or a table, without labels; for a run, its corpus.",
    ),
    click.option("--text-column", metavar="NAME", help="The column of texts, where --corpus is a table."),
    click.option(
        "--verify-on",
        cls=AdvancedOption,
        type=PATH,
        metavar="DIR",
        help="Compare the graphs on this corpus, with a directory for each class, instead of on held-out documents.",
    ),
    click.option(
        "--seed",
        cls=AdvancedOption,
        type=click.IntRange(min=0),
        default=0,
        help="Random seed for choosing the windows that calibrate INT8.",
    ),
    click.option(
        "--license",
        "license_name",
        cls=AdvancedOption,
        default="other",
        metavar="NAME",
        help="License of the weights, for the model card.",
    ),
)
def _graph_options(
    quantize: bool,
    fp32: bool,
    openvino: bool,
    corpus: Path | None,
    text_column: str | None,
    verify_on: Path | None,
    seed: int,
    license_name: str,
) -> dict[str, Any]:
    """Arguments of `ExportOptions`: the class itself needs the extra that an n-gram run does without."""
    return {
        "quantize": quantize,
        "keep_fp32": fp32,
        "openvino": openvino,
        "corpus": corpus,
        "text_column": text_column,
        "verify_on": verify_on,
        "seed": seed,
        "license_name": license_name,
    }


@option_group(
    "Models from elsewhere",
    "reading_options",
    click.option(
        "--windows",
        is_flag=True,
        help="Read whole documents, in windows; other tools truncate them.",
    ),
    click.option(
        "--max-length",
        cls=AdvancedOption,
        type=click.IntRange(min=8),
        show_default="the model's own",
        help="Tokens that the model reads at once, special tokens included.",
    ),
    click.option(
        "--allow-pickle",
        is_flag=True,
        help="Read weights from pytorch_model.bin: only its tensors, and no code.",
    ),
)
def _reading_options(windows: bool, max_length: int | None, allow_pickle: bool) -> dict[str, Any]:
    """Arguments of `ExportOptions`."""
    return {"windows": windows, "max_length": max_length, "allow_pickle": allow_pickle}


@click.command(cls=SectionedCommand)
@click.argument("source", required=False, metavar="[SOURCE]")
@click.option(
    "--out", "-o", type=PATH, metavar="BUNDLE", show_default="SOURCE-bundle", help="Directory for the bundle."
)
@click.option("--name", help="Name of the model, for its card and the statistics.")
@click.option(
    "--encoder",
    type=PATH,
    metavar="BUNDLE",
    help="Combine the n-gram model of SOURCE with the encoder of this bundle.",
)
@click.option(
    "--encoder-weight",
    cls=AdvancedOption,
    type=FiniteRange(min=0.0),
    show_default="as fitted",
    help="Weight of the encoder relative to the n-gram model.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle, and write graphs that fail their checks.")
@_graph_options
@_reading_options
@quiet_option
@verbose_option
@click.pass_context
def export(
    context: click.Context,
    source: str | None,
    out: Path | None,
    name: str | None,
    encoder: Path | None,
    encoder_weight: float | None,
    force: bool,
    graph_options: dict[str, Any],
    reading_options: dict[str, Any],
    quiet: bool,
    verbose: bool,
) -> None:
    """Convert a classifier to a verified ONNX bundle.

    SOURCE is a run that train has written, a fine-tuned classifier in Hugging Face layout (a directory or a hub id), or
    an ONNX file with its tokenizer. By default it is the directory run, or else the newest run below the working
    directory. Nothing is written when a graph fails its checks.
    """
    from authorid.bundle.manifest import MANIFEST
    from authorid.cli.console import Terminal
    from authorid.cli.model_places import bundle_for

    terminal = Terminal(quiet=quiet, verbose=verbose)
    chosen = source is None or out is None
    source = source or _default_source()
    out = bundle_for(source) if out is None else out
    if chosen:
        terminal.info(f"exporting {source} to {out}")
    if (Path(source) / MANIFEST).is_file():
        refuse_options(
            context,
            {parameter.name for parameter in context.command.params} - _NGRAM_EXPORT_OPTIONS,
            f"{source} is a bundle, and its graphs stay as they are; this option is for a run with an encoder",
        )
        _export_ngrams(terminal, Path(source), out, encoder=encoder, weight=encoder_weight, name=name, force=force)
    else:
        if encoder is not None:
            raise usage_error(f"{source} has an encoder of its own", "--encoder")
        options = {"name": name, "encoder_weight": encoder_weight, "force": force, **graph_options, **reading_options}
        _export_encoder(terminal, source, out, options)
    shown = shlex.quote(str(out))
    terminal.info(f"bundle written to {out}; next: authorid score DOCUMENTS --model {shown} --out results.csv")


def _default_source() -> str:
    from authorid.cli.model_places import default_source

    found = default_source()
    if found is None:
        raise click.UsageError(
            "There is no training run here: name a SOURCE, which is a run, a fine-tuned classifier in Hugging Face "
            "layout or an ONNX file."
        )
    return str(found)


def _export_ngrams(terminal: Terminal, run: Path, out: Path, **options: Any) -> None:
    from authorid.outputs.directory import reserve_directory
    from authorid.training.ngram_run import export_ngrams

    with terminal.progress("Export") as reporter, reserve_directory(out, reporter):
        pass  # what a killed process left is put right and reported
    export_ngrams(run, out, **options)


def _export_encoder(terminal: Terminal, source: str, out: Path, options: Mapping[str, Any]) -> None:
    from authorid.errors import require

    library = require("authorid.export", "train")
    with explaining_interrupts(terminal, out), terminal.progress("Export") as reporter:
        report = library.export_model(source, out, library.ExportOptions(**options), reporter=reporter)
    terminal.table("Parity", [("check", False), ("value", True), ("bound", True), ("", False)], report.rows)
