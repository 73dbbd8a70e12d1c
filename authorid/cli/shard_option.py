"""The options of ``authorid score`` for runs that are larger than one machine: ``--shard`` and ``--listing``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from authorid.cli.files import make_directory
from authorid.cli.options import PATH, option_group, refuse_options, usage_error

if TYPE_CHECKING:
    from authorid.cli.console import Terminal
    from authorid.cli.interrupts import Interrupts
    from authorid.inputs.discovery import DiscoveredFile, InputPath
    from authorid.inputs.documents import ReadOptions
    from authorid.inputs.shards import Extent, Shard, ShardFiles
    from authorid.outputs.answers import Answers
    from authorid.outputs.formats import Writer
    from authorid.reporter import Reporter

__all__ = ["PlannedInputs", "ShardOptions", "apply_shard", "shard_options"]

_PART = "part"
"""Stands for the format of a part, where other runs have one of the formats."""

_OF_LISTING = ("include", "exclude", "hidden", "follow_symlinks", "ignore_file")
_OF_MERGE = ("form", "top")
"""Options of other commands: they have no effect with a listing, or with a shard."""


@dataclass(slots=True, eq=False)
class PlannedInputs:
    """What a run scores: the paths of its command line, the files of a listing, or those in its shard.

    `fingerprint` is what the fingerprint of the run has of it; `chosen` is None if the run scores whole paths.
    """

    files: Iterable[InputPath]
    fingerprint: dict[str, Any] = field(default_factory=dict)
    extent: Extent | None = None
    shard: Shard | None = None
    chosen: ShardFiles | None = None

    @property
    def none(self) -> str | None:
        """What to show if there is no document in this shard, which may well be; None if the run has no shard."""
        return None if self.shard is None else f"no documents in shard {self.shard}; its part is complete, without rows"

    def countable(self, paths: tuple[str, ...] | None) -> tuple[str, ...] | None:
        """The `paths` if the files below them are those of the run, so that they can be counted; else None."""
        return paths if self.extent is None else None

    def writer(
        self,
        form: str,
        answers: Answers,
        fingerprint: Mapping[str, Any],
        statistics: Callable[[], dict[str, Any]],
    ) -> str | Writer:
        """What writes the results: the format `form`, or the writer of a part, which keeps the `statistics`."""
        from authorid.outputs.part_files import PartEnd, PartWriter

        shard, chosen, extent = self.shard, self.chosen, self.extent
        if shard is None or chosen is None or extent is None:
            return form
        return PartWriter(
            shard, answers, fingerprint, lambda: (PartEnd(chosen.begin, chosen.end, extent.digest), statistics())
        )


class ShardOptions(NamedTuple):
    """Which shard to score, and the listing of the files to score."""

    shard: Shard | None
    listing: Path | None

    def applied(self, values: dict[str, Any]) -> dict[str, Any]:
        """The values of the other options, as they are for a shard or a listing; makes the directory of the parts.

        Raises a usage error where they exclude each other.
        """
        context = click.get_current_context()
        if self.listing is not None:
            if values["paths"] or values["stdin_text"]:
                raise usage_error("the files are those of the listing: leave out PATH and --stdin-text", "--listing")
            refuse_options(context, _OF_LISTING, "the listing holds the files: pass this to authorid list")
            values["paths"] = (str(self.listing),)
        if self.shard is not None:
            refuse_options(context, _OF_MERGE, "a part holds all that every format needs: pass this to authorid merge")
            values |= {"out": self._part(self.shard, values), "form": _PART}
        return values

    def _part(self, shard: Shard, values: Mapping[str, Any]) -> str:
        """The file for the part of `shard`."""
        from authorid.outputs.part_files import part_path

        if values["adapt"]:
            raise usage_error("the answers would depend on the other documents of the shard", "--adapt")
        if values["stdin_text"] or "-" in values["paths"]:
            raise usage_error("a shard of standard input: list the files first, with authorid list", "--shard")
        out = values["out"]
        if out is None or out == "-" or (Path(out).exists() and not Path(out).is_dir()):
            raise usage_error("name a directory for the parts: --out DIR", "--shard")
        directory = Path(out)
        if self.listing is None:
            _check_apart(directory, values["paths"])
        make_directory(directory)
        return str(part_path(directory, shard))

    def plan(
        self,
        paths: tuple[str, ...],
        documents: ReadOptions,
        out: str | None,
        interrupts: Interrupts,
        terminal: Terminal,
    ) -> PlannedInputs:
        """What the run scores of `paths`. For a shard, or a listing, all files are looked at first.

        Raises `AuthoridError` for a listing that is none.
        """
        from authorid.cli.score_inputs import input_paths

        if self.shard is None and self.listing is None:
            return PlannedInputs(input_paths(paths, interrupts))
        from authorid.inputs.listing import listed_files, read_listing
        from authorid.inputs.reading import row_group_sizes
        from authorid.inputs.shards import ShardFiles, measure_extent

        files: Callable[[], Iterable[DiscoveredFile]]
        if self.listing is not None:
            files = partial(read_listing, self.listing)
        else:
            parts = {os.path.dirname(os.path.abspath(out or ""))}  # noqa: PTH100, PTH120 (as ReadOptions.skip)
            files = partial(listed_files, paths, replace(documents, skip=documents.skip | parts))
        with terminal.progress("Listing") as reporter:
            extent = measure_extent(_counted(files(), reporter), interrupts.exit_if_interrupted)
        fingerprint: dict[str, Any] = {"listing": extent.digest}
        if self.shard is None:
            return PlannedInputs(_unless_interrupted(files(), interrupts), fingerprint, extent)
        chosen = ShardFiles(files(), self.shard, extent, partial(row_group_sizes, options=documents))
        fingerprint["shards"] = self.shard.count
        return PlannedInputs(_unless_interrupted(chosen, interrupts), fingerprint, extent, self.shard, chosen)


def _counted(files: Iterable[DiscoveredFile], reporter: Reporter) -> Iterator[DiscoveredFile]:
    for number, file in enumerate(files, start=1):
        reporter.progress(number)
        yield file


def _unless_interrupted(files: Iterable[DiscoveredFile], interrupts: Interrupts) -> Iterator[DiscoveredFile]:
    """The `files`; none if a signal came before there was a run that it could stop."""
    if interrupts.exit_code is None:
        yield from files


def _check_apart(directory: Path, paths: tuple[str, ...]) -> None:
    """Raise a usage error if parts would be written among documents: a directory of parts has nothing else."""
    from authorid.outputs.part_files import PART_SUFFIX

    real = Path(os.path.realpath(directory))
    if real.is_dir() and any(real.is_relative_to(os.path.realpath(path)) for path in paths):
        other = next((file.name for file in sorted(real.iterdir()) if PART_SUFFIX not in file.name), None)
        if other is not None:
            raise usage_error(f"{directory} holds {other}: name a directory of its own for the parts", "--out")


def _shard(_: click.Context, __: click.Parameter, text: str | None) -> Shard | None:
    """The value of --shard."""
    if text is None:
        return None
    from authorid.inputs.shards import Shard

    try:
        return Shard.parse(text)
    except ValueError as error:
        raise usage_error(str(error), "--shard") from None


@option_group(
    "Scale out",
    "shards",
    click.option(
        "--shard",
        metavar="K/N",
        callback=_shard,
        help="Score the K-th of N parts of the documents, and write it into the directory --out; "
        "`authorid merge` puts the parts together.",
    ),
    click.option(
        "--listing", type=PATH, metavar="FILE", help="Score the files in a listing that `authorid list` has made."
    ),
)
def shard_options(shard: Shard | None, listing: Path | None) -> ShardOptions:
    """Which shard to score, and from which listing; the command needs `apply_shard` too."""
    return ShardOptions(shard, listing)


def apply_shard(command: Callable[..., Any]) -> Callable[..., Any]:
    """Change the values of the other options to what they are for a shard. Use this above their decorators."""

    @wraps(command)
    def applied(*arguments: Any, **values: Any) -> Any:
        return command(*arguments, **ShardOptions(values["shard"], values["listing"]).applied(values))

    return applied
