"""``authorid verify``: whether one author wrote two groups of texts."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authorid.cli.exit_codes import EXIT_SOME_FAILED
from authorid.cli.files import check_writable, write_json
from authorid.cli.options import PATH, SectionedCommand, document_options

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.inputs.documents import Document, ReadOptions

__all__ = ["verify"]

_PLAIN_WIDTH = 100


@click.command(cls=SectionedCommand)
@click.argument("known", metavar="KNOWN")
@click.argument("questioned", metavar="QUESTIONED")
@click.option(
    "--imposters",
    required=True,
    metavar="DIR",
    help="Texts by other authors: of the same language, genre and time. The answer depends on them.",
)
@click.option("--json", "json_file", type=PATH, metavar="FILE", help="Write the answers as JSON; - is stdout.")
@document_options
def verify(known: str, questioned: str, imposters: str, json_file: Path | None, documents: ReadOptions) -> None:
    """Verify whether one author wrote KNOWN and QUESTIONED.

    Both are files or directories. KNOWN has texts by one author; each document in QUESTIONED gets an answer.
    """
    from authorid.cli.console import Terminal
    from authorid.errors import CorpusError
    from authorid.inputs.documents import Failure
    from authorid.training.imposters import Verifier

    terminal = Terminal()
    to_stdout = json_file == Path("-")
    if json_file is not None and not to_stdout:
        check_writable(json_file)
    own = _texts(known, documents, terminal)
    try:
        verifier = Verifier([text.text for text in own], [text.text for text in _texts(imposters, documents, terminal)])
    except ValueError as error:
        raise CorpusError(f"{known} and {imposters}: {error}") from None
    records: list[dict[str, Any]] = []
    for item in _read([questioned], documents):
        try:
            if isinstance(item, Failure):
                raise ValueError(item.reason)
            found = verifier.verify(item.text)
        except ValueError as error:
            terminal.warning(f"{item.ref}: {error}")
            records.append(
                {"path": item.ref.source, "member": item.ref.member, "status": "failed", "error": str(error)}
            )
            continue
        parts = {"path": item.ref.source, "member": item.ref.member, "status": "scored", **asdict(found)}
        parts["known_z"] = dict(zip((str(text.ref) for text in own), found.known_z, strict=True))
        records.append(parts)
    scored = [record for record in records if record["status"] == "scored"]
    if not records:
        terminal.warning("no documents found")
    if to_stdout:
        click.echo(json.dumps({"documents": records}, indent=2))
    elif scored:
        _show(scored)
    if json_file is not None and not to_stdout:
        write_json(json_file, {"documents": records})
    if len(scored) < len(records):
        raise click.exceptions.Exit(EXIT_SOME_FAILED)


def _read(paths: Iterable[str], options: ReadOptions) -> Iterable[Any]:
    """The documents and failures of `paths`."""
    from authorid.scoring.run_inputs import read_files

    return read_files(paths, options, None)


def _texts(path: str, options: ReadOptions, terminal: Terminal) -> list[Document]:
    """The documents of `path`, with a warning for each that cannot be read."""
    from authorid.inputs.documents import Document

    texts = []
    for item in _read([path], options):
        if isinstance(item, Document):
            texts.append(item)
        else:
            terminal.warning(f"{item.ref}: left out, {item.reason}")
    return texts


def _show(records: list[dict[str, Any]]) -> None:
    """A row for each answer on standard output."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from authorid.outputs.escaping import visible

    console = Console(highlight=False, markup=False, emoji=False)
    table = Table(box=None, pad_edge=False)
    if not console.is_terminal:
        console.width = _PLAIN_WIDTH
    widths = {"one author": 10, "z": 7, "samples": 9}
    room = console.width - sum(width + 2 for width in widths.values())
    table.add_column("document", overflow="ellipsis", no_wrap=True, max_width=max(8, room))
    for name, width in widths.items():
        table.add_column(name, justify="right", no_wrap=True, min_width=width)
    for record in records:
        samples = f"{record['known_samples']} x {record['questioned_samples']}"
        name = record["path"] if record["member"] is None else f"{record['path']}#{record['member']}"
        table.add_row(Text(visible(name)), f"{record['score']:.1%}", f"{record['z']:+.2f}", samples)
    console.print(table)
