"""Options that commands share: each group of options reaches a command as one dataclass."""

from __future__ import annotations

import codecs
import math
import os
from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from authorid.encoder.engine_options import EngineOptions
    from authorid.inputs.documents import ReadOptions

__all__ = [
    "EFFORT",
    "PATH",
    "PRECISION",
    "PROVIDER",
    "Decorator",
    "FiniteRange",
    "SectionedCommand",
    "document_options",
    "engine_options",
    "exclude_author_option",
    "model_option",
    "option_group",
    "quiet_option",
    "refuse_options",
    "usage_error",
]

PATH = click.Path(path_type=Path)
EFFORT = click.Choice(["fast", "full", "auto"])
PRECISION = click.Choice(["auto", "int8", "fp32"])
PROVIDER = click.Choice(["auto", "cpu", "fused", "openvino"])

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


class FiniteRange(click.FloatRange):
    """A number in a range; ``nan``, which compares with nothing, and infinity are in none."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """Convert `value`; fails with a usage error."""
        number: float = super().convert(value, param, ctx)
        if not math.isfinite(number):
            self.fail(f"{value} is not a finite number.", param, ctx)
        return number


def option_group(section: str, name: str, *options: Decorator) -> Callable[[Callable[..., object]], Decorator]:
    """Make a decorator for commands out of a function that builds one value from the values of `options`.

    A command that is decorated with it has all `options`, under the heading `section` of its help, and takes what
    the function returns as its parameter `name`. The parameters of the function are the names of the options.
    """

    def for_builder(build: Callable[..., object]) -> Decorator:
        names = list(signature(build).parameters)

        def decorate(command: Callable[..., Any]) -> Callable[..., Any]:
            @wraps(command)
            def with_group(*arguments: Any, **values: Any) -> Any:
                value = build(**{option: values.pop(option) for option in names})
                return command(*arguments, **{name: value}, **values)

            decorated: Any = with_group
            for option in reversed(options):
                decorated = option(decorated)
            for parameter in decorated.__click_params__[-len(options) :]:
                parameter.section = section
            return with_group

        return decorate

    return for_builder


class SectionedCommand(click.Command):
    """A command whose help has a section for each group of options, in the order of their decorators.

    Every option can be set in the environment too: ``AUTHORID_SCORE_MODEL`` is ``--model`` of ``score``.
    """

    def __init__(self, *arguments: Any, **values: Any) -> None:
        # A command may be used without the group that would pass these on.
        values.setdefault("context_settings", {"help_option_names": ["--help", "-h"]})
        super().__init__(*arguments, **values)
        for parameter in self.params:
            if isinstance(parameter, click.Option):
                name = next(name for name in parameter.opts if name.startswith("--"))
                parameter.envvar = f"AUTHORID_{self.name}_{name[2:]}".replace("-", "_").upper()

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the sections; options without a group come where the first of them is declared."""
        options = [parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option)]
        ungrouped = "Other options" if hasattr(options[0], "section") else "Options"
        sections: dict[str, list[tuple[str, str]]] = {}
        for option in options:
            record = option.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(option, "section", ungrouped), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def usage_error(message: str, option: str) -> click.BadParameter:
    """The error for a command line on which `option` is wrong; the `message` may contain names of files."""
    from authorid.outputs.escaping import visible

    return click.BadParameter(visible(message), param_hint=option)


def refuse_options(context: click.Context, names: Collection[str], reason: str) -> None:
    """Raise a usage error when a parameter in `names`, which would have no effect, is on the command line."""
    for parameter in context.command.params:
        if parameter.name not in names:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise usage_error(reason, " / ".join([*parameter.opts, *parameter.secondary_opts]))


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show only warnings and errors.")


def model_option(text: str) -> Decorator:
    """The option --model, with the help `text`."""
    return click.option("--model", "-m", type=PATH, metavar="BUNDLE", help=text)


@option_group(
    "Documents",
    "documents",
    click.option("--include", multiple=True, metavar="GLOB", help="Read only files that GLOB matches."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files and directories that GLOB matches."),
    click.option("--hidden", is_flag=True, help="Read hidden files too."),
    click.option("--follow-symlinks", is_flag=True, help="Follow symbolic links; loops are detected."),
    click.option("--encoding", metavar="NAME", help="Try this encoding when a file is not UTF-8."),
    click.option(
        "--max-bytes",
        type=click.IntRange(min=1),
        default=16 * 1024 * 1024,
        help="Refuse larger files without reading them.",
    ),
    click.option(
        "--timeout",
        type=FiniteRange(min=0.001),
        metavar="SECONDS",
        help="Give up on a file when its file system does not respond within SECONDS.",
    ),
    click.option(
        "--ignore-file",
        type=PATH,
        metavar="FILE",
        help="Skip what the rules in FILE exclude below each directory given; the syntax is that of .gitignore.",
    ),
)
def document_options(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hidden: bool,
    follow_symlinks: bool,
    encoding: str | None,
    max_bytes: int,
    timeout: float | None,
    ignore_file: Path | None,
) -> ReadOptions:
    """Which files are documents, and how to read them."""
    from authorid.inputs.documents import ReadOptions

    _check_encoding(encoding)
    return ReadOptions(
        include=include,
        exclude=exclude,
        ignore=_ignore_rules(ignore_file),
        follow_symlinks=follow_symlinks,
        hidden=hidden,
        encoding=encoding,
        max_bytes=max_bytes,
        timeout=timeout,
    )


exclude_author_option = click.option(
    "--exclude-author",
    "exclude_authors",
    multiple=True,
    metavar="NAME",
    help="Leave out the author directory NAME.",
)


def _check_encoding(encoding: str | None) -> None:
    try:
        if encoding is not None:
            "a".encode(encoding)  # fails for an unknown name, and for a codec that is not for text
    except (LookupError, UnicodeError):
        raise usage_error(f"Python knows no text encoding {encoding!r}", "--encoding") from None


def _ignore_rules(file: Path | None) -> tuple[str, ...]:
    if file is None:
        return ()
    try:
        lines = file.read_bytes().removeprefix(codecs.BOM_UTF8).splitlines()
    except OSError as error:
        raise usage_error(f"{file}: {error.strerror}", "--ignore-file") from None
    return tuple(os.fsdecode(line) for line in lines)


@option_group(
    "Performance",
    "engine",
    click.option("--precision", type=PRECISION, default="auto", help="Precision of the graph to run."),
    click.option(
        "--provider",
        type=PROVIDER,
        default="auto",
        help="Inference backend. auto: as tuned, else cpu. fused: authorid's own kernels; openvino needs the extra.",
    ),
    click.option(
        "--workers",
        type=click.IntRange(min=0, max=1024),
        default=0,
        help="Batches to run at the same time; 0: as tuned, or one per core.",
    ),
    click.option(
        "--threads",
        type=click.IntRange(min=0, max=1024),
        default=0,
        help="Threads for each batch; 0: as tuned, or 1.",
    ),
    click.option(
        "--batch-tokens",
        type=click.IntRange(min=0),
        default=0,
        help="Tokens in a batch; 0: as tuned, or 256 (openvino: 1024).",
    ),
)
def engine_options(precision: str, provider: str, workers: int, threads: int, batch_tokens: int) -> EngineOptions:
    """How to run the encoder."""
    from authorid.encoder.engine_options import EngineOptions

    return EngineOptions(precision, workers, threads, batch_tokens, provider)
