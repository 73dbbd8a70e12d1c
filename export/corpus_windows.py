"""Windows of corpus documents: to calibrate INT8 on, and to compare graphs on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from authorid.encoder.windows import Windower
from authorid.errors import CorpusError, ExportError
from authorid.export.agreement import VerificationSet
from authorid.export.document_texts import DocumentTexts
from authorid.export.export_options import ExportOptions
from authorid.export.graph.graph_runner import Ids
from authorid.export.sources import CorpusRecord, Source
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus, load_corpus, load_known_corpus
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.corpus_warnings import CorpusDocument

__all__ = [
    "calibration_draws",
    "held_out_documents",
    "known_documents",
    "training_corpus",
    "training_texts",
    "unlabelled_documents",
]

_DRAWS = 4
"""How many samples of windows are drawn for calibration, when there are more windows than one sample holds."""

_DRAWN_TOKENS = 1536 * 128
"""Tokens in a draw, at most: more would take minutes, and the sample of each matmul input has a few thousand rows."""


def training_corpus(source: Source, path: Path | None, *, required: bool, reporter: Reporter = SILENT) -> Corpus | None:
    """Load the training corpus of `source`, which has a record of one, from `path` or else from where it was.

    Its digest must match. Returns None when it is not `required` and cannot be found there. Raises `ExportError` when
    it is required and its path is not known, `CorpusError` when it is not the same corpus and was required or named by
    `path`.
    """
    recorded = source.corpus
    assert recorded is not None
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


def held_out_documents(
    source: Source, recorded: CorpusRecord, corpus: Corpus, windower: Windower, most: int = 0
) -> VerificationSet:
    """The validation documents of the training, or else its training documents; at most `most` (0: all).

    Raises `CorpusError` when no document has any words.
    """
    if recorded.validation:
        # The same documents, so that what is measured on them does not depend on the recipe; but they are not new.
        origin, chosen = "training" if recorded.refitted else "validation", _documents(corpus, recorded.validation)
    else:
        origin, chosen = "training", _documents(corpus, recorded.training)
    return _labelled(source, corpus, _sample(chosen, most), windower, origin)


def known_documents(source: Source, options: ExportOptions, windower: Windower) -> VerificationSet:
    """Documents of the corpus ``options.verify_on``, which has a directory for each class.

    Raises `CorpusError` when no document has any words, or a directory is not called like a class.
    """
    assert options.verify_on is not None
    spec = CorpusSpec(options.verify_on) if source.corpus is None else source.corpus.spec(options.verify_on)
    corpus = load_known_corpus(spec, source.labels, typography=source.typography)
    chosen = _sample(corpus.documents, options.verify_documents)
    return _labelled(source, corpus, chosen, windower, "verification")


def unlabelled_documents(source: Source, texts: DocumentTexts, windower: Windower, most: int) -> VerificationSet:
    """The texts that graphs are to be compared on, at most `most` (0: all); their classes are not known.

    Raises `CorpusError` when no text has any words.
    """
    chosen = texts.verification[:most] if most else texts.verification
    documents = [own for own in _windows(windower, chosen) if own]
    if not documents:
        raise CorpusError(f"no {texts.origin} documents with any words to compare graphs on")
    return VerificationSet(texts.origin, documents, rule=source.rule)


def training_texts(recorded: CorpusRecord, corpus: Corpus) -> list[str]:
    """The texts of the training documents."""
    return [document.text for document in _documents(corpus, recorded.training)]


def calibration_draws(
    texts: Sequence[str], windower: Windower, options: ExportOptions, reporter: Reporter = SILENT
) -> Iterator[list[Ids]]:
    """Samples of windows of `texts`; a single one when it has all windows that there are.

    Raises `CorpusError` when no text has any words.
    """
    rng = np.random.default_rng(options.seed)
    most = min(options.calibration_windows, max(1, _DRAWN_TOKENS // (windower.content + windower.special_tokens)))
    for _ in range(_DRAWS):
        chosen = [texts[i] for i in rng.permutation(len(texts))[:most]]
        windows = [ids for own in _windows(windower, chosen) for ids in own]
        drawn = [windows[i] for i in rng.permutation(len(windows))[:most]]
        if not drawn:
            raise CorpusError("no documents with any words to calibrate on")
        reporter.info(f"calibrating INT8 on {len(drawn)} windows of {len(chosen)} documents")
        yield drawn
        if (len(chosen), len(drawn)) == (len(texts), len(windows)):
            return


def _labelled(
    source: Source, corpus: Corpus, documents: Sequence[CorpusDocument], windower: Windower, origin: str
) -> VerificationSet:
    windows = _windows(windower, [document.text for document in documents])
    usable = [i for i, own in enumerate(windows) if own]
    if not usable:
        raise CorpusError(f"{corpus.root}: no {origin} documents with any words to compare graphs on")
    index = {label: number for number, label in enumerate(source.labels)}
    labels = np.array([index[corpus.authors[documents[i].label]] for i in usable], np.int64)
    return VerificationSet(origin, [windows[i] for i in usable], labels, source.rule)


def _sample(documents: Sequence[CorpusDocument], most: int) -> list[CorpusDocument]:
    """At most `most` documents (0: all), in order.

    The choice does not depend on the seed of the export: different seeds must be compared on the same documents.
    """
    order = np.random.default_rng(0).permutation(len(documents))
    return [documents[i] for i in sorted(order[:most] if most else order)]


def _documents(corpus: Corpus, paths: Sequence[str]) -> list[CorpusDocument]:
    by_path = {document.path: document for document in corpus.documents}
    return [by_path[path] for path in paths if path in by_path]


def _windows(windower: Windower, texts: Sequence[str]) -> list[list[Ids]]:
    return [[window.ids for window in windower.windows(ids)] for ids in windower.token_ids(texts)]
