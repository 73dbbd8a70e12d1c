"""Options that commands share: each group of options reaches a command as one dataclass."""

from __future__ import annotations

import codecs
import os
from collections.abc import Callable, Collection
from functools import wraps
from inspect import signature
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from authorid.cli.quantities import ByteSize, FiniteRange, Share
from authorid.cli.sectioned_command import HELP_OPTIONS, AdvancedOption, SectionedCommand

if TYPE_CHECKING:
    from authorid.encoder.engine_options import EngineOptions
    from authorid.inputs.documents import ReadOptions

__all__ = [
    "EFFORT",
    "HELP_OPTIONS",
    "PATH",
    "PRECISION",
    "PROVIDER",
    "SAMPLES_TO_LEARN_FROM",
    "AdvancedOption",
    "ByteSize",
    "Decorator",
    "FiniteRange",
    "SectionedCommand",
    "Share",
    "all_authors_option",
    "document_options",
    "engine_options",
    "exclude_author_option",
    "is_given",
    "model_option",
    "option_group",
    "quiet_option",
    "refuse_options",
    "sample_words_option",
    "usage_error",
    "verbose_option",
    "walk_options",
]

PATH = click.Path(path_type=Path)
EFFORT = click.Choice(["fast", "full", "auto"])
PRECISION = click.Choice(["auto", "int8", "fp32"])
PROVIDER = click.Choice(["auto", "cpu", "fused", "openvino"])

Decorator = Callable[[Callable[..., Any]], Callable[..., Any]]


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
                parameter.group = section
            return with_group

        return decorate

    return for_builder


def usage_error(message: str, option: str) -> click.BadParameter:
    """The error for a command line on which `option` is wrong; the `message` may contain names of files."""
    from authorid.outputs.escaping import visible

    return click.BadParameter(visible(message), param_hint=option)


def is_given(context: click.Context, name: str) -> bool:
    """Whether the parameter `name` has another source than its default."""
    source = context.get_parameter_source(name)
    return source is not None and source.name not in ("DEFAULT", "DEFAULT_MAP")


def refuse_options(context: click.Context, names: Collection[str], reason: str) -> None:
    """Raise a usage error when a parameter in `names`, which would have no effect, is on the command line."""
    for parameter in context.command.params:
        if parameter.name not in names:
            continue
        source = context.get_parameter_source(parameter.name)
        if source is not None and source.name == "COMMANDLINE":
            raise usage_error(reason, " / ".join([*parameter.opts, *parameter.secondary_opts]))


quiet_option = click.option("--quiet", "-q", is_flag=True, help="Show only warnings and errors.")
verbose_option = click.option(
    "--verbose", "--details", "-v", is_flag=True, help="Show details: reasons, durations, whole tables."
)


def model_option(text: str) -> Decorator:
    """The option --model, with the help `text`."""
    return click.option("--model", "-m", type=PATH, metavar="BUNDLE", help=text)


_SELECTION = (
    click.option("--include", multiple=True, metavar="GLOB", help="Read only files that GLOB matches."),
    click.option("--exclude", multiple=True, metavar="GLOB", help="Skip files and directories that GLOB matches."),
    click.option("--hidden", is_flag=True, help="Read hidden files too."),
)
_FOLLOW_SYMLINKS = click.option(
    "--follow-symlinks", cls=AdvancedOption, is_flag=True, help="Follow symbolic links; loops are detected."
)
_TIMEOUT_AND_RULES = (
    click.option(
        "--timeout",
        cls=AdvancedOption,
        type=FiniteRange(min=0.001),
        metavar="SECONDS",
        help="Give up on a file when its file system does not respond within SECONDS.",
    ),
    click.option(
        "--ignore-file",
        cls=AdvancedOption,
        type=PATH,
        metavar="FILE",
        help="Skip what the rules in FILE exclude below each directory given; the syntax is that of .gitignore.",
    ),
)


@option_group(
    "Documents",
    "documents",
    *_SELECTION,
    click.option("--text-column", metavar="NAME", help="Column of tables (CSV, TSV, JSONL, Parquet) that holds texts."),
    click.option("--id-column", metavar="NAME", help="Column of tables that names the rows, instead of their numbers."),
    _FOLLOW_SYMLINKS,
    click.option("--encoding", cls=AdvancedOption, metavar="NAME", help="Try this encoding when a file is not UTF-8."),
    click.option(
        "--max-bytes",
        cls=AdvancedOption,
        type=ByteSize(),
        metavar="SIZE",
        default="16M",
        help="Refuse larger documents; tables may be larger. K, M and G are powers of 1024.",
    ),
    *_TIMEOUT_AND_RULES,
)
def document_options(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hidden: bool,
    follow_symlinks: bool,
    text_column: str | None,
    id_column: str | None,
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
        text_column=text_column,
        id_column=id_column,
        encoding=encoding,
        max_bytes=max_bytes,
        timeout=timeout,
    )


@option_group("Documents", "documents", *_SELECTION, _FOLLOW_SYMLINKS, *_TIMEOUT_AND_RULES)
def walk_options(
    include: tuple[str, ...],
    exclude: tuple[str, ...],
    hidden: bool,
    follow_symlinks: bool,
    timeout: float | None,
    ignore_file: Path | None,
) -> ReadOptions:
    """Which files are documents: the part of `document_options` that finding them needs."""
    from authorid.inputs.documents import ReadOptions

    return ReadOptions(
        include=include,
        exclude=exclude,
        ignore=_ignore_rules(ignore_file),
        follow_symlinks=follow_symlinks,
        hidden=hidden,
        timeout=timeout,
    )


exclude_author_option = click.option(
    "--exclude-author",
    "exclude_authors",
    multiple=True,
    metavar="NAME",
    help="Leave out the author directory NAME.",
)
all_authors_option = click.option(
    "--all-authors",
    is_flag=True,
    help="Learn every directory as an author, also those with names such as `unknown` or `test`.",
)


def sample_words_option(text: str) -> Decorator:
    """The option --sample-words, with the help `text`."""
    return click.option("--sample-words", type=click.IntRange(min=0), metavar="N", help=text)


SAMPLES_TO_LEARN_FROM = (
    "Learn from samples of about N words of each document; 0: from whole documents. "
    "By default, documents of more than 6,000 characters are cut into samples of about 2,000."
)
"""The help of --sample-words where a model is trained."""


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
        cls=AdvancedOption,
        type=click.IntRange(min=0, max=1024),
        default=0,
        help="Batches to run at the same time; 0: as tuned, or one per core.",
    ),
    click.option(
        "--threads",
        cls=AdvancedOption,
        type=click.IntRange(min=0, max=1024),
        default=0,
        help="Threads for each batch; 0: as tuned, or 1.",
    ),
    click.option(
        "--batch-tokens",
        cls=AdvancedOption,
        type=click.IntRange(min=0),
        default=0,
        help="Tokens in a batch; 0: as tuned, or 256 (openvino: 1024).",
    ),
)
def engine_options(precision: str, provider: str, workers: int, threads: int, batch_tokens: int) -> EngineOptions:
    """How to run the encoder."""
    from authorid.encoder.engine_options import EngineOptions

    return EngineOptions(precision, workers, threads, batch_tokens, provider)
