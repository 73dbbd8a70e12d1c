"""Measure a model, a training run or a bundle, on documents whose authors are known."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.decision import Decision
from authorid.bundle.manifest import MANIFEST, load_bundle
from authorid.encoder.engine import EngineOptions
from authorid.errors import CorpusError
from authorid.evaluation.evaluation_report import (
    EvaluationReport,
    accuracy_by_length,
    bootstrap_interval,
    reliability,
    risk_coverage,
    worst_pairs,
)
from authorid.evaluation.metrics import Metrics, evaluate_predictions
from authorid.inputs.decoding import tidy
from authorid.inputs.documents import ReadOptions
from authorid.scoring.attribution import Attribution, posterior
from authorid.scoring.scorer import Effort, Scorer
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.open_set import auroc
from authorid.training.runs import Run

__all__ = ["evaluate_model", "examine"]


def evaluate_model(
    model: Path,
    corpus: Path,
    *,
    precision: str = "auto",
    advance: Callable[[int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> Metrics:
    """Metrics of the bundle or run directory `model` on `corpus`, one directory per author.

    `precision` chooses among a bundle's graphs. `advance` is told of documents as they are done, `warn` of those
    that are left out. Raises `CorpusError` when an author of the corpus is none of the model's.
    """
    return _measured(model, corpus, precision, advance or (lambda count: None), warn or (lambda message: None))[0]


def _measured(
    model: Path, corpus: Path, precision: str, advance: Callable[[int], None], warn: Callable[[str], None]
) -> tuple[Metrics, list[str], npt.NDArray[np.float64], npt.NDArray[np.int64]]:
    """Metrics, and the texts, probabilities and authors that they are of."""
    texts = load_corpus(corpus, copies=True)
    for message in texts.warnings:
        warn(f"warning: {message}")
    authors, answers = _answers(model, [document.text for document in texts.documents], precision)
    strangers = sorted(set(texts.authors) - set(authors))
    if strangers:
        raise CorpusError(
            f"{corpus}: {len(strangers)} of its {len(texts.authors)} authors are unknown to the model "
            f"{model}: {', '.join(strangers[:5])}{', ...' if len(strangers) > 5 else ''}"
        )
    label = {author: index for index, author in enumerate(authors)}
    truth, probabilities, kept = [], [], []
    for document, answer in zip(texts.documents, answers, strict=True):
        advance(1)
        if answer is None:
            warn(f"warning: {corpus / document.path}: left out, it could not be scored")
            continue
        truth.append(label[texts.authors[document.label]])
        probabilities.append(answer)
        kept.append(document.text)
    labels, rows = np.array(truth, dtype=np.int64), np.array(probabilities)
    return evaluate_predictions(labels, rows, authors), kept, rows, labels


def _answers(
    model: Path, texts: Sequence[str], precision: str
) -> tuple[tuple[str, ...], Iterator[npt.NDArray[np.float64] | None]]:
    """Authors of the model, and its probabilities [authors] for each text, None where there are none."""
    if (model / "run.json").is_file() and not (model / MANIFEST).is_file():
        run = Run.load(model)
        return run.authors, _fused_answers(run, texts) if run.experts() else _run_answers(run, texts)
    scorer = Scorer.load(model, EngineOptions(precision=precision))
    return scorer.bundle.authors, _bundle_answers(scorer, texts)


def _run_answers(run: Run, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float64] | None]:
    for logits in run.predict_logits(texts):
        yield posterior(logits, Decision()) if len(logits) else None


def _fused_answers(run: Run, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float64] | None]:
    experts = run.experts()
    assert experts is not None
    expert, decision = experts
    for text, logits in zip(texts, run.predict_logits(texts), strict=True):
        plain = tidy(text)
        size = len(plain.encode("utf-8", "replace"))
        yield posterior(logits, decision, expert.score_text(plain), size) if len(logits) else None


def examine(
    model: Path,
    corpus: Path,
    *,
    precision: str = "auto",
    effort: Effort = "auto",
    strangers: Path | None = None,
    ablation: bool = True,
    advance: Callable[[int], None] | None = None,
    warn: Callable[[str], None] | None = None,
) -> EvaluationReport:
    """Everything about the bundle or run directory `model` on `corpus`; see `EvaluationReport`.

    With `ablation` a bundle of two experts is measured at every effort and with either expert alone. `strangers` is a
    directory of documents by authors that the model does not know. `advance` and `warn` as in `evaluate_model`.
    """
    told: Callable[[str], None] = warn or (lambda message: None)
    step: Callable[[int], None] = advance or (lambda count: None)
    if not (model / MANIFEST).is_file() and (model / "run.json").is_file():
        if strangers is not None:
            raise CorpusError(f"{model}: strangers are measured on bundles; export this run first")
        metrics, texts, probabilities, truth = _measured(model, corpus, precision, step, told)
        rows = [{"experts": "all" if Run.load(model).experts() else "encoder", "accuracy": metrics.accuracy}]
        return _findings(metrics, texts, probabilities, truth, rows, None)
    bundle = load_bundle(model)
    scorer = Scorer(bundle, EngineOptions(precision=precision), effort=effort)
    known = _labelled(corpus, bundle.authors, told)
    metrics, probabilities, truth, kept, answers, row = _pass(scorer, known, step, told)
    rows = [row]
    if ablation and bundle.graphs and bundle.ngrams is not None:
        rows = []
        others: tuple[Effort, ...] = ("fast", "auto", "full")
        for other in others:
            if other != scorer.effort:
                again = Scorer(bundle, EngineOptions(precision=precision), effort=other)
                rows.append(_pass(again, known, step, lambda message: None)[-1])
            else:
                rows.append(row)
        alone = replace(bundle, ngrams=None, decision=Decision())
        again = Scorer(alone, EngineOptions(precision=precision), effort="full")
        rows.append({**_pass(again, known, step, lambda message: None)[-1], "experts": "encoder"})
    found = None if strangers is None else _strangers(scorer, strangers, answers, step, told)
    texts = [known.documents[index].text for index in kept]
    return _findings(metrics, texts, probabilities, truth, rows, found)


def _findings(
    metrics: Metrics,
    texts: Sequence[str],
    probabilities: npt.NDArray[np.float64],
    truth: npt.NDArray[np.int64],
    ablation: list[dict[str, Any]],
    strangers: dict[str, Any] | None,
) -> EvaluationReport:
    right = probabilities.argmax(axis=1) == truth
    confidence = probabilities.max(axis=1)
    return EvaluationReport(
        metrics=metrics,
        interval=bootstrap_interval(right),
        pairs=worst_pairs(metrics),
        by_length=accuracy_by_length([len(text) for text in texts], right),
        reliability=reliability(confidence, right),
        risk_coverage=risk_coverage(confidence, right),
        ablation=ablation,
        strangers=strangers,
    )


def _labelled(corpus: Path, authors: Sequence[str], warn: Callable[[str], None]) -> Corpus:
    known = load_corpus(corpus, copies=True)
    for message in known.warnings:
        warn(f"warning: {message}")
    strangers = sorted(set(known.authors) - set(authors))
    if strangers:
        raise CorpusError(
            f"{corpus}: {len(strangers)} of its {len(known.authors)} authors are unknown to the model: "
            f"{', '.join(strangers[:5])}{', ...' if len(strangers) > 5 else ''}"
        )
    return known


def _pass(
    scorer: Scorer, corpus: Corpus, advance: Callable[[int], None], warn: Callable[[str], None]
) -> tuple[
    Metrics,
    npt.NDArray[np.float64],
    npt.NDArray[np.int64],
    list[int],
    list[Attribution],
    dict[str, Any],
]:
    """Score `corpus` once: metrics, probabilities, truth, indices and answers of what was scored, and a summary."""
    authors = scorer.bundle.authors
    place = {author: index for index, author in enumerate(authors)}
    started = time.perf_counter()
    answers, kept = [], []
    for index, row in enumerate(scorer.score_texts(document.text for document in corpus.documents)):
        advance(1)
        if row.ranking:
            answers.append(row)
            kept.append(index)
        else:
            warn(f"warning: {corpus.root / corpus.documents[index].path}: left out, it could not be scored")
    seconds = time.perf_counter() - started
    truth = np.array([place[corpus.authors[corpus.documents[index].label]] for index in kept], dtype=np.int64)
    probabilities = np.array([[dict(row.ranking)[author] for author in authors] for row in answers])
    metrics = evaluate_predictions(truth, probabilities, authors)
    experts = [*(["n-grams"] if scorer.bundle.ngrams else []), *(["encoder"] if scorer.engine is not None else [])]
    summary = {
        "experts": " + ".join(experts),
        "effort": scorer.effort,
        "accuracy": metrics.accuracy,
        "macro_f1": metrics.macro_f1,
        "ece": metrics.ece,
        "log_loss": metrics.log_loss,
        "windows": sum(row.windows for row in answers),
        "documents_per_second": len(corpus.documents) / seconds,
    }
    return metrics, probabilities, truth, kept, answers, summary


def _strangers(
    scorer: Scorer,
    place: Path,
    known: Sequence[Attribution],
    advance: Callable[[int], None],
    warn: Callable[[str], None],
) -> dict[str, Any]:
    """How documents of unknown authors below `place` fare beside the `known` ones."""
    try:
        entries = sorted(place.iterdir())
    except OSError as error:
        raise CorpusError(f"{place}: cannot be read as a directory of strangers: {error.strerror}") from None
    own = {entry for entry in entries if entry.name in scorer.bundle.authors and entry.is_dir()}
    if own:
        warn(f"warning: {place}: {len(own)} directories of authors that the model knows are left out")
    strange = []
    others = [entry for entry in entries if entry not in own and not entry.name.startswith(".")]
    for row in scorer.score(others, ReadOptions(follow_symlinks=True)):
        advance(1)
        if row.ranking:
            strange.append(row)
    if not strange:
        raise CorpusError(f"{place}: no documents by unknown authors")
    if not known:
        raise CorpusError("no documents by known authors to compare strangers with")
    report: dict[str, Any] = {"documents": len(strange)}
    sure = [np.array([row.probability for row in rows], dtype=np.float64) for rows in (known, strange)]
    report["auroc"] = report["auroc_of_probability"] = auroc(*sure)
    if scorer.bundle.ngrams is not None:
        familiar = [np.array([row.known_author_score for row in rows], dtype=np.float64) for rows in (known, strange)]
        report["auroc"] = auroc(*familiar)
        report["thresholds"] = [
            {
                "max_false_attribution": share,
                "strangers_attributed": float((familiar[1] >= least).mean()),
                "known_attributed": float((familiar[0] >= least).mean()),
            }
            for share, least in scorer.decision.false_attribution_thresholds
        ]
    return report


def _bundle_answers(scorer: Scorer, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float64] | None]:
    for row in scorer.score_texts(texts):
        ranking = dict(row.ranking)
        yield np.array([ranking[author] for author in scorer.bundle.authors]) if ranking else None
