"""`train`: fine-tune an encoder on a corpus and write a run directory."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from authorid.encoder.windows import Windower
from authorid.errors import MissingExtraError, expect
from authorid.evaluation.metrics import evaluate_predictions
from authorid.outputs.directory import Workspace
from authorid.outputs.write_errors import raising_output_errors
from authorid.reporter import SILENT, Reporter
from authorid.training.corpus import Corpus
from authorid.training.corpus_spec import CorpusSpec
from authorid.training.encoder import checkpoint
from authorid.training.encoder.base_model import read_base_model
from authorid.training.encoder.classifier import build_classifier
from authorid.training.encoder.epochs import History, run_epochs
from authorid.training.encoder.examples import document_scores
from authorid.training.encoder.model_directory import resolve_base_model
from authorid.training.encoder.preparation import load_corpora, prepare
from authorid.training.encoder.probe import train_probe
from authorid.training.encoder.probe_tuning import train_tuned
from authorid.training.encoder.training_job import Trained, TrainingJob
from authorid.training.fusion import EncoderScores, FusionFit, fit_fusion
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import describe_ngrams
from authorid.training.recipes import TrainingOptions
from authorid.training.run_directory import (
    RUN_FORMAT,
    Existing,
    TrainingFiles,
    begin_training,
    check_run,
    hf_config,
    reserve_run,
    versions,
    write_run,
)
from authorid.training.runs import Run, predict_windows

__all__ = ["missing_extra", "train"]

_PACKAGES = ("tensorflow", "keras", "keras_hub", "safetensors", "scipy", "matplotlib")
"""What a training needs, from its first step to its last plot."""


def missing_extra() -> MissingExtraError | None:
    """The error that a training would end with at once; None if everything that it needs is installed."""
    try:
        expect(_PACKAGES, "train")
    except MissingExtraError as error:
        return error
    return None


def train(
    corpus: Path | CorpusSpec,
    out: Path,
    options: TrainingOptions,
    *,
    test_corpus: Path | None = None,
    existing: Existing = "refuse",
    reporter: Reporter = SILENT,
) -> Run:
    """Fine-tune `options.base_model` on `corpus` and write a run directory at `out`.

    After every epoch a checkpoint is written beside it, in a hidden directory. With `existing` ``resume``, an
    interrupted training goes on from there; corpus and options must be the same. It starts from the beginning where
    there is no checkpoint yet. With ``replace``, a run at `out` is replaced, in one step, when the new one is complete.
    With `test_corpus` the finished model is evaluated on it; the result is only recorded. Progress is reported in steps
    over all epochs. Raises `CorpusError`, `RunError`, `OutputError`, `BaseModelError` and `MissingExtraError`.
    """
    # Before anything is read or downloaded, which can take a long time.
    expect(_PACKAGES, "train")
    with reserve_run(Path(out), existing, reporter) as workspace:
        corpora = load_corpora(corpus, test_corpus, options.typography, reporter)
        base = read_base_model(resolve_base_model(options.base_model))
        split = corpora.split(options)
        plan = checkpoint.training_plan(options, base.sha256(), corpora.training, split)
        job = TrainingJob(corpora.training, split, base, options, plan, workspace, existing, reporter)
        trained = _RECIPES.get(options.recipe, _fine_tune)(job)
        files, record = _finish(job, trained, corpora.test)
        write_run(workspace, files, {**record, "training_id": trained.training_id})
        _publish(workspace)
    return Run.load(Path(out))


def _publish(workspace: Workspace) -> None:
    """Put the new run in its place, after it has been loaded and what it replaces has been checked again."""
    Run.load(workspace.new)
    check_run(workspace)
    with raising_output_errors(workspace.out):
        workspace.publish()
        workspace.discard_state()


def _fine_tune(job: TrainingJob) -> Trained:
    """Run the epochs of the recipes ``windows`` and ``classic``."""
    state, options = job.workspace.state, job.options
    past = checkpoint.read_checkpoint(state) if job.existing == "resume" else None
    if past is not None:
        checkpoint.check_plan(job.plan, past.plan, job.workspace.out)
    prepared = prepare(job.corpus, job.split, job.base, options)
    history: History = {}
    if past is not None:
        checkpoint.restore(state, prepared.model)
        history = {name: list(values) for name, values in past.history.items()}
    training_id = begin_training(job.workspace, job.existing)

    def save() -> None:
        with raising_output_errors(job.workspace.out):
            checkpoint.save(state, prepared.model, job.plan, history)

    run_epochs(prepared, history, save, job.reporter)
    authors = len(job.corpus.authors)
    # A new model, because the layers keep their dtype policy: the weights of a run are float32 throughout.
    model = build_classifier(
        prepared.geometry, authors, options.pooling, prepared.head, options.dropout, options.funnel
    )
    model.set_weights(prepared.model.get_weights())
    validation = prepared.validation.windows
    held_out = document_scores(predict_windows(model, validation, authors), authors)
    return Trained(
        training_id=training_id,
        model=model,
        history=history,
        windower=prepared.windower,
        geometry=prepared.geometry,
        windows=prepared.examples.windows,
        held_out=held_out,
        held_out_windows=np.array([len(windows) for windows in validation], dtype=np.int64),
        head=prepared.head,
    )


_RECIPES = {"probe": train_probe, "tune": train_tuned}
"""How the encoder is trained with the recipes that do not use `_fine_tune`."""


def _finish(job: TrainingJob, trained: Trained, test: Corpus | None) -> tuple[TrainingFiles, dict[str, Any]]:
    """The parts of the finished run, with the n-gram model beside the encoder, and their record."""
    tested = None if test is None else _evaluate_on(trained.model, test, job.corpus, trained.windower)
    record = _record(job, trained, tested)
    ngrams = None
    if job.options.recipe != "classic":
        fitted = _fit_ngrams(job, trained)
        ngrams = fitted.ngrams.to_bytes()
        record["fusion"] = {**describe_ngrams(fitted), "decision": asdict(fitted.decision)}
    config = hf_config(trained.geometry, job.corpus.authors, job.options.dropout)
    return TrainingFiles(trained.model, job.base.tokenizer, config, trained.history, ngrams), record


def _record(job: TrainingJob, trained: Trained, tested: dict[str, Any] | None) -> dict[str, Any]:
    """Return the content of run.json."""
    corpus, options, windower, plan = job.corpus, job.options, trained.windower, job.plan
    metrics = {name: values[-1] for name, values in trained.history.items()}
    if tested is not None:
        metrics |= {f"test_{name}": tested[name] for name in ("accuracy", "macro_f1", "log_loss")}
    return {
        "format": RUN_FORMAT,
        "recipe": options.recipe,
        "family": trained.geometry.family,
        "geometry": trained.geometry.to_json(),
        "authors": list(corpus.authors),
        "window": windower.content + 2,
        "stride": windower.stride,
        "truncate": windower.truncate,
        "pooling": options.pooling,
        "head": trained.head,
        **trained.details,
        "seed": options.seed,
        "options": options.to_json(),
        "base_model": {"name": job.base.root.name, "sha256": plan["base_model_sha256"]},
        "corpus": {
            "name": corpus.root.resolve().name,
            "path": str(corpus.root.resolve()),
            "digest": corpus.digest,
            "documents": len(corpus.documents),
            "authors": len(corpus.authors),
            "windows": trained.windows,
            **({"reading": dict(corpus.reading)} if corpus.reading else {}),
        },
        "training": plan["training"],
        "validation": plan["validation"],
        "versions": versions(),
        "metrics": metrics,
        "test": tested,
    }


def _fit_ngrams(job: TrainingJob, trained: Trained) -> FusionFit:
    """Fit the n-gram model and the decision rule; the encoder's weight in it on the validation documents."""
    training, validation = (np.asarray(part, dtype=np.int64) for part in job.split)
    encoder = EncoderScores(training, validation, trained.held_out, trained.held_out_windows)
    options = NgramOptions(sample_words=job.options.sample_words)
    fitted = fit_fusion(job.corpus, options, encoder=encoder, reporter=job.reporter)
    for warning in fitted.warnings:
        job.reporter.warning(warning)
    return fitted


def _evaluate_on(model: Any, test: Corpus, corpus: Corpus, windower: Windower) -> dict[str, Any]:
    """Return the metrics of the encoder on a test corpus, without those per author."""
    windows = [
        [window.ids for window in windower.windows(ids)]
        for ids in windower.token_ids([document.text for document in test.documents])
    ]
    scores = document_scores(predict_windows(model, windows, len(corpus.authors)), len(corpus.authors))
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    labels = {author: index for index, author in enumerate(corpus.authors)}
    truth = [labels[test.authors[document.label]] for document in test.documents]
    metrics = evaluate_predictions(truth, probabilities, corpus.authors).to_json()
    figures = {name: value for name, value in metrics.items() if name not in ("confusion", "per_author")}
    return {"name": test.root.resolve().name, "digest": test.digest, **figures}
