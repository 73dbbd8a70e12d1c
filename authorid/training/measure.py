"""Measure a model, a training run or a bundle, on documents whose authors are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt

from authorid.attribution import posterior
from authorid.bundle import MANIFEST, Decision
from authorid.engine import EngineOptions
from authorid.errors import CorpusError
from authorid.evaluation import Metrics, evaluate_predictions
from authorid.pipeline import Scorer
from authorid.training.corpus import load_corpus
from authorid.training.runs import Run

__all__ = ["evaluate_model"]


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
    advance = advance or (lambda count: None)
    warn = warn or (lambda message: None)
    texts = load_corpus(corpus)
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
    truth, probabilities = [], []
    for document, answer in zip(texts.documents, answers, strict=True):
        advance(1)
        if answer is None:
            warn(f"warning: {corpus / document.path}: left out, it could not be scored")
            continue
        truth.append(label[texts.authors[document.label]])
        probabilities.append(answer)
    return evaluate_predictions(np.array(truth), np.array(probabilities), authors)


def _answers(
    model: Path, texts: Sequence[str], precision: str
) -> tuple[tuple[str, ...], Iterator[npt.NDArray[np.float64] | None]]:
    """Authors of the model, and its probabilities [authors] for each text, None where there are none."""
    if (model / "run.json").is_file() and not (model / MANIFEST).is_file():
        run = Run.load(model)
        return run.authors, _run_answers(run, texts)
    scorer = Scorer.load(model, EngineOptions(precision=precision))
    return scorer.bundle.authors, _bundle_answers(scorer, texts)


def _run_answers(run: Run, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float64] | None]:
    for logits in run.predict_logits(texts):
        yield posterior(logits, Decision()) if len(logits) else None


def _bundle_answers(scorer: Scorer, texts: Sequence[str]) -> Iterator[npt.NDArray[np.float64] | None]:
    for row in scorer.score_texts(texts):
        ranking = dict(row.ranking)
        yield np.array([ranking[author] for author in scorer.bundle.authors]) if ranking else None
