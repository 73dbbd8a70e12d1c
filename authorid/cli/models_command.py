"""``authorid models``: which models are here, and what is in one of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from authorid.cli.files import STANDARD_OUTPUT, check_writable, write_json
from authorid.cli.options import HELP_OPTIONS, PATH, SectionedCommand

__all__ = ["models"]


@click.group(no_args_is_help=True, context_settings=HELP_OPTIONS)
def models() -> None:
    """List models, or show what is in one.

    A model is a bundle, which is a directory.
    """


_json_option = click.option(
    "--json", "json_file", type=PATH, metavar="FILE", help="Write the same as JSON; - is standard output."
)


@models.command("list", cls=SectionedCommand, parent="models")
@_json_option
def list_models(json_file: Path | None) -> None:
    """List the models that are here.

    These are the included one, the bundles in the working directory, and those in the cache. Their files are not
    verified; show does that.
    """
    from authorid.bundle.summary import summarize
    from authorid.cli.console import Terminal
    from authorid.cli.model_places import known_bundles

    if json_file is not None:
        check_writable(json_file)
    found = [{"place": place, **summarize(path)} for place, path in known_bundles()]
    keys = ("name", "place", "parts", "classes", "path", "problem")
    shown = [key for key in keys if key != "problem" or any(model["problem"] for model in found)]
    rows = [tuple("" if model[key] is None else model[key] for key in shown) for model in found]
    Terminal(is_result=json_file != STANDARD_OUTPUT).table("Models", [(key, key == "classes") for key in shown], rows)
    if json_file is not None:
        write_json(json_file, {"models": found})


@models.command("show", cls=SectionedCommand, parent="models")
@click.argument("model", required=False, metavar="[MODEL]")
@_json_option
def show_model(model: str | None, json_file: Path | None) -> None:
    """Verify a model and show what is in it.

    MODEL is a bundle or the name of the included model, which is also the default. A directory has precedence over a
    name.
    """
    from authorid.bundle.manifest import load_bundle
    from authorid.bundle.summary import describe_bundle
    from authorid.cli.console import Terminal
    from authorid.models import DEFAULT, default_bundle

    if json_file is not None:
        check_writable(json_file)
    if model is None or (model == DEFAULT and not Path(model).exists()):
        card = describe_bundle(load_bundle(default_bundle()))
    else:
        card = describe_bundle(load_bundle(model))
    terminal = Terminal(is_result=json_file != STANDARD_OUTPUT)
    rows = [(title, _shown(card[key])) for key, title in _SHOWN.items() if card[key] not in (None, [])]
    terminal.table(card["name"], [("", False), ("", False)], rows)
    if card["checks"]:
        checks = [tuple("" if value is None else value for value in check.values()) for check in card["checks"]]
        terminal.table("Checks at export", [("check", False), ("value", True), ("bound", True)], checks)
    files = [(file["name"], f"{file['bytes']:,}", file["sha256"]) for file in card["files"]]
    terminal.table("Files, verified", [("file", False), ("bytes", True), ("SHA-256", False)], files)
    terminal.info(f"{card['kind_of_classes']}: {', '.join(card['names'])}")
    if json_file is not None:
        write_json(json_file, card)


_SHOWN = {
    "path": "path",
    "classes": "classes",
    "efforts": "efforts",
    "default_effort": "default effort",
    "ngrams": "n-grams",
    "encoder": "encoder",
    "parameters": "parameters of the encoder",
    "graphs": "graphs",
    "window_tokens": "window in tokens",
    "decision_rule": "decision rule",
    "typography": "typography",
    "base_model": "base model",
    "corpus": "corpus",
    "training_documents": "training documents",
    "ngram_accuracy": "held-out accuracy of the n-grams",
    "bytes": "bytes",
}
"""Keys of a card -> how the table calls them."""


def _shown(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)
