"""Saving a bundle: the directory appears whole or not at all, and replaces only what may be replaced."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from authorid.bundle.manifest import MANIFEST, Bundle, load_bundle, manifest_record
from authorid.bundle.record_digest import encode_json
from authorid.errors import OutputError
from authorid.outputs.directory import Content, Workspace, reserve_directory
from authorid.outputs.write_errors import raising_output_errors
from authorid.reporter import SILENT, Reporter

__all__ = ["reserve_bundle", "write_bundle", "write_bundle_in"]


@contextmanager
def reserve_bundle(
    path: str | os.PathLike[str], *, overwrite: bool = False, reporter: Reporter = SILENT
) -> Iterator[Workspace]:
    """Reserve the directory `path` for a bundle: call this before long work whose result will be written there.

    With `overwrite`, an empty directory or a bundle may be replaced. Raises `OutputError` when something else is there,
    when another process has reserved it, or when it cannot be written or replaced.
    """
    with reserve_directory(path, reporter) as workspace:
        _check_target(workspace, overwrite=overwrite)
        yield workspace


def write_bundle(
    bundle: Bundle,
    files: Mapping[str, Content],
    *,
    overwrite: bool = False,
    check: Callable[[Bundle], object] | None = None,
) -> Bundle:
    """Reserve the directory ``bundle.path``, and write the bundle there as `write_bundle_in` does."""
    with reserve_bundle(bundle.path, overwrite=overwrite) as workspace:
        return write_bundle_in(workspace, bundle, files, check=check)


def write_bundle_in(
    workspace: Workspace,
    bundle: Bundle,
    files: Mapping[str, Content],
    *,
    check: Callable[[Bundle], object] | None = None,
    recheck: Callable[[Workspace], object] | None = None,
) -> Bundle:
    """Write `bundle` to the directory that is reserved, and return it as `load_bundle` reads it.

    `files` maps file names to contents: bytes, text, or the path of a file to copy. Their digests are computed here;
    ``bundle.files`` is ignored. The bundle is first written beside its target and loaded from there; `check` is called
    with what was loaded, and may raise. Then `recheck` is called, by default to see that what will be replaced is still
    a bundle and nothing else. Only then does the new directory take its place. Raises `OutputError` and
    `BundleCorruptError`.
    """
    with raising_output_errors(workspace.out):
        new = workspace.begin()
        digests = {name: workspace.write(name, content) for name, content in sorted(files.items())}
        workspace.write(MANIFEST, encode_json(manifest_record(bundle, digests)))
        written = load_bundle(new)
        if check is not None:
            check(written)
        if recheck is None:
            _check_target(workspace, overwrite=True)
        else:
            recheck(workspace)
        workspace.publish()
    return replace(written, path=bundle.path)


def _check_target(workspace: Workspace, *, overwrite: bool) -> None:
    """Raise `OutputError` unless nothing is there, or with `overwrite` an empty directory or a bundle."""
    out, target = workspace.out, workspace.target
    with raising_output_errors(out):
        if workspace.state.exists():
            raise OutputError(f"{out}: an unfinished training is there: resume it, or choose another path")
        if not os.path.lexists(target):
            return
        if not overwrite:
            raise OutputError(f"{out}: already exists; choose another path or pass --force")
        names = {entry.name for entry in target.iterdir()} if target.is_dir() else {""}
        if names and not (target / MANIFEST).is_file():
            raise OutputError(f"{out}: exists and is not a bundle; refusing to replace it")
        unlisted = names - _listed_names(target) if names else set()
        if unlisted:
            raise OutputError(f"{out}: contains a file that is not part of the bundle ({min(unlisted)}); move it away")
        workspace.check_replaceable()


def _listed_names(root: Path) -> set[str]:
    """Names of the files that belong to the bundle at `root`; all names when its manifest is damaged."""
    try:
        return {MANIFEST, *json.loads((root / MANIFEST).read_text("utf-8"))["files"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {entry.name for entry in root.iterdir()}
