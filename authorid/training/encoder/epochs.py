"""The epochs of a fine-tuning: optimizer, learning rate, training steps, and validation after each epoch."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from authorid.errors import RunError
from authorid.reporter import Reporter
from authorid.training.encoder.examples import TrainingBatch, document_scores
from authorid.training.recipes import TrainingOptions
from authorid.training.runs import predict_windows

if TYPE_CHECKING:
    from authorid.training.encoder.preparation import Preparation

__all__ = ["History", "ValidationSet", "compile_model", "run_epochs", "scheduled_rate"]

History = dict[str, list[float]]
"""Loss, accuracy and seconds by epoch, and those of validation (``val_loss``, ``val_accuracy``) if there was one."""


@dataclass(frozen=True, slots=True)
class ValidationSet:
    """The validation documents: the windows of each, int32 [s], and their authors, int64 [documents]."""

    windows: list[list[npt.NDArray[np.int32]]]
    truth: npt.NDArray[np.int64]

    def evaluate(self, model: Any) -> dict[str, float]:
        """Return loss and accuracy by document; nothing if there are no documents."""
        if not len(self.truth):
            return {}
        authors = int(model.output_shape[-1])
        scores = document_scores(predict_windows(model, self.windows, authors), authors)
        return {
            "val_loss": float(-scores[np.arange(len(scores)), self.truth].mean()),
            "val_accuracy": float((scores.argmax(axis=1) == self.truth).mean()),
        }


def compile_model(keras: Any, model: Any, options: TrainingOptions) -> None:
    """Give `model` the optimizer, loss and metric of the recipe."""
    if options.recipe == "classic":
        optimizer = keras.optimizers.Adam(options.learning_rate)
    else:
        optimizer = keras.optimizers.AdamW(
            options.learning_rate, weight_decay=options.weight_decay, global_clipnorm=1.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    if options.label_smoothing:
        loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing)
        accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    else:
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        accuracy = keras.metrics.SparseCategoricalAccuracy(name="accuracy")
    # XLA was measured to be slower on CPUs.
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy], jit_compile=False)
    optimizer.build(model.trainable_variables)  # a checkpoint can be restored only into existing slots


def run_epochs(prepared: Preparation, history: History, save: Callable[[], None], reporter: Reporter) -> None:
    """Run the epochs that `history` does not have yet; add to it and call `save` after each.

    Raises `RunError` when the loss becomes infinite or not a number.
    """
    epochs, steps = prepared.options.epochs, prepared.examples.steps
    first = len(history.get("loss", ()))
    if first:
        reporter.info(f"resumed after epoch {first} of {epochs}")
        reporter.progress(first * steps, epochs * steps)
    for epoch in range(first, epochs):
        started = time.monotonic()
        loss, accuracy = _run_epoch(prepared, epoch, reporter)
        figures = {"loss": loss, "accuracy": accuracy, **prepared.validation.evaluate(prepared.model)}
        figures["seconds"] = time.monotonic() - started
        for name, value in figures.items():
            history.setdefault(name, []).append(value)
        save()
        summary = ", ".join(f"{name} {value:.4g}" for name, value in figures.items())
        reporter.info(f"epoch {epoch + 1} of {epochs}: {summary}")


def _run_epoch(prepared: Preparation, epoch: int, reporter: Reporter) -> tuple[float, float]:
    """Run the steps of `epoch` (0, 1, ...) and return its mean loss and accuracy."""
    model, options, steps = prepared.model, prepared.options, prepared.examples.steps
    total = options.epochs * steps
    sums, loss, accuracy = np.zeros(2), 0.0, 0.0
    for step, batch in enumerate(prepared.examples.epoch(epoch)):
        done = epoch * steps + step
        model.optimizer.learning_rate.assign(scheduled_rate(done, total, options))
        sums += _train_step(model, batch, options)
        loss, accuracy = (float(value) for value in sums / (step + 1))
        if not np.isfinite(loss):
            raise RunError(f"the loss became {loss} in epoch {epoch + 1}; try a lower learning rate")
        reporter.progress(done + 1, total, f"epoch {epoch + 1}/{options.epochs}  loss {loss:.3f}")
    return loss, accuracy


def _train_step(model: Any, batch: TrainingBatch, options: TrainingOptions) -> npt.NDArray[np.float64]:
    """Train on one batch and return its loss and accuracy."""
    targets: npt.NDArray[Any] = batch.labels
    if options.label_smoothing:
        targets = np.eye(int(model.output_shape[-1]), dtype=np.float32)[batch.labels]
    model.reset_metrics()  # else Keras returns means over several batches
    return np.array([float(value) for value in model.train_on_batch(batch.inputs, targets)])


def scheduled_rate(step: int, total: int, options: TrainingOptions) -> float:
    """Return the rate of `step` (0, 1, ...): linear warm-up, then linear to zero; constant for the classic recipe."""
    if options.recipe == "classic":
        return options.learning_rate
    warm = round(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    return options.learning_rate * (total - step) / (total - warm)
