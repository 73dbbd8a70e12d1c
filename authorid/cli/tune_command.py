"""``authorid tune``: find the fastest way to run a model on this machine."""

from __future__ import annotations

from pathlib import Path

import click

from authorid.cli.options import (
    PRECISION,
    PROVIDER,
    FiniteRange,
    SectionedCommand,
    model_option,
    quiet_option,
    verbose_option,
)

__all__ = ["tune"]


@click.command(cls=SectionedCommand)
@model_option("Tune this model instead of the embedded one.")
@click.option("--precision", type=PRECISION, default="auto", help="Precision of the graph to tune.")
@click.option(
    "--provider",
    type=PROVIDER,
    default="auto",
    help="Inference backend to tune. auto: all of them; score then uses the fastest.",
)
@click.option("--seconds", type=FiniteRange(min=0.1), default=60.0, help="Time for the whole tuning.")
@quiet_option
@verbose_option
def tune(model: Path | None, precision: str, provider: str, seconds: float, quiet: bool, verbose: bool) -> None:
    """Find the fastest configuration for this machine.

    The result is remembered, and score uses it.
    """
    from authorid.bundle.manifest import load_bundle
    from authorid.cli.console import Terminal
    from authorid.cli.result_tables import show_trials
    from authorid.encoder.tuning import tune as run_tuning
    from authorid.models import default_bundle

    terminal = Terminal(quiet=quiet, verbose=verbose)
    bundle = load_bundle(model or default_bundle())
    with terminal.progress("Tuning") as reporter:
        trials = run_tuning(
            bundle,
            precision,
            provider=provider,
            seconds=seconds,
            reporter=reporter,
        )
    show_trials(terminal, bundle.name, trials)
