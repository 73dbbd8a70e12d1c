"""What all commands share: help in sections with examples, options from the environment and from a file, verbosity."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import click

from authorid.cli.config_file import current_config, use_config
from authorid.cli.help_examples import EXAMPLES

__all__ = ["HELP_OPTIONS", "AdvancedOption", "SectionedCommand"]

HELP_OPTIONS: Final = {"help_option_names": ["--help", "-h"]}
"""Context settings for commands, which may be used without the group that would pass these on."""


class AdvancedOption(click.Option):
    """An option that few people need: the help lists it last, in a section of its own."""


class SectionedCommand(click.Command):
    """A command whose help has a section for each group of options, in the order of their decorators, and examples.

    Every option can be set in the environment too: ``AUTHORID_SCORE_MODEL`` is ``--model`` of ``score``; and in a file
    (`authorid.cli.config_file`). `parent` is the name of the group that a subcommand is in.
    """

    def __init__(self, *arguments: Any, parent: str | None = None, **values: Any) -> None:
        values.setdefault("context_settings", HELP_OPTIONS)
        super().__init__(*arguments, **values)
        self.path = [name for name in (parent, self.name) if name is not None]
        self.params.append(
            AdvancedOption(
                ["--config"],
                type=click.Path(path_type=Path),
                metavar="FILE",
                is_eager=True,
                expose_value=False,
                callback=self._use_config,
                show_default="authorid.toml, or [tool.authorid] of pyproject.toml",
                help="Take options from FILE; with an empty file, from none.",
            )
        )
        for parameter in self.params:
            if isinstance(parameter, click.Option):
                name = next(name for name in parameter.opts if name.startswith("--"))
                parameter.envvar = "_".join(["AUTHORID", *self.path, name[2:]]).replace("-", "_").upper()

    def sections(self, context: click.Context) -> dict[str, list[click.Option]]:
        """The options that the help shows, by section; advanced ones are in the last.

        Those without a group come where the first of them is declared.
        """
        options = [parameter for parameter in self.get_params(context) if isinstance(parameter, click.Option)]
        ungrouped = "Other options" if any(hasattr(option, "group") for option in options) else "Options"
        sections: dict[str, list[click.Option]] = {}
        advanced: list[click.Option] = []
        for option in options:
            if option.hidden:
                continue
            if isinstance(option, AdvancedOption):
                advanced.append(option)
            else:
                sections.setdefault(getattr(option, "group", ungrouped), []).append(option)
        return {**sections, "Advanced options": advanced}

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections."""
        for title, options in self.sections(ctx).items():
            with formatter.section(title):
                formatter.write_dl([record for option in options if (record := option.get_help_record(ctx))])

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the examples, which a terminal must not wrap."""
        with formatter.section("Examples"):
            for example in EXAMPLES[" ".join(self.path)]:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command; with --verbose, first show which options do not come from the command line."""
        _settle_verbosity(ctx)
        if ctx.params.get("verbose"):
            _show_sources(ctx)
        return super().invoke(ctx)

    def _use_config(self, context: click.Context, _: click.Parameter, file: Path | None) -> None:
        use_config(context, file, command=self.path, commands=tuple(EXAMPLES))


def _settle_verbosity(context: click.Context) -> None:
    """Let only one of --quiet and --verbose hold: that of the command line, where both are wrong usage."""
    if not (context.params.get("quiet") and context.params.get("verbose")):
        return
    typed = [name for name in ("quiet", "verbose") if _source(context, name) == "COMMANDLINE"]
    if len(typed) == 2:
        raise click.UsageError("--quiet and --verbose exclude each other.", context)
    context.params["quiet" if typed == ["verbose"] else "verbose"] = False


def _show_sources(context: click.Context) -> None:
    """Show the file of options in use, and each option that comes from it or from the environment."""
    from authorid.cli.console import Terminal

    terminal = Terminal()
    config = current_config(context)
    if config is not None:
        terminal.info(f"options from {config.path}")
    for option in context.command.params:
        source = _source(context, option.name or "")
        shown = isinstance(option, click.Option) and option.expose_value and not option.hidden
        if shown and source in ("ENVIRONMENT", "DEFAULT_MAP"):
            place = option.envvar if source == "ENVIRONMENT" or config is None else config.path
            terminal.info(f"{option.opts[0]}: {context.params[str(option.name)]}, from {place}")


def _source(context: click.Context, name: str) -> str:
    source = context.get_parameter_source(name)
    return "" if source is None else source.name
