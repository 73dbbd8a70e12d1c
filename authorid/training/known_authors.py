"""The n-gram model of a corpus, fitted when it is first needed and kept in the user's cache directory.

::

    CACHE/known-authors/
      DIGEST/      a run of `authorid.training.ngram_run`, named by all that decides what it contains
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from authorid.bundle.manifest import FORMAT, load_bundle
from authorid.encoder.cache import cache_directory
from authorid.errors import BundleError, BusyError, OutputError, RunError, expect
from authorid.outputs.directory import reserve_directory
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import fit_run
from authorid.training.run_directory import RUN_FORMAT, reserve_run
from authorid.version import __version__

__all__ = ["KnownAuthors", "model_of_known_authors"]

KEPT = 20
"""Models in the cache; of more, those that were not used for the longest time are removed."""

_WAIT = 0.2
"""Seconds between looks at what another process is doing."""

_DISCARDED = ".discarded"
"""Ending of a model that is being removed, so that half a model is never in the way of a whole one."""


@dataclass(frozen=True, slots=True)
class KnownAuthors:
    """The bundle `model` of a corpus, the SHA-256 of the corpus, and those of its documents."""

    model: Path
    digest: str
    documents: frozenset[str]


@contextmanager
def model_of_known_authors(
    corpus: CorpusSpec, options: NgramOptions = NgramOptions(), *, reporter: Reporter = SILENT
) -> Iterator[KnownAuthors]:
    """The model of `corpus` for the block, from the cache or fitted now.

    Of several processes that want the same model, one fits it and the others wait. Where the cache cannot be written,
    the model is in a temporary directory and fitted every time. Raises `CorpusError` as `load_corpus` does, and
    `MissingExtraError` without scipy.
    """
    expect(("scipy",), "fit")
    known = load_corpus(corpus, typography=options.typography)
    documents = frozenset(document.sha256 for document in known.documents)
    place = cache_directory() / "known-authors" / _key(known, options)
    try:
        _provide(place, known, options, reporter)
        with contextlib.suppress(OSError):
            os.utime(place)
            _remove_oldest(place.parent)
    except (OutputError, RunError) as error:
        reporter.warning(f"the model is not kept: {error}")
        with TemporaryDirectory(prefix="authorid-") as directory:
            place = Path(directory, place.name)
            _provide(place, known, options, reporter)
            yield KnownAuthors(place, known.digest, documents)
        return
    yield KnownAuthors(place, known.digest, documents)


def _key(corpus: Corpus, options: NgramOptions) -> str:
    """A digest of everything that decides the model of `corpus`."""
    what = {
        "authorid": [__version__, RUN_FORMAT, FORMAT],
        "authors": corpus.authors,
        "documents": corpus.digest,
        "reading": dict(corpus.reading),
        "options": asdict(options),
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _provide(place: Path, corpus: Corpus, options: NgramOptions, reporter: Reporter) -> None:
    """Fit the model unless a usable one is at `place`, or another process puts one there."""
    if _is_usable(place):
        reporter.info(f"{corpus.summary}; their model is in the cache")
        for warning in corpus.warnings:
            reporter.warning(warning)
        return
    waiting = False
    while not _is_usable(place):
        try:
            with reserve_run(place, "replace") as workspace:
                if not _is_usable(place):
                    fit_run(workspace, corpus, options, name=corpus.root.resolve().name, reporter=reporter)
        except BusyError:
            if not waiting:
                reporter.info("another process fits a model of this corpus: waiting for it")
            waiting = True
            time.sleep(_WAIT)


def _is_usable(place: Path) -> bool:
    try:
        load_bundle(place)
    except BundleError:
        return False
    return True


def _remove_oldest(directory: Path) -> None:
    """Keep the `KEPT` models that were used last, and remove what killed processes left."""
    names = sorted(path.name for path in directory.iterdir())
    for left in {name.removesuffix(".lock") for name in names if name.startswith(".")}:
        model = directory / left.removeprefix(".").removesuffix(".authorid")
        with contextlib.suppress(OutputError), reserve_directory(model):
            pass  # nobody is at work there now: the remains are removed
    models = [directory / name for name in names if not name.startswith(".")]
    for model in [path for path in models if path.suffix == _DISCARDED]:
        shutil.rmtree(model, ignore_errors=True)
    models = [path for path in models if path.suffix != _DISCARDED]
    for model in sorted(models, key=lambda path: path.stat().st_mtime_ns)[:-KEPT]:
        with contextlib.suppress(OutputError), reserve_directory(model):
            discarded = model.with_name(f"{model.name}{_DISCARDED}")
            model.rename(discarded)
            shutil.rmtree(discarded, ignore_errors=True)
