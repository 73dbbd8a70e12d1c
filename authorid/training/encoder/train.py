"""`train`: a corpus and a base model go in, a run directory comes out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.manifest import NGRAMS
from authorid.encoder.windows import Windower
from authorid.errors import CorpusError, RunError, expect
from authorid.evaluation.metrics import Metrics, evaluate_predictions
from authorid.scoring.posterior import log_softmax
from authorid.training.corpus import Corpus, load_corpus, load_test_corpus
from authorid.training.encoder import checkpoint
from authorid.training.encoder.backbone import load_backbone, load_tokenizer, resolve_base_model, weights_sha256
from authorid.training.encoder.classifier import (
    POLICIES,
    Geometry,
    build_classifier,
    freeze_embeddings,
    geometry_of,
    with_evidence,
)
from authorid.training.encoder.examples import Examples, document_scores
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.fusion import Held, learn
from authorid.training.ngram_run import describe
from authorid.training.recipes import TrainingOptions
from authorid.training.residual import leave_out
from authorid.training.run_directory import check_place, clear_place, hf_config, versions, write_run
from authorid.training.runs import FORMAT_VERSION, Run, predict_windows
from authorid.training.splits import split

__all__ = ["Progress", "train"]

History = dict[str, list[float]]
IntArray = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Progress:
    """What `train` reports: after every step, and at turning points.

    `epoch` and `step` count from 1 and say what is done; `loss` and `accuracy` are means over the epoch so
    far; `seconds_left` is an estimate for all that is left to train, 0 while there is nothing to go by.
    `message` is set only at turning points, a sentence for people: a document left out, a checkpoint resumed,
    the figures of an epoch.
    """

    epoch: int
    epochs: int
    step: int = 0
    steps: int = 0
    loss: float = 0.0
    accuracy: float = 0.0
    seconds_left: float = 0.0
    message: str | None = None


Report = Callable[[Progress], None]


_PACKAGES = ("tensorflow", "keras", "keras_hub", "safetensors", "scipy", "matplotlib")
"""What a training needs, from its first step to its last plot."""


def train(
    corpus: Path,
    out: Path,
    options: TrainingOptions,
    *,
    test_corpus: Path | None = None,
    resume: bool = False,
    force: bool = False,
    report: Report | None = None,
) -> Run:
    """Fine-tune `options.base_model` on `corpus` and write a run directory at `out`.

    After every epoch a checkpoint is put into ``out/checkpoint``; `resume` goes on from there after a kill, with
    the same corpus and options (and simply begins where there is no checkpoint yet). `force` replaces what is
    at `out`, if that is a run. With `test_corpus` the finished model is measured on it, for the record only.
    Raises `CorpusError`, `RunError`, `OutputError`, `BaseModelError` and `MissingExtraError`.
    """
    # Before anything is read, or fetched: who waits for a base model wants to hear this first.
    expect(_PACKAGES, "train")
    out = Path(out)
    told: Report = report or (lambda progress: None)
    check_place(out, resume=resume, force=force)
    known = load_corpus(Path(corpus))
    test = None if test_corpus is None else load_test_corpus(Path(test_corpus), known)
    for warning in (*known.warnings, *(test.warnings if test else ())):
        told(Progress(0, options.epochs, message=warning))
    base = resolve_base_model(options.base_model)
    training, validation = split(known, options)
    plan = _plan(options, base, known, training, validation)
    past = checkpoint.read_checkpoint(out) if resume else None
    if past is not None:
        _compare(plan, past.plan, out)

    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    tokenizer = load_tokenizer(str(base))
    backbone = load_backbone(str(base), POLICIES[options.precision])
    geometry = geometry_of(backbone)
    windower = _windower(tokenizer, geometry, options)
    tokens = windower.token_ids([document.text for document in known.documents])
    _check_tokens(tokens, training, known, geometry, windower, options)
    if options.freeze_embeddings:
        freeze_embeddings(backbone)
    head = _head(geometry, options)
    model = build_classifier(backbone, len(known.authors), options.pooling, head, options.dropout, options.funnel)
    evidence = None
    trained = model
    if options.residual:
        evidence = leave_out(
            known, training, validation, told=lambda message: told(Progress(0, options.epochs, message=message))
        )
        trained = with_evidence(model)
    _compile(keras, trained, options)
    history: History = {}
    if past is not None:
        checkpoint.restore(out, trained)
        history = {name: list(values) for name, values in past.history.items()}

    examples = Examples(
        [tokens[index] for index in training],
        [known.documents[index].label for index in training],
        windower,
        options,
        segments=geometry.num_segments > 0,
        evidence=None if evidence is None else evidence.training,
    )
    held = _Held(
        model,
        [[window.ids for window in windower.windows(tokens[index])] for index in validation],
        np.array([known.documents[index].label for index in validation], dtype=np.int64),
        None if evidence is None else evidence.validation,
    )
    clear_place(out, force=force)
    _fit(trained, examples, options, history, held, lambda: checkpoint.save(out, trained, plan, history), told)

    # The policy of the layers stays behind: what is kept is float32 throughout.
    plain = build_classifier(geometry, len(known.authors), options.pooling, head, options.dropout, options.funnel)
    plain.set_weights(model.get_weights())
    metrics = {name: values[-1] for name, values in history.items()}
    measured = None
    if test is not None:
        measured = _measure(plain, test, known, windower)
        metrics |= {f"test_{name}": measured[name] for name in ("accuracy", "macro_f1", "log_loss")}
    record = {
        "format": FORMAT_VERSION,
        "recipe": options.recipe,
        "family": geometry.family,
        "geometry": geometry.to_json(),
        "authors": list(known.authors),
        "window": windower.content + 2,
        "stride": windower.stride,
        "truncate": windower.truncate,
        "pooling": options.pooling,
        "head": head,
        "seed": options.seed,
        "options": options.to_json(),
        "base_model": {"name": base.name, "sha256": plan["base_model_sha256"]},
        "corpus": {
            "name": known.root.resolve().name,
            "path": str(known.root.resolve()),
            "digest": known.digest,
            "documents": len(known.documents),
            "authors": len(known.authors),
            "windows": examples.windows,
        },
        "training": plan["training"],
        "validation": plan["validation"],
        "versions": versions(),
        "metrics": metrics,
        "test": measured,
    }
    if options.recipe != "seed":
        record["fusion"] = _add_ngrams(out, plain, known, training, validation, held.windows, told, options.epochs)
    write_run(out, plain, tokenizer, hf_config(geometry, known.authors, options.dropout), history, record)
    return Run.load(out)


def _add_ngrams(
    out: Path,
    model: Any,
    corpus: Corpus,
    training: Sequence[int],
    validation: Sequence[int],
    windows: list[list[IntArray]],
    told: Report,
    epochs: int,
) -> dict[str, Any]:
    """Fit the n-gram expert, weigh the two experts on the validation documents, write the one and record the other."""
    authors = len(corpus.authors)
    scores = document_scores(predict_windows(model, windows, authors), authors)
    held = Held(np.asarray(training, dtype=np.int64), np.asarray(validation, dtype=np.int64), scores)

    def say(message: str) -> None:
        told(Progress(epochs, epochs, message=message))

    experts = learn(corpus, told=say, encoder=held)
    for warning in experts.warnings:
        say(f"warning: {warning}")
    checkpoint.write_atomically(out / NGRAMS, experts.expert.to_bytes())
    return {**describe(experts), "decision": asdict(experts.decision)}


@dataclass(frozen=True, slots=True)
class _Held:
    """The validation documents: windows int32 [s] of each, their authors int64 [documents], what the n-grams say.

    Where there is `evidence` float32 [documents, authors], the figures are those of both experts together.
    """

    model: Any
    windows: list[list[IntArray]]
    truth: npt.NDArray[np.int64]
    evidence: npt.NDArray[np.float32] | None

    def measure(self) -> dict[str, float]:
        if not len(self.truth):
            return {}
        authors = int(self.model.output_shape[-1])
        scores = document_scores(predict_windows(self.model, self.windows, authors), authors)
        if self.evidence is not None:
            scores = log_softmax(scores + self.evidence)
        return {
            "val_loss": float(-scores[np.arange(len(scores)), self.truth].mean()),
            "val_accuracy": float((scores.argmax(axis=1) == self.truth).mean()),
        }


def _fit(
    model: Any,
    examples: Examples,
    options: TrainingOptions,
    history: History,
    held: _Held,
    save: Callable[[], None],
    told: Report,
) -> None:
    """Run the epochs that `history` does not have yet, adding to it and saving after each."""
    epochs, steps = options.epochs, examples.steps
    authors = int(model.output_shape[-1])
    first = len(history.get("loss", ()))
    if first:
        told(Progress(first, epochs, steps, steps, message=f"resumed after epoch {first} of {epochs}"))
    clock = _Clock(epochs * steps)
    for epoch in range(first, epochs):
        started = time.monotonic()
        sums, loss, accuracy = np.zeros(2), 0.0, 0.0
        for step, batch in enumerate(examples.epoch(epoch)):
            done = epoch * steps + step
            model.optimizer.learning_rate.assign(_rate(done, epochs * steps, options))
            targets: npt.NDArray[Any] = batch.labels
            if options.label_smoothing:
                targets = np.eye(authors, dtype=np.float32)[batch.labels]
            model.reset_metrics()  # so that the figures are this batch's, whatever Keras accumulates
            sums += np.array([float(value) for value in model.train_on_batch(batch.inputs, targets)])
            loss, accuracy = (float(value) for value in sums / (step + 1))
            if not np.isfinite(loss):
                raise RunError(f"the loss became {loss} in epoch {epoch + 1}; try a lower learning rate")
            left = clock.seconds_left(done + 1)
            told(Progress(epoch + 1, epochs, step + 1, steps, loss, accuracy, left))
        measured = {"loss": loss, "accuracy": accuracy, **held.measure()}
        measured["seconds"] = time.monotonic() - started
        for name, value in measured.items():
            history.setdefault(name, []).append(value)
        save()
        figures = ", ".join(f"{name} {value:.4g}" for name, value in measured.items())
        summary = f"epoch {epoch + 1} of {epochs}: {figures}"
        left = clock.seconds_left((epoch + 1) * steps)
        told(Progress(epoch + 1, epochs, steps, steps, loss, accuracy, left, summary))


class _Clock:
    """Estimates the time left from the steps so far; the first step, which traces the graph, does not count."""

    def __init__(self, total: int) -> None:
        self._total = total
        self._origin: tuple[int, float] | None = None

    def seconds_left(self, done: int) -> float:
        now = time.monotonic()
        if self._origin is None:
            self._origin = (done, now)
        step, began = self._origin
        if done == step:
            return 0.0
        return (now - began) / (done - step) * (self._total - done)


def _rate(step: int, total: int, options: TrainingOptions) -> float:
    """Learning rate of `step` (0, 1, ...): linear warm-up, then linear to zero; constant for the seed recipe."""
    if options.recipe == "seed":
        return options.learning_rate
    warm = round(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    return options.learning_rate * (total - step) / (total - warm)


def _compile(keras: Any, model: Any, options: TrainingOptions) -> None:
    if options.recipe == "seed":
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
    optimizer.build(model.trainable_variables)  # a resumed state needs its slots before the first step


def _plan(
    options: TrainingOptions, base: Path, corpus: Corpus, training: Sequence[int], validation: Sequence[int]
) -> dict[str, Any]:
    """Collect what must be the same for a resumed training."""
    return {
        "options": options.to_json(),
        "corpus": corpus.digest,
        "authors": list(corpus.authors),
        "base_model_sha256": weights_sha256(base),
        "training": [corpus.documents[index].path for index in training],
        "validation": [corpus.documents[index].path for index in validation],
    }


def _compare(plan: Mapping[str, Any], past: Mapping[str, Any], out: Path) -> None:
    """Refuse to resume something else; raises `RunError` saying what differs."""
    now, then = (TrainingOptions.from_json(each["options"]) for each in (plan, past))
    differences = [line for line in now.differences(then) if not line.startswith("base_model ")]
    if plan["base_model_sha256"] != past["base_model_sha256"]:
        differences.append("the base model has other weights")
    if plan["corpus"] != past["corpus"] or plan["authors"] != past["authors"]:
        differences.append("the corpus has changed")
    elif not differences and (plan["training"], plan["validation"]) != (past["training"], past["validation"]):
        differences.append("the corpus is split otherwise (another version of Keras or numpy?)")
    if differences:
        raise RunError(f"{out}: cannot resume: {'; '.join(differences)}. Use force to start over")


def _windower(tokenizer: Any, geometry: Geometry, options: TrainingOptions) -> Windower:
    window = options.window
    if window > geometry.max_sequence_length:
        if not options.truncate:
            raise RunError(f"window {window} is longer than the encoder's {geometry.max_sequence_length} tokens")
        window = geometry.max_sequence_length
    return Windower(tokenizer, window, min(options.stride, window - 2), truncate=options.truncate)


def _head(geometry: Geometry, options: TrainingOptions) -> str | None:
    """Activation of the hidden layer: that of the families' own classification heads, for the seed recipe."""
    if options.recipe != "seed":
        return None
    return "relu" if geometry.family == "distilbert" else "tanh"


def _check_tokens(
    tokens: Sequence[IntArray],
    training: Sequence[int],
    corpus: Corpus,
    geometry: Geometry,
    windower: Windower,
    options: TrainingOptions,
) -> None:
    """Check that tokenizer, encoder and corpus fit together; raises `RunError` and `CorpusError`."""
    size = windower.tokenizer.get_vocab_size(with_added_tokens=True)
    if size > geometry.vocabulary_size:
        raise RunError(f"{options.base_model}: the tokenizer has {size} tokens, the encoder {geometry.vocabulary_size}")
    if options.topic_dropout and windower.tokenizer.token_to_id("[MASK]") is None:
        raise RunError(f"{options.base_model}: topic dropout needs a [MASK] token; set topic_dropout to 0")
    heard = {corpus.documents[index].label for index in training if len(tokens[index])}
    for label, author in enumerate(corpus.authors):
        if label not in heard:
            raise CorpusError(f"{corpus.root / author}: no document of this author is left to train on")


def _measure(model: Any, test: Corpus, corpus: Corpus, windower: Windower) -> dict[str, Any]:
    """Measure the finished model on a held-out corpus, without the long tables."""
    windows = [
        [window.ids for window in windower.windows(ids)]
        for ids in windower.token_ids([document.text for document in test.documents])
    ]
    scores = document_scores(predict_windows(model, windows, len(corpus.authors)), len(corpus.authors))
    probabilities = np.exp(scores)
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    place = {author: index for index, author in enumerate(corpus.authors)}
    truth = [place[test.authors[document.label]] for document in test.documents]
    metrics: Metrics = evaluate_predictions(truth, probabilities, corpus.authors)
    figures = {name: value for name, value in metrics.to_json().items() if name not in ("confusion", "per_author")}
    return {"name": test.root.resolve().name, "digest": test.digest, **figures}
