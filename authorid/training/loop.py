"""`train`: a corpus and a base model go in, a run directory comes out."""

from __future__ import annotations

import importlib.metadata
import json
import platform
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import CorpusError, RunError
from authorid.training import checkpoint
from authorid.training.backbone import load_backbone, load_tokenizer, weights_sha256
from authorid.training.batches import Examples, document_scores
from authorid.training.corpus import Corpus, load_corpus
from authorid.training.keras_setup import import_keras
from authorid.training.model import POLICIES, Geometry, build_classifier, freeze_embeddings, geometry_of
from authorid.training.plots import plot_history
from authorid.training.recipes import TrainingOptions
from authorid.training.runs import FORMAT_VERSION, Run, predict_windows
from authorid.windows import Windower

__all__ = ["Progress", "train"]

History = dict[str, list[float]]

_PARTS = ("run.json", "model.keras", "config.json", "tokenizer.json", "history.json", "history.png")


@dataclass(frozen=True, slots=True)
class Progress:
    """What `train` reports after every step.

    `epoch` and `step` count from 1 and say what is done; `loss` and `accuracy` are means over the epoch so far;
    `seconds_left` is an estimate for the whole training. `message` is set (with the counters as they stand) at
    turning points: documents left out, an epoch's validation, a resumed checkpoint.
    """

    epoch: int
    epochs: int
    step: int
    steps: int
    loss: float
    accuracy: float
    seconds_left: float
    message: str | None = None


def train(
    corpus: Path,
    out: Path,
    options: TrainingOptions,
    *,
    test_corpus: Path | None = None,
    resume: bool = False,
    force: bool = False,
    report: Callable[[Progress], None] | None = None,
) -> Run:
    """Fine-tune `options.base_model` on `corpus` and write a run directory at `out`.

    After every epoch a checkpoint is put into ``out/checkpoint``; with `resume` a training that was killed goes
    on from there. `force` replaces what is at `out`, if it is a run. With `test_corpus` the finished model is
    measured on it, for the record only. Raises `CorpusError`, `RunError`, `BaseModelError`, `MissingExtraError`.
    """
    out = Path(out)
    told = report or (lambda progress: None)
    _claim(out, resume=resume, force=force)
    texts = load_corpus(Path(corpus))
    for warning in texts.warnings:
        told(Progress(0, options.epochs, 0, 0, 0.0, 0.0, 0.0, warning))
    training, validation = texts.split(options.validation_split, options.seed, options.validation_how)
    plan = _plan(options, texts, training, validation)
    past = checkpoint.read_plan(out) if resume else None
    if past is not None:
        _compare(plan, past[0], out)

    keras = import_keras()
    keras.utils.set_random_seed(options.seed)
    tokenizer = load_tokenizer(options.base_model)
    backbone = load_backbone(options.base_model, POLICIES[options.precision])
    geometry = geometry_of(backbone)
    windower = _windower(tokenizer, geometry, options)
    tokens = windower.token_ids([document.text for document in texts.documents])
    _check_tokens(tokens, training, texts, geometry, windower, options)
    if options.freeze_embeddings:
        freeze_embeddings(backbone)
    activation = _activation(geometry, options)
    model = build_classifier(backbone, len(texts.authors), options.pooling, activation, options.dropout)
    examples = Examples(
        [tokens[index] for index in training],
        [texts.documents[index].label for index in training],
        windower,
        options,
        segments=geometry.num_segments > 0,
    )
    _compile(keras, model, options)
    history: History = {}
    if past is not None:
        checkpoint.restore(out, model)
        history = {name: list(values) for name, values in past[1].items()}
    held = [[window.ids for window in windower.windows(tokens[index])] for index in validation]
    truth = np.array([texts.documents[index].label for index in validation], dtype=np.int64)
    _fit(
        model,
        examples,
        options,
        history,
        (held, truth),
        lambda: checkpoint.save(out, model, plan, history),
        told,
    )
    return _finish(out, model, tokenizer, geometry, texts, plan, history, options, test_corpus)


def _fit(
    model: Any,
    examples: Examples,
    options: TrainingOptions,
    history: History,
    held: tuple[list[list[npt.NDArray[np.int32]]], npt.NDArray[np.int64]],
    save: Callable[[], None],
    told: Callable[[Progress], None],
) -> None:
    """Run the epochs that `history` does not have yet, adding to it and saving after each."""
    total = options.epochs * examples.steps
    first = len(history.get("loss", ()))
    began, begun_at = time.monotonic(), first * examples.steps
    if first:
        told(
            Progress(first, options.epochs, 0, examples.steps, 0.0, 0.0, 0.0, f"resumed after epoch {first}")
        )
    authors = int(model.output_shape[-1])
    for epoch in range(first, options.epochs):
        started = time.monotonic()
        sums = np.zeros(2)
        loss = accuracy = 0.0
        for step, batch in enumerate(examples.epoch(epoch)):
            done = epoch * examples.steps + step
            model.optimizer.learning_rate.assign(_rate(done, total, options))
            targets = np.eye(authors, dtype=np.float32)[batch.labels]
            model.reset_metrics()  # so that it is this batch's, whatever Keras accumulates
            sums += np.array([float(value) for value in model.train_on_batch(batch.inputs, targets)])
            loss, accuracy = (float(value) for value in sums / (step + 1))
            if not np.isfinite(loss):
                raise RunError(f"the loss became {loss} in epoch {epoch + 1}; try a lower learning rate")
            seconds = (time.monotonic() - began) / (done + 1 - begun_at) * (total - done - 1)
            told(Progress(epoch + 1, options.epochs, step + 1, examples.steps, loss, accuracy, seconds))
        measured = {"loss": loss, "accuracy": accuracy, "seconds": time.monotonic() - started}
        if len(held[1]):
            scores = document_scores(predict_windows(model, held[0], authors), authors)
            measured["val_accuracy"] = float((scores.argmax(axis=1) == held[1]).mean())
            measured["val_loss"] = float(-scores[np.arange(len(scores)), held[1]].mean())
        for name, value in measured.items():
            history.setdefault(name, []).append(value)
        save()
        figures = ", ".join(f"{name} {value:.4f}" for name, value in measured.items())
        told(
            Progress(
                epoch + 1,
                options.epochs,
                examples.steps,
                examples.steps,
                loss,
                accuracy,
                0.0,
                f"epoch {epoch + 1} of {options.epochs}: {figures}",
            )
        )


def _rate(step: int, total: int, options: TrainingOptions) -> float:
    """Learning rate of `step` (0, 1, ...): linear warm-up, then linear to zero; constant for the seed recipe."""
    if options.recipe == "seed":
        return options.learning_rate
    warm = round(options.warmup * total)
    if step < warm:
        return options.learning_rate * (step + 1) / warm
    return options.learning_rate * (total - step) / max(total - warm, 1)


def _compile(keras: Any, model: Any, options: TrainingOptions) -> None:
    if options.recipe == "seed":
        optimizer = keras.optimizers.Adam(options.learning_rate)
    else:
        optimizer = keras.optimizers.AdamW(
            options.learning_rate, weight_decay=options.weight_decay, global_clipnorm=1.0
        )
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    # Cross-entropy on one-hot rows: the same number as the sparse one, and it knows label smoothing.
    loss = keras.losses.CategoricalCrossentropy(from_logits=True, label_smoothing=options.label_smoothing)
    accuracy = keras.metrics.CategoricalAccuracy(name="accuracy")
    model.compile(optimizer=optimizer, loss=loss, metrics=[accuracy], jit_compile=False)
    optimizer.build(model.trainable_variables)


def _claim(out: Path, *, resume: bool, force: bool) -> None:
    """Make sure that `out` may be written to; raises `RunError`."""
    if resume and force:
        raise RunError("resume goes on with a run and force starts it over: choose one")
    if out.exists() and not out.is_dir():
        raise RunError(f"{out}: exists and is not a directory")
    finished = (out / "run.json").is_file()
    begun = (out / "checkpoint").is_dir()
    if finished and not force:
        raise RunError(f"{out}: holds a finished run; use force to replace it")
    if begun and not finished and not force and not resume:
        raise RunError(f"{out}: holds an unfinished training; resume it, or use force to start over")
    if out.is_dir() and not finished and not begun and any(out.iterdir()):
        raise RunError(f"{out}: not empty and not a training run; refusing to write into it")
    if force:
        shutil.rmtree(out / "checkpoint", ignore_errors=True)
        for name in _PARTS:  # run.json first: from here on it is not a finished run
            (out / name).unlink(missing_ok=True)
    (out / "checkpoint").mkdir(parents=True, exist_ok=True)


def _plan(
    options: TrainingOptions, corpus: Corpus, training: Sequence[int], validation: Sequence[int]
) -> dict[str, Any]:
    """What must be the same for a resumed training."""
    return {
        "options": options.to_json(),
        "corpus": corpus.digest,
        "authors": list(corpus.authors),
        "base_model_sha256": weights_sha256(options.base_model),
        "training": [corpus.documents[index].path for index in training],
        "validation": [corpus.documents[index].path for index in validation],
    }


def _compare(plan: Mapping[str, Any], past: Mapping[str, Any], out: Path) -> None:
    """Refuse to resume something else; raises `RunError` saying what differs."""
    differences = TrainingOptions.from_json(plan["options"]).differences(
        TrainingOptions.from_json(past["options"])
    )
    if plan["corpus"] != past["corpus"]:
        differences.append("the corpus has changed")
    elif plan != past and not differences:
        differences.append("the base model has changed")
    if differences:
        raise RunError(f"{out}: cannot resume: {'; '.join(differences)}")


def _windower(tokenizer: Any, geometry: Geometry, options: TrainingOptions) -> Windower:
    window = options.window
    if window > geometry.max_sequence_length:
        if not options.truncate:
            raise RunError(
                f"window {window} is longer than the encoder's {geometry.max_sequence_length} tokens"
            )
        window = geometry.max_sequence_length
    return Windower(tokenizer, window, min(options.stride, window - 2), truncate=options.truncate)


def _activation(geometry: Geometry, options: TrainingOptions) -> str | None:
    """The hidden layer of the families' own classification heads, for the seed recipe."""
    if options.recipe != "seed":
        return None
    return "relu" if geometry.family == "distilbert" else "tanh"


def _check_tokens(
    tokens: Sequence[npt.NDArray[np.int32]],
    training: Sequence[int],
    corpus: Corpus,
    geometry: Geometry,
    windower: Windower,
    options: TrainingOptions,
) -> None:
    size = windower.tokenizer.get_vocab_size(with_added_tokens=True)
    if size > geometry.vocabulary_size:
        raise RunError(
            f"{options.base_model}: the tokenizer has {size} tokens, the encoder {geometry.vocabulary_size}"
        )
    if options.topic_dropout and windower.tokenizer.token_to_id("[MASK]") is None:
        raise RunError(f"{options.base_model}: topic dropout needs a [MASK] token; set topic_dropout to 0")
    heard = {corpus.documents[index].label for index in training if len(tokens[index])}
    for label, author in enumerate(corpus.authors):
        if label not in heard:
            raise CorpusError(
                f"{corpus.root / author}: none of this author's training documents has any token"
            )


def _finish(
    out: Path,
    model: Any,
    tokenizer: Any,
    geometry: Geometry,
    corpus: Corpus,
    plan: Mapping[str, Any],
    history: History,
    options: TrainingOptions,
    test_corpus: Path | None,
) -> Run:
    """Write everything, run.json last, and drop the checkpoint."""
    activation = _activation(geometry, options)
    plain = build_classifier(geometry, len(corpus.authors), options.pooling, activation, options.dropout)
    plain.set_weights(model.get_weights())
    staged = out / "checkpoint" / "model.keras"
    plain.save(str(staged))
    staged.replace(out / "model.keras")
    windower = _windower(tokenizer, geometry, options)
    _write(out / "tokenizer.json", tokenizer.to_str())
    _write_json(out / "config.json", _hf_config(geometry, corpus.authors, options))
    _write_json(out / "history.json", history)
    plot_history(history, out / "history.png")
    record = {
        "format": FORMAT_VERSION,
        "recipe": options.recipe,
        "family": geometry.family,
        "geometry": geometry.to_json(),
        "authors": list(corpus.authors),
        "window": windower.content + 2,
        "stride": windower.stride,
        "truncate": windower.truncate,
        "pooling": options.pooling,
        "head": activation,
        "seed": options.seed,
        "options": plan["options"],
        "base_model": {"name": Path(options.base_model).name, "sha256": plan["base_model_sha256"]},
        "corpus": {
            "name": corpus.root.name,
            "digest": corpus.digest,
            "documents": len(corpus.documents),
            "authors": len(corpus.authors),
        },
        "training": plan["training"],
        "validation": plan["validation"],
        "versions": _versions(),
        "metrics": {name: values[-1] for name, values in history.items()},
    }
    _write_json(out / "run.json", record)
    shutil.rmtree(out / "checkpoint", ignore_errors=True)
    return Run.load(out)


def _hf_config(geometry: Geometry, authors: Sequence[str], options: TrainingOptions) -> dict[str, Any]:
    """A config.json that other tools understand; the activation is what keras-hub really computes."""
    labels = {
        "id2label": {str(index): author for index, author in enumerate(authors)},
        "label2id": {author: index for index, author in enumerate(authors)},
        "vocab_size": geometry.vocabulary_size,
        "max_position_embeddings": geometry.max_sequence_length,
        "pad_token_id": 0,
    }
    if geometry.family == "distilbert":
        return {
            "model_type": "distilbert",
            "architectures": ["DistilBertForSequenceClassification"],
            "activation": "gelu",
            "n_layers": geometry.num_layers,
            "n_heads": geometry.num_heads,
            "dim": geometry.hidden_dim,
            "hidden_dim": geometry.intermediate_dim,
            "dropout": geometry.dropout,
            "seq_classif_dropout": options.dropout,
            **labels,
        }
    return {
        "model_type": "bert",
        "architectures": ["BertForSequenceClassification"],
        "hidden_act": "gelu_new",
        "num_hidden_layers": geometry.num_layers,
        "num_attention_heads": geometry.num_heads,
        "hidden_size": geometry.hidden_dim,
        "intermediate_size": geometry.intermediate_dim,
        "type_vocab_size": geometry.num_segments,
        "hidden_dropout_prob": geometry.dropout,
        "attention_probs_dropout_prob": geometry.dropout,
        "classifier_dropout": options.dropout,
        "layer_norm_eps": 1e-12,
        **labels,
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in ("authorid", "keras", "tensorflow", "keras-hub", "numpy", "tokenizers"):
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            versions[name] = "unknown"
    return versions


def _write(path: Path, text: str) -> None:
    checkpoint.write_atomically(path, text.encode("utf-8"))


def _write_json(path: Path, record: Mapping[str, Any]) -> None:
    _write(path, json.dumps(record, indent=1, ensure_ascii=False) + "\n")
