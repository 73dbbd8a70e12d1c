"""Results that go to a URL: they are written on this machine and uploaded when they are complete.

The files of the run (journal, lock, results so far) are in a directory of their own below the state directory, which is
derived from the URL. So a run is resumed on the machine, or with the volume, on which it began. The lock keeps two runs
on one machine apart; nothing keeps runs on two machines from writing the same URL, except that a store with conditional
writes refuses to replace what has appeared meanwhile.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from authorid.errors import OutputError
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document, Failure
from authorid.inputs.stores import Store, StoreError, store_of
from authorid.inputs.urls import original_url, shown_path
from authorid.outputs import atomic
from authorid.outputs.file_output import FileOutput
from authorid.outputs.records import Attribution
from authorid.outputs.resume import EarlierRun

__all__ = ["UploadedOutput", "UrlTarget", "state_directory"]


def state_directory() -> Path:
    """The directory for what must outlive a run: ``$AUTHORID_STATE``, or ``authorid`` in the user's state directory."""
    if os.environ.get("AUTHORID_STATE"):
        return Path(os.environ["AUTHORID_STATE"])
    from platformdirs import user_state_path

    return user_state_path("authorid")


class UrlTarget:
    """The object that a run writes, and `staged`, the file on this machine that becomes it.

    `shown` is the URL without secrets. Raises `OutputError`, and `AuthoridError` if a package is missing.
    """

    def __init__(self, url: str) -> None:
        self.shown = shown_path(url)
        self._url = original_url(self.shown)
        if url.lower().startswith("http"):
            raise OutputError(f"{self.shown}: nothing can be written over HTTP; use s3://, gs:// or az://")
        if url.endswith("/"):
            raise OutputError(f"{self.shown}: ends with a slash; --out takes the name of an object")
        with self._errors():
            self._store: Store = store_of(self._url)
        directory = (
            state_directory() / "uploads" / hashlib.sha256(self.shown.encode("utf-8", "replace")).hexdigest()[:20]
        )
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        (directory / "url").write_text(f"{self.shown}\n", "utf-8", "replace")  # for people who look what this is
        self.staged = directory / "results"

    def exists(self) -> bool:
        """Whether there is an object at the URL. Raises `OutputError` if nothing can be there, for want of a bucket."""
        with self._errors():
            found = self._store.start(lambda: self._store.head(self._url), None).result() is not None
        if not found:
            with contextlib.suppress(StoreError):  # whoever may write need not have the permission to list
                if not self._store.start(self._store.is_there, None).result():
                    raise OutputError(f"{self.shown}: cannot write there: no such bucket")
        return found

    def upload(self, *, replace: bool) -> None:
        """Upload the staged file, which must be complete, and remove it."""
        with self._errors(f"; the complete results are in {self.staged}: the same command with --resume uploads them"):
            try:
                self._store.upload(self.staged, self._url, replace=replace)
            except FileExistsError:
                raise OutputError(
                    f"{self.shown}: has appeared since this run began, and is not replaced; the results of this run "
                    f"are in {self.staged}: pass --resume to replace it by them"
                ) from None
        atomic.remove(self.staged)

    @contextlib.contextmanager
    def _errors(self, advice: str = "") -> Iterator[None]:
        try:
            yield
        except StoreError as error:
            raise OutputError(f"{self.shown}: cannot write there: {error}{advice}") from None


class UploadedOutput:
    """An output whose file is uploaded when it is finished."""

    def __init__(self, output: FileOutput, target: UrlTarget, *, replace: bool) -> None:
        self.earlier: EarlierRun | None = output.earlier
        self._output = output
        self._target = target
        self._replace = replace

    def recall(
        self, file: DiscoveredFile, items: Iterator[Document | Failure]
    ) -> Iterator[Document | Failure | Attribution]:
        """As `FileOutput.recall`."""
        return self._output.recall(file, items)

    def write(self, record: Attribution) -> None:
        """As `FileOutput.write`."""
        self._output.write(record)

    def finish(self) -> None:
        """Finish the file and upload it. Raises `OutputError`; what is missing then is the upload only."""
        self._output.finish()
        self._target.upload(replace=self._replace)

    @property
    def resumable(self) -> bool:
        """As `FileOutput.resumable`."""
        return self._output.resumable

    @property
    def saved(self) -> str:
        """As `FileOutput.saved`."""
        return self._output.saved
