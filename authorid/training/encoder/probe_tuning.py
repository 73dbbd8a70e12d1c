"""The recipe ``tune``: the probe is fitted, then its layers are trained a little, if that helps on held-out documents.

The order matters: a head that fits what the layers compute keeps the training from distorting it (Kumar et al., 2022).
The layers are tuned on the training documents, and the held-out ones say whether the tuned model is clearly better than
the probe. If it is, the layers of the probe that was fitted to all documents are tuned on all of them; if not, the
result is that probe.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import RunError
from authorid.outputs.write_errors import raising_output_errors
from authorid.scoring.posterior import log_softmax
from authorid.training.confidence import ENOUGH_HELD_OUT, best_factor, document_losses
from authorid.training.encoder import checkpoint
from authorid.training.encoder.document_features import document_features
from authorid.training.encoder.epochs import History, scheduled_rate
from authorid.training.encoder.examples import common_tokens, drop_topics, inputs
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.encoder.probe import FittedProbe, fit_probe
from authorid.training.encoder.subject_batches import rare_words, subject_batches
from authorid.training.encoder.training_job import Trained, TrainingJob
from authorid.training.encoder.tuning_step import Step, compile_tuning, tuning_step
from authorid.training.encoder_weight import is_clear

__all__ = ["train_tuned"]

WINDOWS = 4
"""Windows that stand for a document in a batch."""

FACTORS = (0.02, 10.0)
"""Least and greatest factor of the logits."""

Labels = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Comparison:
    """The tuned model and the probe on held-out documents: accuracy and loss, each at its best factor.

    `log_softmax` [held out, authors] and `factor` are those of the tuned model; it is `better` if its loss is clearly
    less and its accuracy not less.
    """

    probe: tuple[float, float]
    tuned: tuple[float, float]
    better: bool
    factor: float
    log_softmax: Scores


def train_tuned(job: TrainingJob) -> Trained:
    """Train the classifier of the recipe; raises `RunError`, `CorpusError` and `OutputError`."""
    probe = fit_probe(job)
    training, held = (np.asarray(part, dtype=np.int64) for part in job.split)
    held = held[probe.usable[held]]
    untuned = probe.trained()
    if len(held) < ENOUGH_HELD_OUT:
        reason = f"{len(held)} documents held out, {ENOUGH_HELD_OUT} needed to see whether tuning helps"
        job.reporter.warning(f"not tuned, the model is the probe: {reason}")
        return _with_details(untuned, {"kept": False, "reason": reason})
    measured, history = tune_layers(probe, training, "held-out")
    with raising_output_errors(job.workspace.out):
        tokens = [probe.tokenized.tokens[index] for index in held]
        place = job.workspace.state / "held-out"
        logits = document_features(measured, tokens, probe.tokenized.windower, place, job.reporter)
    compared = compare(logits, probe, held)
    figures = {
        "probe": dict(zip(("accuracy", "loss"), compared.probe, strict=True)),
        "tuned": dict(zip(("accuracy", "loss"), compared.tuned, strict=True)),
    }
    both = "; ".join(f"{name}: accuracy {a['accuracy']:.4f}, loss {a['loss']:.4f}" for name, a in figures.items())
    if not compared.better:
        job.reporter.info(f"tuning did not help: kept the probe ({both})")
        return _with_details(untuned, {"kept": False, **figures})
    job.reporter.info(f"tuning helped ({both}); now the layers are tuned on all documents")
    model, _ = tune_layers(probe, np.arange(len(probe.usable)), "all")
    head = model.get_layer("logits")
    head.set_weights([each * np.float32(compared.factor) for each in head.get_weights()])
    scores = np.array(untuned.held_out)
    scores[probe.usable[np.asarray(job.split[1], dtype=np.int64)]] = compared.log_softmax
    accuracy, loss = compared.tuned
    history = {**history, "val_loss": [loss], "val_accuracy": [accuracy]}
    tuned = replace(untuned, model=model, held_out=scores, history=history)
    return _with_details(tuned, {"kept": True, **figures})


def compare(logits: npt.NDArray[np.float32], probe: FittedProbe, held: Labels) -> Comparison:
    """Compare the tuned model, by its `logits` [held out, authors], with the probe on the documents `held`."""
    truth = probe.labels[held]
    split = np.asarray(probe.job.split[1], dtype=np.int64)
    both: list[Scores] = [probe.choice.log_softmax[probe.usable[split]], logits.astype(np.float64)]
    factors = [best_factor(scores, truth, FACTORS)[0] for scores in both]
    scaled = [scores * factor for scores, factor in zip(both, factors, strict=True)]
    losses = [document_losses(scores, truth) for scores in scaled]
    accuracies = [float((scores.argmax(axis=1) == truth).mean()) for scores in scaled]
    probe_figures, tuned_figures = ((a, float(loss.mean())) for a, loss in zip(accuracies, losses, strict=True))
    return Comparison(
        probe_figures,
        tuned_figures,
        is_clear(losses[0] - losses[1]) and accuracies[1] >= accuracies[0],
        factors[1],
        log_softmax(scaled[1]),
    )


def tune_layers(probe: FittedProbe, documents: Labels, name: str) -> tuple[Any, History]:
    """Tune the layers under a head that is fitted to `documents`, on these; or load the model if that is done.

    Returns the classifier and the history of the epochs. The checkpoint is in the directory `name` of the state of the
    training. Raises `RunError` when the loss becomes infinite or not a number.
    """
    job, place = probe.job, probe.job.workspace.state / name
    documents = documents[probe.usable[documents]]
    import_keras().utils.set_random_seed(job.options.seed)
    model = probe.classifier(documents)
    compile_tuning(model, job.options)
    past = checkpoint.read_checkpoint(place)
    history: History = {}
    if past is not None:
        checkpoint.restore(place, model)
        history = {name: list(values) for name, values in past.history.items()}
    step = tuning_step(model, probe.vectors[documents])
    batches = TuningBatches(probe, documents)
    first, epochs = len(history.get("loss", ())), job.options.epochs
    for epoch in range(first, epochs):
        started = time.monotonic()
        loss, accuracy = _run_epoch(model, step, batches, epoch, f"{name} {epoch + 1}/{epochs}")
        figures = {"loss": loss, "accuracy": accuracy, "seconds": time.monotonic() - started}
        for key, value in figures.items():
            history.setdefault(key, []).append(value)
        with raising_output_errors(job.workspace.out):
            place.mkdir(exist_ok=True)
            checkpoint.save(place, model, job.plan, history)
        summary = ", ".join(f"{key} {value:.4g}" for key, value in figures.items())
        job.reporter.info(f"tuning, epoch {epoch + 1} of {epochs}: {summary}")
    return model, history


class TuningBatches:
    """The batches of `documents` of a corpus, epoch by epoch."""

    def __init__(self, probe: FittedProbe, documents: Labels) -> None:
        self._probe, self._options, self._documents = probe, probe.job.options, documents
        windower = probe.tokenized.windower
        tokens = [probe.tokenized.tokens[index] for index in documents]
        self._pad = windower.tokenizer.token_to_id("[PAD]") or 0
        self._mask: int = windower.tokenizer.token_to_id("[MASK]") or 0
        self._common = common_tokens(tokens, windower)
        words, labels = rare_words(tokens, self._common), probe.labels[documents]
        authors = max(2, self._options.batch // (2 * WINDOWS))
        self._plans = [
            subject_batches(words, labels, authors, np.random.default_rng([self._options.seed, epoch]))
            for epoch in range(self._options.epochs)
        ]
        self.steps = [len(plan) for plan in self._plans]

    def epoch(self, epoch: int) -> Iterator[tuple[dict[str, npt.NDArray[np.int32]], npt.NDArray[np.int32]]]:
        """Yield the windows and the authors of the batches of `epoch` (0, 1, ...), as a `Step` takes them."""
        generator = np.random.default_rng([self._options.seed, epoch, 1])
        segments = self._probe.geometry.num_segments > 0
        for batch in self._plans[epoch]:
            chosen = self._documents[batch]
            rows = [row for index in chosen for row in self._draw(int(index), generator)]
            named = inputs(rows, max(map(len, rows)), segments=segments, pad=self._pad)
            if self._options.topic_dropout:
                drop_topics(named["token_ids"], self._common, self._mask, self._options.topic_dropout, generator)
            yield named, self._probe.labels[chosen].astype(np.int32)

    def _draw(self, document: int, generator: np.random.Generator) -> list[npt.NDArray[np.int32]]:
        """`WINDOWS` windows of a document, the same ones again if it has fewer."""
        windows = self._probe.tokenized.windows(document)
        return [windows[index] for index in np.resize(generator.permutation(len(windows)), WINDOWS)]


def _run_epoch(model: Any, step: Step, batches: TuningBatches, epoch: int, name: str) -> tuple[float, float]:
    """Run the steps of `epoch` and return its mean loss and accuracy."""
    job, total, done = batches._probe.job, sum(batches.steps), sum(batches.steps[:epoch])
    sums, loss, accuracy = np.zeros(2), 0.0, 0.0
    for number, (named, authors) in enumerate(batches.epoch(epoch), 1):
        model.optimizer.learning_rate.assign(scheduled_rate(done + number - 1, total, job.options))
        sums += step(named, authors)
        loss, accuracy = (float(value) for value in sums / number)
        if not np.isfinite(loss):
            raise RunError(f"the loss became {loss} in epoch {epoch + 1}; try a lower learning rate")
        job.reporter.progress(done + number, total, f"tuning {name}  loss {loss:.3f}")
    return loss, accuracy


def _with_details(trained: Trained, tuning: dict[str, Any]) -> Trained:
    return replace(trained, details={**trained.details, "tuning": tuning})
