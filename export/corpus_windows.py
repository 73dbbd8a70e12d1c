"""Windows of corpus documents: to calibrate INT8 on, and to compare graphs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from authorid.encoder.windows import Windower
from authorid.errors import CorpusError, ExportError
from authorid.export.export_options import ExportOptions
from authorid.export.graph.graph_runner import Ids
from authorid.export.sources import Source
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus, load_corpus, load_known_corpus
from authorid.training.corpus_warnings import CorpusDocument

__all__ = ["VerificationSet", "calibration_draws", "training_corpus", "verification_set"]

_DRAWS = 4
"""How many samples of windows are drawn for calibration, when there are more windows than one sample holds."""


@dataclass(frozen=True, slots=True)
class VerificationSet:
    """Documents whose authors are known: the windows of each, and labels [n].

    `origin` names the documents: "validation", "training" or "verification" (another corpus).
    """

    origin: str
    documents: list[list[Ids]]
    labels: npt.NDArray[np.int64]

    @property
    def windows(self) -> list[Ids]:
        """All windows, in order."""
        return [ids for windows in self.documents for ids in windows]


def training_corpus(source: Source, path: Path | None, *, required: bool, reporter: Reporter = SILENT) -> Corpus | None:
    """Load the training corpus of `source`, from `path` or else from where it was; its digest must match.

    Returns None when it is not `required` and cannot be found there. Raises `ExportError` when it is required and its
    path is not known, `CorpusError` when it is not the same corpus and was required or named by `path`.
    """
    recorded = source.corpus
    found = path or (recorded.path if recorded.path is not None and recorded.path.is_dir() else None)
    if found is None:
        if required:
            raise ExportError(
                f"INT8 is calibrated on training documents of {recorded.name!r}, which cannot be found; "
                "pass --corpus DIR"
            )
        return None
    try:
        corpus = load_corpus(recorded.spec(found), typography=source.typography)
        if corpus.digest != recorded.digest:
            raise CorpusError(
                f"{found}: not the corpus of this training run (its digest is {corpus.digest[:12]}…, the run has "
                f"{recorded.digest[:12]}…)"
            )
        return corpus
    except CorpusError as error:
        if required or path is not None:
            raise
        reporter.warning(f"{error}; the export continues without it")
        return None


def verification_set(
    source: Source, corpus: Corpus | None, windower: Windower, options: ExportOptions
) -> VerificationSet | None:
    """Documents to compare graphs on: of `options.verify_on`, else of the training `corpus`; None without either.

    Raises `CorpusError` when no document has any words, or an author of `options.verify_on` is not a label.
    """
    if options.verify_on is not None:
        other = load_known_corpus(source.corpus.spec(options.verify_on), source.labels, typography=source.typography)
        origin, corpus, documents = "verification", other, list(other.documents)
    elif corpus is None:
        return None
    elif source.corpus.validation:
        origin, documents = "validation", _documents(corpus, source.corpus.validation)
    else:
        origin, documents = "training", _documents(corpus, source.corpus.training)
    documents = _sample(documents, options.verify_documents)
    windows = _windows(windower, documents)
    usable = [i for i, own in enumerate(windows) if own]
    if not usable:
        raise CorpusError(f"{corpus.root}: no {origin} documents with any words to compare graphs on")
    index = {label: number for number, label in enumerate(source.labels)}
    labels = np.array([index[corpus.authors[documents[i].label]] for i in usable], np.int64)
    return VerificationSet(origin, [windows[i] for i in usable], labels)


def calibration_draws(
    corpus: Corpus, paths: Sequence[str], windower: Windower, options: ExportOptions, reporter: Reporter = SILENT
) -> Iterator[list[Ids]]:
    """Samples of windows of the documents at `paths`; a single one when it has all windows that there are.

    Raises `CorpusError` when no document has any words.
    """
    rng = np.random.default_rng(options.seed)
    documents, most = _documents(corpus, paths), options.calibration_windows
    for _ in range(_DRAWS):
        chosen = [documents[i] for i in rng.permutation(len(documents))[:most]]
        windows = [ids for own in _windows(windower, chosen) for ids in own]
        drawn = [windows[i] for i in rng.permutation(len(windows))[:most]]
        if not drawn:
            raise CorpusError(f"{corpus.root}: no training documents with any words to calibrate on")
        reporter.info(f"calibrating INT8 on {len(drawn)} windows of {len(chosen)} training documents")
        yield drawn
        if (len(chosen), len(drawn)) == (len(documents), len(windows)):
            return


def _sample(documents: Sequence[CorpusDocument], most: int) -> list[CorpusDocument]:
    """At most `most` documents (0: all), in order.

    The choice does not depend on the seed of the export: different seeds must be compared on the same documents.
    """
    order = np.random.default_rng(0).permutation(len(documents))
    return [documents[i] for i in sorted(order[:most] if most else order)]


def _documents(corpus: Corpus, paths: Sequence[str]) -> list[CorpusDocument]:
    by_path = {document.path: document for document in corpus.documents}
    return [by_path[path] for path in paths if path in by_path]


def _windows(windower: Windower, documents: Sequence[CorpusDocument]) -> list[list[Ids]]:
    tokens = windower.token_ids([document.text for document in documents])
    return [[window.ids for window in windower.windows(ids)] for ids in tokens]
