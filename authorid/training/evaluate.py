"""Evaluate a model, a bundle or a training run, on documents whose authors are known."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.author_names import author_key
from authorid.bundle.decision import Decision
from authorid.bundle.manifest import MANIFEST, Typography, load_bundle
from authorid.encoder.engine_options import EngineOptions
from authorid.errors import BundleLacksError, CorpusError
from authorid.evaluation.evaluation_report import EvaluationReport, make_report
from authorid.evaluation.metrics import auroc, evaluate_predictions
from authorid.inputs.decoding import tidy
from authorid.inputs.discovery import directories
from authorid.inputs.timeouts import Timeout
from authorid.reporter import SILENT, Reporter
from authorid.scoring.attribution import Attribution
from authorid.scoring.posterior import posterior
from authorid.scoring.scorer import Effort, Scorer
from authorid.training.corpus import Corpus, load_known_corpus
from authorid.training.corpus_spec import LEAVE_OUT, CorpusSpec
from authorid.training.corpus_warnings import LeftOutFiles
from authorid.training.runs import Run
from authorid.training.samples import in_samples

__all__ = ["EvaluationOptions", "evaluate"]

Probabilities = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationOptions:
    """How to evaluate a bundle; a training run is evaluated as it is.

    `precision` chooses among the bundle's graphs, `effort` is that of the metrics (None: the bundle's default). With
    `ablation`, a bundle with an encoder and an n-gram model is also evaluated at every other effort and with the
    encoder alone. `unknown_authors` is a directory of documents by authors that the model does not know. With
    `sample_words`, the documents of the corpus are cut into samples of about so many words, and each is a document of
    its own.
    """

    precision: str = "auto"
    effort: Effort | None = None
    ablation: bool = True
    unknown_authors: Path | None = None
    sample_words: int = 0


def evaluate(
    model: Path,
    corpus: Path | CorpusSpec,
    options: EvaluationOptions = EvaluationOptions(),
    *,
    reporter: Reporter = SILENT,
) -> EvaluationReport:
    """Evaluate the bundle or run directory `model` on `corpus`, a directory with one subdirectory per author.

    Names of authors are compared in Unicode normal form C. Documents by unknown authors are read as `corpus` is.
    Documents that cannot be read or scored are left out, with a warning. Those that are ``unknown`` count by their most
    probable author; `EvaluationReport.ablation` also has their number, and the accuracy if they count as wrong. Raises
    `CorpusError` when an author of the corpus is not one of the model's, or when unknown authors are given with a
    training run, and `BundleLacksError` when the bundle does not choose one class for each document.
    """
    if (model / MANIFEST).is_file() or not (model / "run.json").is_file():
        return _evaluate_bundle(model, CorpusSpec.of(corpus), options, reporter)
    if options.unknown_authors is not None:
        raise CorpusError(f"{model}: unknown authors are evaluated with bundles only; export this run first")
    return _evaluate_run(Run.load(model), CorpusSpec.of(corpus), options, reporter)


@dataclass(frozen=True)
class _Predictions:
    """Answers for the documents of a corpus that could be scored.

    `kept` are their indices in the corpus, `truth` [documents] their authors, `probabilities` [documents, authors].
    """

    kept: list[int]
    truth: npt.NDArray[np.int64]
    probabilities: Probabilities


def _evaluate_run(run: Run, corpus: CorpusSpec, options: EvaluationOptions, reporter: Reporter) -> EvaluationReport:
    for warning in run.warnings:
        reporter.warning(warning)
    known = _load_known(corpus, run.authors, options, reporter, run.options.typography)
    answers = _run_answers(run, [document.text for document in known.documents])
    found = _collect(known, run.authors, answers, reporter)
    metrics = evaluate_predictions(found.truth, found.probabilities, run.authors)
    models = "encoder" if run.load_fusion() is None else "n-grams + encoder"
    lengths = [len(known.documents[index].text) for index in found.kept]
    ablation = [{"models": models, "accuracy": metrics.accuracy}]
    return make_report(found.truth, found.probabilities, run.authors, lengths, ablation)


def _run_answers(run: Run, texts: Sequence[str]) -> Iterator[Probabilities | None]:
    """Yield the probabilities [authors] of each text, or None for a text without tokens."""
    fusion = run.load_fusion()
    for text, logits in zip(texts, run.predict_logits(texts), strict=True):
        if not len(logits):
            yield None
        elif fusion is None:
            yield posterior(logits, Decision())
        else:
            ngrams, decision = fusion
            plain = tidy(text)
            yield posterior(logits, decision, ngrams.score_text(plain), len(plain.encode("utf-8", "replace")))


def _evaluate_bundle(
    model: Path, corpus: CorpusSpec, options: EvaluationOptions, reporter: Reporter
) -> EvaluationReport:
    bundle = load_bundle(model)
    if bundle.decision.fewest_classes == 1:
        gives = "a value" if bundle.answers.measure == "value" else "any number of labels"
        raise BundleLacksError(
            f"{model}: evaluate needs a model that chooses one class for each document; this one gives {gives}"
        )
    engine = EngineOptions(precision=options.precision)
    scorer = Scorer(bundle, engine, effort=options.effort)
    known = _load_known(corpus, bundle.authors, options, reporter)
    scored = _score(scorer, known, reporter)
    ablation = [scored.row]
    if options.ablation and bundle.graphs and bundle.ngrams is not None:
        efforts: tuple[Effort, ...] = ("fast", "auto", "full")
        ablation = [
            scored.row
            if effort == scorer.effort
            else _score(Scorer(bundle, engine, effort=effort), known, _ProgressOnly(reporter)).row
            for effort in efforts
        ]
        alone = Scorer(replace(bundle, ngrams=None, decision=Decision()), engine, effort="full")
        ablation.append(_score(alone, known, _ProgressOnly(reporter)).row)
    unknown = None
    if options.unknown_authors is not None:
        others = corpus.at(options.unknown_authors)
        unknown = _evaluate_unknown(scorer, others, scored.attributions, reporter)
    found = scored.predictions
    lengths = [len(known.documents[index].text) for index in found.kept]
    report = make_report(found.truth, found.probabilities, bundle.authors, lengths, ablation, unknown)
    return replace(report, noun=bundle.answers.noun)


@dataclass(frozen=True)
class _ProgressOnly:
    """A reporter that passes on progress and drops messages, which an earlier pass has reported."""

    reporter: Reporter

    def info(self, message: str) -> None:
        pass

    def warning(self, message: str) -> None:
        pass

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        self.reporter.progress(done, total, detail)


@dataclass(frozen=True)
class _ScoredCorpus:
    """A corpus scored once: predictions, their attributions, and a row for the table of models and efforts."""

    predictions: _Predictions
    attributions: list[Attribution]
    row: dict[str, Any]


def _load_known(
    corpus: CorpusSpec,
    authors: Sequence[str],
    options: EvaluationOptions,
    reporter: Reporter,
    typography: Typography = "kept",
) -> Corpus:
    """Read the corpus, in samples if `options` say so; raises `CorpusError` when an author is not among `authors`."""
    known = load_known_corpus(corpus, authors, LEAVE_OUT, typography)
    for message in known.warnings:
        reporter.warning(message)
    return in_samples(known, options.sample_words) if options.sample_words else known


def _collect(
    corpus: Corpus,
    authors: Sequence[str],
    answers: Iterator[Probabilities | None],
    reporter: Reporter,
    detail: str = "",
) -> _Predictions:
    """Take one answer for each document of `corpus`; None leaves the document out, with a warning."""
    labels = {author: index for index, author in enumerate(authors)}
    kept, probabilities = [], []
    for index, answer in enumerate(answers):
        if answer is None:
            path = corpus.root / corpus.documents[index].path
            reporter.warning(f"{path}: left out, it could not be scored")
        else:
            kept.append(index)
            probabilities.append(answer)
        reporter.progress(index + 1, len(corpus.documents), detail)
    truth = np.array([labels[corpus.authors[corpus.documents[index].label]] for index in kept], dtype=np.int64)
    return _Predictions(kept, truth, np.array(probabilities))


def _score(scorer: Scorer, corpus: Corpus, reporter: Reporter) -> _ScoredCorpus:
    """Score `corpus` once."""
    authors = scorer.bundle.authors
    attributions: list[Attribution] = []

    def answers() -> Iterator[Probabilities | None]:
        for attribution in scorer.score_texts(document.text for document in corpus.documents):
            if not attribution.ranking:
                yield None
                continue
            attributions.append(attribution)
            ranking = dict(attribution.ranking)
            yield np.array([ranking[author] for author in authors])

    names = [*(["n-grams"] if scorer.bundle.ngrams else []), *(["encoder"] if scorer.engine is not None else [])]
    models = " + ".join(names)
    started = time.perf_counter()
    found = _collect(corpus, authors, answers(), reporter, f"{models}, effort {scorer.effort}")
    seconds = time.perf_counter() - started
    metrics = evaluate_predictions(found.truth, found.probabilities, authors)
    named = np.array([attribution.status == "scored" for attribution in attributions])
    answered = float((named & (found.probabilities.argmax(axis=1) == found.truth)).mean())
    if not named.all():
        reporter.info(
            f"{(~named).sum()} of {len(named)} documents are unknown; the metrics are about their candidates, "
            f"and with unknown as a wrong answer the accuracy is {answered:.4f}"
        )
    row = {
        "models": models,
        "effort": scorer.effort,
        "accuracy": metrics.accuracy,
        "macro_f1": metrics.macro_f1,
        "ece": metrics.ece,
        "log_loss": metrics.log_loss,
        "unknown": int((~named).sum()),
        "accuracy_with_unknown_wrong": answered,
        "windows": sum(attribution.windows for attribution in attributions),
        "documents_per_second": len(corpus.documents) / seconds,
    }
    return _ScoredCorpus(found, attributions, row)


def _evaluate_unknown(
    scorer: Scorer, others: CorpusSpec, known: Sequence[Attribution], reporter: Reporter
) -> dict[str, Any]:
    """Return how well documents by unknown authors, those of `others`, are separated from the `known` ones.

    The values are their number, the AUROC of the known-author score and of the probability, and for each
    false-attribution threshold of the bundle the shares of documents that are attributed.
    """
    unknown = []
    for done, attribution in enumerate(_score_unknown(scorer, others, reporter)):
        reporter.progress(done + 1, None, "unknown authors")
        if attribution.ranking:
            unknown.append(attribution)
    if not unknown:
        raise CorpusError(f"{others.path}: no documents by unknown authors")
    if not known:
        raise CorpusError("no documents by known authors to compare the unknown ones with")
    result: dict[str, Any] = {"documents": len(unknown)}
    result["auroc"] = result["auroc_of_probability"] = auroc(
        np.array([row.probability for row in known], dtype=np.float64),
        np.array([row.probability for row in unknown], dtype=np.float64),
    )
    if scorer.bundle.ngrams is not None:
        known_scores = np.array([row.known_author_score for row in known], dtype=np.float64)
        unknown_scores = np.array([row.known_author_score for row in unknown], dtype=np.float64)
        known_named, unknown_named = (np.array([row.status == "scored" for row in rows]) for rows in (known, unknown))
        result["auroc"] = auroc(known_scores, unknown_scores)
        result["thresholds"] = [
            {
                "max_false_attribution": share,
                "unknown_attributed": float((unknown_named & (unknown_scores >= threshold)).mean()),
                "known_attributed": float((known_named & (known_scores >= threshold)).mean()),
            }
            for share, threshold in scorer.decision.false_attribution_thresholds
        ]
    return result


def _score_unknown(scorer: Scorer, others: CorpusSpec, reporter: Reporter) -> Iterator[Attribution]:
    """Score all documents of `others` except those in directories that are named like an author of the model."""
    directory, options = others.path, others.documents
    if not directory.is_dir():
        raise CorpusError(f"{directory}: not a directory of documents by unknown authors")
    authors = {author_key(name) for name in scorer.bundle.authors}
    with Timeout(options.timeout) as timeout:
        try:
            known = [name for name in directories(str(directory), options, timeout) if author_key(name) in authors]
        except OSError as error:
            raise CorpusError(f"{directory}: cannot be read: {error.strerror or error}") from None
    if known:
        reporter.warning(f"{directory}: {len(known)} directories of authors that the model knows are left out")
    options = replace(options, ignore=(*options.ignore, *map(_rule_for_directory, known)))
    left_out = LeftOutFiles(directory)
    for attribution in scorer.score([directory], options):
        if attribution.status == "failed":
            left_out.add(str(attribution.ref).removeprefix(f"{directory}/"), attribution.error or "")
        yield attribution
    for message in left_out.warnings():
        reporter.warning(message)


def _rule_for_directory(name: str) -> str:
    """A line of an ignore file that leaves out the top-level directory `name`."""
    return "/" + re.sub(r"([\\*?\[])", r"\\\1", name) + "/"
