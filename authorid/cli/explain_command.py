"""``authorid explain``: the n-grams and passages that speak for and against an author."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authorid.cli.exit_codes import EXIT_SOME_FAILED
from authorid.cli.files import check_writable, write_json
from authorid.cli.options import (
    EFFORT,
    OWN_EFFORT,
    PATH,
    SectionedCommand,
    document_options,
    max_windows_option,
    model_option,
    option_group,
    usage_error,
)

if TYPE_CHECKING:
    from authorid.inputs.documents import ReadOptions
    from authorid.scoring.cascade import Effort
    from authorid.scoring.explanation import Explanation
    from authorid.scoring.rolling import RollingOptions

__all__ = ["explain"]


@option_group(
    "Rolling attribution",
    "rolling",
    click.option(
        "--rolling", is_flag=True, help="Attribute the parts of each document, and show where authors change."
    ),
    click.option("--window", type=click.IntRange(min=1), default=100, help="Words of a window."),
    click.option("--step", type=click.IntRange(min=1), default=25, help="Words from one window to the next."),
)
def _rolling_options(rolling: bool, window: int, step: int) -> RollingOptions | None:
    from authorid.scoring.rolling import RollingOptions

    try:
        options = RollingOptions(window, step)
    except ValueError as error:
        raise usage_error(str(error), "--step") from None
    return options if rolling else None


@click.command(cls=SectionedCommand)
@click.argument("paths", nargs=-1, required=True, metavar="FILE...")
@click.option("--author", metavar="NAME", help="Explain this author beside the answer, instead of the runner-up.")
@click.option("--text", "whole", is_flag=True, help="Show the whole text with its marks, not only passages.")
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the explanations as JSON; - is stdout.")
@model_option("Explain the answers of this model instead of the embedded one.")
@click.option(
    "--effort", type=EFFORT, show_default=OWN_EFFORT, help="Explain the answer at this effort; score explains them."
)
@max_windows_option
@_rolling_options
@document_options
def explain(
    paths: tuple[str, ...],
    author: str | None,
    whole: bool,
    json_file: Path | None,
    model: Path | None,
    effort: Effort | None,
    max_windows: int,
    rolling: RollingOptions | None,
    documents: ReadOptions,
) -> None:
    """Show what speaks for and against an author.

    These are n-grams, and passages of the text. The contributions of all n-grams make up the score of an author,
    relative to the mean of all authors. FILE may be a directory, too.
    """
    from authorid.cli.console import Terminal
    from authorid.cli.explanation_text import ExplanationText
    from authorid.encoder.engine_options import EngineOptions
    from authorid.scoring.attribution import Attribution
    from authorid.scoring.scorer import Scorer

    terminal = Terminal()
    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        check_writable(json_file)
    scorer = Scorer.load(model, EngineOptions(max_windows=max_windows), effort=effort)
    if author is not None and author not in scorer.bundle.authors:
        raise usage_error(f"the model {scorer.bundle.name} knows no author {author!r}", "--author")
    records: list[dict[str, Any]] = []
    failed = explained = 0
    screen = ExplanationText()
    for found in scorer.explain(paths, documents):
        if isinstance(found, Attribution):
            failed += 1
            terminal.warning(f"{found.ref}: {found.error}")
            records.append({"path": found.path, "member": found.member, "status": "failed", "error": found.error})
            continue
        explained += 1
        if json_file is not None:
            records.append(_record(found, author, rolling))
        if not to_stdout:
            screen.show(found, author, whole=whole, rolling=rolling)
    if not explained and not failed:
        terminal.warning("no documents found")
    if to_stdout:
        click.echo(json.dumps({"documents": records}, indent=2))
    elif json_file is not None:
        write_json(json_file, {"documents": records})
    if failed:
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _record(found: Explanation, author: str | None, rolling: RollingOptions | None) -> dict[str, Any]:
    record = found.to_json(author)
    if rolling is not None:
        record["rolling"] = found.segments(rolling).to_json()
    return record
