"""``authorid export``: turn a training run into a bundle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from authorid.cli.options import (
    PATH,
    FiniteRange,
    SectionedCommand,
    option_group,
    quiet_option,
    refuse_options,
    usage_error,
)

__all__ = ["export"]

_NGRAM_EXPORT_OPTIONS = {"run", "out", "name", "encoder", "encoder_weight", "force", "quiet"}
"""The parameters that have an effect when RUN is an n-gram run, which is a bundle already."""


@option_group(
    "Graphs",
    "graph_options",
    click.option("--quantize", is_flag=True, help="Add an INT8 graph."),
    click.option("--fp32/--no-fp32", default=True, help="Keep the float32 graph in the bundle, or leave it out."),
    click.option("--openvino", is_flag=True, help="Add graphs for --provider openvino."),
    click.option(
        "--corpus",
        type=PATH,
        metavar="DIR",
        show_default="as recorded in RUN",
        help="Directory of the training corpus.",
    ),
    click.option(
        "--verify-on",
        type=PATH,
        metavar="DIR",
        help="Compare the graphs on this corpus instead of on the validation documents of RUN.",
    ),
    click.option(
        "--seed",
        type=click.IntRange(min=0),
        default=0,
        help="Random seed for choosing the windows that calibrate INT8.",
    ),
    click.option(
        "--license",
        "license_name",
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
        "verify_on": verify_on,
        "seed": seed,
        "license_name": license_name,
    }


@click.command(cls=SectionedCommand)
@click.argument("run", type=PATH, metavar="RUN")
@click.option("--out", "-o", type=PATH, required=True, metavar="BUNDLE", help="Directory for the bundle.")
@click.option("--name", help="Name of the model, for its card and the statistics.")
@click.option(
    "--encoder",
    type=PATH,
    metavar="BUNDLE",
    help="Combine the n-gram model of RUN with the encoder of this bundle.",
)
@click.option(
    "--encoder-weight",
    type=FiniteRange(min=0.0),
    show_default="as fitted",
    help="Weight of the encoder relative to the n-gram model.",
)
@click.option("--force", is_flag=True, help="Replace an existing bundle, and write graphs that fail their checks.")
@_graph_options
@quiet_option
@click.pass_context
def export(
    context: click.Context,
    run: Path,
    out: Path,
    name: str | None,
    encoder: Path | None,
    encoder_weight: float | None,
    force: bool,
    graph_options: dict[str, Any],
    quiet: bool,
) -> None:
    """Convert a training run to a verified ONNX bundle.

    RUN is a run directory that train has written. Nothing is written when a graph fails its checks.
    """
    from authorid.bundle.manifest import MANIFEST
    from authorid.cli.console import Terminal
    from authorid.errors import require

    terminal = Terminal(quiet=quiet)
    if (run / MANIFEST).is_file():
        from authorid.outputs.directory import reserve_directory
        from authorid.training.ngram_run import export_ngrams

        without_effect = {parameter.name for parameter in context.command.params} - _NGRAM_EXPORT_OPTIONS
        refuse_options(
            context,
            without_effect,
            f"{run} is a bundle, and its graphs stay as they are; this option is for a run with an encoder",
        )
        with terminal.progress("Export") as reporter, reserve_directory(out, reporter):
            pass  # what a killed process left is put right and reported
        export_ngrams(run, out, encoder=encoder, weight=encoder_weight, name=name, force=force)
    else:
        if encoder is not None:
            raise usage_error(f"{run} has an encoder of its own", "--encoder")
        library = require("authorid.export", "train")
        options = library.ExportOptions(name=name, encoder_weight=encoder_weight, force=force, **graph_options)
        with terminal.progress("Export") as reporter:
            report = library.export_model(run, out, options, reporter=reporter)
        terminal.table("Parity", [("check", False), ("value", True), ("bound", True), ("", False)], report.rows)
    terminal.info(f"bundle written to {out}; next: authorid score DOCUMENTS --model {out} --out results.csv")
