"""From an address to corpora on the disk, which appear only when they are complete and checked."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from authorid.datasets.dataset import Dataset, check_part
from authorid.datasets.download import download
from authorid.datasets.unpack import unpack
from authorid.errors import CorpusError, OutputError, os_error_reason
from authorid.outputs.lock import exclusive_lock
from authorid.reporter import SILENT, Reporter

__all__ = ["fetch"]


def fetch(dataset: Dataset, directory: Path, *, url: str | None = None, reporter: Reporter = SILENT) -> list[str]:
    """Bring the parts of `dataset` into `directory`, and return the names of those that were not there before.

    Parts that are there are checked, and nothing is downloaded when none is missing. An interrupted download is
    continued by the next call. Raises `DownloadError` when the archive cannot be downloaded, `CorpusError` when a part
    or the archive has another content, and `OutputError` when `directory` cannot be written.
    """
    missing = _missing(dataset, directory)
    if not missing:
        return []
    archive, workplace = directory / f".{dataset.name}.zip", directory / f".{dataset.name}.unpacked"
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with exclusive_lock(directory / f".{dataset.name}.lock", str(directory)):
            missing = _missing(dataset, directory)  # another process may just have brought them
            _bring(dataset, archive, workplace, url or dataset.url, reporter)
            for name in missing:
                (workplace / name).rename(directory / name)
            shutil.rmtree(workplace)
            archive.unlink()
    except OSError as error:
        raise OutputError(f"{directory}: cannot write there: {os_error_reason(error)}") from None
    return missing


def _missing(dataset: Dataset, directory: Path) -> list[str]:
    """The parts that are not in `directory`. Raises `CorpusError` when something else has the name of a part."""
    missing = []
    for name in dataset.parts:
        try:
            if (directory / name).exists():
                check_part(dataset, name, directory / name)
            else:
                missing.append(name)
        except OSError as error:
            raise CorpusError(f"{directory / name}: cannot be read: {os_error_reason(error)}") from None
        except CorpusError as error:
            raise CorpusError(f"{error}; move the directory away, and this command brings a new one") from None
    return missing


def _bring(dataset: Dataset, archive: Path, workplace: Path, url: str, reporter: Reporter) -> None:
    """Download the archive and unpack it; the parts are in `workplace` then, checked and on the disk."""
    resumed = archive.exists() or archive.with_name(f"{archive.name}.part").exists()
    while True:
        if not archive.exists():
            reporter.info(f"downloading {url}")
            download(url, archive, most_bytes=dataset.most_bytes, reporter=reporter)
        try:
            _unpack_and_check(dataset, archive, workplace)
            return
        except CorpusError:
            shutil.rmtree(workplace, ignore_errors=True)
            archive.unlink()
            if not resumed:
                raise
            # The bytes from before may be those of another archive.
            resumed = False
            reporter.info("the archive that was begun earlier is damaged; starting over")


def _unpack_and_check(dataset: Dataset, archive: Path, workplace: Path) -> None:
    if workplace.exists():  # of a process that was killed
        shutil.rmtree(workplace)
    workplace.mkdir()
    unpack(dataset, archive, workplace)
    for name in dataset.parts:
        if not (workplace / name).is_dir():
            raise CorpusError(f"{archive}: there is no {name} in this archive")
        check_part(dataset, name, workplace / name)
    if hasattr(os, "sync"):
        os.sync()  # before the names appear, and once for thousands of files
