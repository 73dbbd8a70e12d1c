"""Saving a bundle: the directory appears whole or not at all, and replaces only what may be replaced."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from authorid.bundle.manifest import MANIFEST, Bundle, load_bundle, manifest_record
from authorid.errors import OutputError, os_error_reason

__all__ = ["check_target", "check_writable", "write_bundle"]


def check_target(path: str | os.PathLike[str], *, overwrite: bool = False, marker: str = MANIFEST) -> Path:
    """The directory that `write_bundle` will create for `path`, with links resolved.

    With `overwrite`, a directory may be replaced when it is empty or contains a file named `marker`. Raises
    `OutputError` when something else exists there, when it cannot be replaced in one step, or when the parent directory
    is not writable.
    """
    with _os_errors_as_output_errors(path):
        target = Path(path).resolve()
        check_writable(target.parent)
        if not target.exists():
            return target
        if not overwrite:
            raise OutputError(f"{path}: already exists; choose another path or pass --force")
        names = {entry.name for entry in target.iterdir()} if target.is_dir() else {""}
        if names and not (target / marker).is_file():
            expected = "a bundle" if marker == MANIFEST else "a training run"
            raise OutputError(f"{path}: exists and is not {expected}; refusing to replace it")
        unlisted = names - _listed_names(target) if names and marker == MANIFEST else set()
        if unlisted:
            raise OutputError(f"{path}: contains a file that is not part of the bundle ({min(unlisted)}); move it away")
        if target.is_mount():
            raise OutputError(f"{path}: is a mount point and cannot be replaced; choose a directory in it")
        if Path.cwd().is_relative_to(target):
            raise OutputError(f"{path}: is the current directory or one of its parents; change directory first")
        return target


def check_writable(directory: Path) -> None:
    """Check that directories can be created in `directory`, or in its nearest existing parent. Leaves nothing behind.

    Call it before long work whose result will be written there. Raises `OutputError`.
    """
    with _os_errors_as_output_errors(directory):
        existing = directory.absolute()
        while not existing.exists():
            existing = existing.parent
        with tempfile.TemporaryDirectory(prefix=".authorid-", dir=existing):
            pass


def write_bundle(
    bundle: Bundle,
    files: Mapping[str, bytes | str | Path],
    *,
    overwrite: bool = False,
    marker: str = MANIFEST,
    check: Callable[[Bundle], object] | None = None,
) -> Bundle:
    """Write `bundle` to the directory ``bundle.path``, and return it as `load_bundle` reads it.

    `files` maps file names to contents: bytes, text, or the path of a file to copy. Their digests are computed here;
    ``bundle.files`` is ignored. The bundle is first written to a temporary directory beside its target and loaded from
    there; `check` is called with what was loaded, and may raise. Only then does it take its name, and the directory
    that it replaces (see `check_target`) is removed last. Raises `OutputError` and `BundleCorruptError`.
    """
    target = check_target(bundle.path, overwrite=overwrite, marker=marker)
    with _os_errors_as_output_errors(bundle.path):
        target.parent.mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=f".{target.name}.", dir=target.parent))
        try:
            staging.chmod(0o755)
            digests = {name: _write_synced(staging / name, content) for name, content in sorted(files.items())}
            manifest = json.dumps(manifest_record(bundle, digests), indent=1, ensure_ascii=False)
            _write_synced(staging / MANIFEST, manifest + "\n")
            written = load_bundle(staging)
            if check is not None:
                check(written)
            _replace_directory(staging, target)
        except BaseException:
            shutil.rmtree(staging, ignore_errors=True)
            raise
    return load_bundle(bundle.path)


def _listed_names(root: Path) -> set[str]:
    """Names of the files that belong to the bundle at `root`; all names when its manifest is damaged."""
    try:
        return {MANIFEST, *json.loads((root / MANIFEST).read_text("utf-8"))["files"]}
    except (ValueError, TypeError, KeyError, RecursionError):
        return {entry.name for entry in root.iterdir()}


def _write_synced(path: Path, content: bytes | str | Path) -> str:
    """Write `content` to a new file, wait until it is on disk, and return its SHA-256.

    Characters that UTF-8 cannot encode (lone surrogates) become ``?``.
    """
    data = content.encode("utf-8", "replace") if isinstance(content, str) else content
    with path.open("xb") as stream:
        if isinstance(data, Path):
            with data.open("rb") as source:
                shutil.copyfileobj(source, stream)
        else:
            stream.write(data)
        stream.flush()
        os.fsync(stream.fileno())
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _replace_directory(staging: Path, target: Path) -> None:
    """Rename `staging` to `target`. An existing `target` is moved aside first, and removed once that has succeeded."""
    if not target.exists():
        staging.rename(target)
        return
    aside = Path(tempfile.mkdtemp(prefix=f".{target.name}.", suffix=".old", dir=target.parent))
    try:
        target.rename(aside)
        staging.rename(target)
    except BaseException:
        if not target.exists():
            aside.rename(target)
        raise
    finally:
        if target.exists():  # otherwise the old directory could not be moved back: keep it where it is
            shutil.rmtree(aside, ignore_errors=True)


@contextmanager
def _os_errors_as_output_errors(path: str | os.PathLike[str]) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(f"{os.fspath(path)}: cannot write there: {os_error_reason(error)}") from None
