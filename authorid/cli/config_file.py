"""Options from a file: ``authorid.toml``, or the table ``tool.authorid`` of ``pyproject.toml``.

The file has a table for each command, with its options by their names: ``[score]``, ``effort = "fast"``. A file in the
working directory is used without being asked for, so it may come with somebody else's documents. It can do no more than
options can, and it may not set those that write, replace or download something (`_ONLY_WHEN_NAMED`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

__all__ = ["ConfigFile", "current_config", "use_config"]

_FILES = ("authorid.toml", "pyproject.toml")
_MOST_BYTES = 1 << 20

_ONLY_WHEN_NAMED = frozenset(
    {"out", "stats", "json", "plots", "report", "force", "resume", "allow-pickle", "base-model", "url"}
)
"""Options that only a file named by --config may set: they write, replace, download or trust something."""

_META = "authorid.config"
_PATHS = {"FILE", "DIR", "PATH", "RUN", "BUNDLE"}
"""Metavars of options whose values are paths."""


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file of options that is in use: its tables by command, and whether --config named it."""

    path: Path
    tables: Mapping[str, Any]
    named: bool

    def error(self, place: str, problem: str) -> click.UsageError:
        """The usage error for what is wrong at `place`, such as ``[score] effort``."""
        from authorid.outputs.escaping import visible

        return click.UsageError(visible(f"{self.path}: {place}: {problem}" if place else f"{self.path}: {problem}"))


def current_config(context: click.Context) -> ConfigFile | None:
    """The file of options that the command of `context` uses."""
    found: ConfigFile | None = context.meta.get(_META)
    return found


def use_config(context: click.Context, file: Path | None, *, command: Sequence[str], commands: Sequence[str]) -> None:
    """Let the options of `command`, given by its names, default to those in `file`, or in one that lies here.

    `commands` are all commands, such as ``score`` and ``models list``. Raises `click.UsageError` for whatever is wrong
    with the file.
    """
    config = _read(file) if file is not None else _find()
    if config is None:
        return
    _check_tables(config, commands)
    context.meta[_META] = config
    context.default_map = _values(config, command, context)


def _check_tables(config: ConfigFile, commands: Sequence[str]) -> None:
    """Raise `click.UsageError` for a table that belongs to no command."""
    for name, table in config.tables.items():
        below = {command.partition(" ")[2] for command in commands if command.partition(" ")[0] == name}
        if not below:
            known = ", ".join(dict.fromkeys(command.partition(" ")[0] for command in commands))
            raise config.error(f"[{name}]", f"no such command; there are {known}")
        if not isinstance(table, dict):
            raise config.error(name, f"must be a table of options: [{name}]")
        for subcommand in table if "" not in below else ():
            if subcommand not in below:
                raise config.error(f"[{name}.{subcommand}]", f"no such command; there are {', '.join(sorted(below))}")


def _find() -> ConfigFile | None:
    """The file of the working directory."""
    for name in _FILES:
        path = Path(name)
        if path.is_file():
            config = _read(path, named=False)
            if config is not None:
                return config
    return None


def _read(path: Path, *, named: bool = True) -> ConfigFile | None:
    """The configuration in a file; None if it is a ``pyproject.toml`` without any. Raises `click.UsageError`."""
    import tomllib  # only here: most command lines need none

    empty = ConfigFile(path, {}, named)
    try:
        with path.open("rb") as stream:
            data = stream.read(_MOST_BYTES + 1)
        if path.name == "pyproject.toml" and b"authorid" not in data:
            return None  # not ours, even if it is damaged
        if len(data) > _MOST_BYTES:
            raise empty.error("", f"larger than {_MOST_BYTES} bytes")
        record = tomllib.loads(data.decode("utf-8"))
    except OSError as error:
        raise empty.error("", (error.strerror or str(error)).lower()) from None
    except (ValueError, RecursionError) as error:
        raise empty.error("", f"not valid TOML: {error}") from None
    if path.name == "pyproject.toml":
        tool = record.get("tool")
        if not isinstance(tool, dict) or "authorid" not in tool:
            return None
        record = tool["authorid"]
    if not isinstance(record, dict):
        raise empty.error("tool.authorid", "must be a table")
    return ConfigFile(path, record, named)


def _values(config: ConfigFile, command: Sequence[str], context: click.Context) -> dict[str, Any]:
    """The values of the table of `command`, by the names of its parameters. Raises `click.UsageError`."""
    table: Any = config.tables
    for name in command:
        table = table.get(name, {})
        if not isinstance(table, dict):
            raise config.error(f"[{'.'.join(command)}]", "must be a table of options")
    options = {opt[2:]: option for option in _settable(context.command) for opt in option.opts if opt[:2] == "--"}
    values = {}
    for key, value in table.items():
        place = f"[{'.'.join(command)}] {key}"
        name = key.replace("_", "-")
        if name not in options:
            raise config.error(place, "no such option")
        if not config.named and name in _ONLY_WHEN_NAMED:
            raise config.error(
                place,
                f"only a file that you name may set this: pass --config {config.path}, or --{name} on the command line",
            )
        option = options[name]
        try:
            values[str(option.name)] = given = _value(option, value, config.path.parent)
            option.type_cast_value(context, given)
        except click.BadParameter as error:
            raise config.error(place, error.message) from None
    return values


def _settable(command: click.Command) -> Iterable[click.Option]:
    """The options that a file may set: all but --config."""
    return (option for option in command.params if isinstance(option, click.Option) and option.expose_value)


def _value(option: click.Option, value: Any, directory: Path) -> Any:
    """The value for click, which converts it as on a command line. Raises `click.BadParameter` for the wrong type."""
    if option.multiple:
        if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
            raise click.BadParameter('must be a list of strings, such as ["a", "b"]')
        return value
    if option.is_flag:
        if not isinstance(value, bool):
            raise click.BadParameter("must be true or false")
        return value
    if isinstance(option.type, click.types.IntParamType):
        fits, wanted = isinstance(value, int), "a whole number"
    elif isinstance(option.type, click.types.FloatParamType):
        fits, wanted = isinstance(value, int | float | str), "a number"
    elif option.type.name == "size":
        fits, wanted = isinstance(value, int | str), "a size"
    else:
        fits, wanted = isinstance(value, str), "a string"
    if not fits or isinstance(value, bool):
        raise click.BadParameter(f"must be {wanted}")
    if isinstance(value, str) and value != "-" and _PATHS.intersection((option.metavar or "").split("|")):
        path = directory / value
        return str(path) if "HUB_ID" not in (option.metavar or "") or path.exists() else value
    return value
