"""The recipe ``probe``: the encoder stays as it was pretrained, and a head is fitted to what its layers compute.

One pass over the corpus, then linear algebra. How many layers are used, whether there are random features, and the
ridge are chosen on the held-out documents; the head is then fitted again, to all documents, as the n-grams are.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.bundle.record_digest import check_digest, encode_json, with_digest
from authorid.errors import RunError
from authorid.outputs import atomic
from authorid.outputs.write_errors import raising_output_errors
from authorid.training.encoder import checkpoint
from authorid.training.encoder.backbone import backbone_of
from authorid.training.encoder.classifier import Geometry
from authorid.training.encoder.document_features import document_features
from authorid.training.encoder.head_fit import UNMEASURED, HeadChoice, HeadFit, choose_head, fit_head
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.encoder.layer_classifier import (
    LayerFeatures,
    build_layer_classifier,
    build_window_features,
    columns,
    draw_random_features,
)
from authorid.training.encoder.preparation import TokenizedCorpus, tokenize
from authorid.training.encoder.training_job import Trained, TrainingJob
from authorid.training.run_directory import begin_training

__all__ = ["FittedProbe", "fit_probe", "train_probe"]

MOST_LAYERS = 3
"""The most layers that are tried: each costs its share of the speed, and style is in the lower ones."""

RANDOM_FEATURES = 1024
"""Random features of each state that are tried, besides none."""

_PLAN = "plan.json"

Floats = npt.NDArray[np.float32]
Labels = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class FittedProbe:
    """What the probe found out about a corpus, and what it needs to build classifiers.

    `vectors` [documents, size] are what the head reads of each document; `usable` [documents] says which have tokens.
    `backbone` is the pretrained encoder; `geometry` has the layers that are used.
    """

    job: TrainingJob
    training_id: str
    tokenized: TokenizedCorpus
    backbone: Any
    geometry: Geometry
    vectors: Floats
    usable: npt.NDArray[np.bool_]
    choice: HeadChoice

    @property
    def labels(self) -> Labels:
        """The author of each document, [documents]."""
        return _labels(self.job)

    def classifier(self, documents: Labels) -> Any:
        """A new Keras model with the pretrained encoder, and a head that is fitted to the usable `documents`."""
        choice, known = self.choice, documents[self.usable[documents]]
        head = fit_head(self.vectors[known], self.labels[known], len(self.job.corpus.authors), choice.ridge)
        return _classifier(self.backbone, self.geometry, choice.features, head.times(choice.factor))

    def trained(self) -> Trained:
        """The run of the recipe ``probe``, with a head that is fitted to all documents."""
        choice, tokenized = self.choice, self.tokenized
        windows = np.array([len(tokenized.windows(index)) for index in range(len(tokenized.tokens))], dtype=np.int64)
        return Trained(
            training_id=self.training_id,
            model=self.classifier(np.arange(len(windows))),
            history=_history(choice),
            windower=tokenized.windower,
            geometry=self.geometry,
            windows=int(windows.sum()),
            held_out=choice.log_softmax,
            held_out_windows=windows[np.asarray(self.job.split[1], dtype=np.int64)],
            details={"features": choice.features.to_json(), "probe": _describe(choice)},
        )


def train_probe(job: TrainingJob) -> Trained:
    """Train the classifier of the recipe; raises `RunError`, `CorpusError` and `OutputError`."""
    return fit_probe(job).trained()


def fit_probe(job: TrainingJob) -> FittedProbe:
    """Compute what the layers make of the corpus, and choose; raises `RunError`, `CorpusError` and `OutputError`."""
    _check_past(job)
    layers = job.base.geometry.num_layers
    if job.options.layers is not None and job.options.layers > layers:
        raise RunError(f"layers {job.options.layers}: the encoder has {layers}")
    tokenized = tokenize(job.corpus, job.split, job.base, job.options)
    keras = import_keras()
    keras.utils.set_random_seed(job.options.seed)
    depth = job.options.layers or min(MOST_LAYERS, layers)
    base = replace(job.base, geometry=replace(job.base.geometry, num_layers=depth))
    backbone = backbone_of(base)
    training_id = begin_training(job.workspace, job.existing)
    with raising_output_errors(job.workspace.out):
        atomic.write_file(job.workspace.state / _PLAN, encode_json(with_digest(dict(job.plan))))
        model = build_window_features(backbone, RANDOM_FEATURES)
        features = document_features(model, tokenized.tokens, tokenized.windower, job.workspace.state, job.reporter)
    usable = np.array([len(ids) > 0 for ids in tokenized.tokens])
    candidates = list(_candidates(depth, base.geometry.hidden_dim, only=job.options.layers))
    choice = _choose(job, candidates, features, usable)
    return FittedProbe(
        job=job,
        training_id=training_id,
        tokenized=tokenized,
        backbone=backbone,
        geometry=replace(base.geometry, num_layers=choice.features.depth),
        vectors=features[:, dict(candidates)[choice.features]],
        usable=usable,
        choice=choice,
    )


def _check_past(job: TrainingJob) -> None:
    """Raise `RunError` if the training that is to be resumed was of something else."""
    path = job.workspace.state / _PLAN
    if job.existing != "resume" or not path.is_file():
        return
    try:
        past = json.loads(path.read_bytes())
        check_digest(past, required=True)
    except (OSError, ValueError, RecursionError) as error:
        raise RunError(f"{path}: damaged ({error}); pass --force to start over") from None
    checkpoint.check_plan(job.plan, past, job.workspace.out)


def _candidates(depth: int, width: int, *, only: int | None) -> Iterator[tuple[LayerFeatures, Labels]]:
    """What the head may read, fastest first, and the columns of `build_window_features` that this means."""
    for last in range(only or 1, depth + 1):
        for random in (0, RANDOM_FEATURES):
            kind = LayerFeatures(tuple(range(last + 1)), random)
            yield kind, columns(kind, depth, width, RANDOM_FEATURES)


def _choose(
    job: TrainingJob, candidates: list[tuple[LayerFeatures, Labels]], features: Floats, usable: npt.NDArray[np.bool_]
) -> HeadChoice:
    """Choose on the held-out documents; those without tokens get the same probability for every author."""
    authors = len(job.corpus.authors)
    training, held = (np.asarray(part, dtype=np.int64) for part in job.split)
    known = held[usable[held]]
    if not len(known):
        ridge, factor = UNMEASURED
        return HeadChoice(candidates[-1][0], ridge, factor, np.full((len(held), authors), -np.log(authors)))
    labels = _labels(job)
    choice = choose_head(candidates, features, labels, (training[usable[training]], known), job.reporter)
    scores = np.full((len(held), authors), -np.log(authors))
    scores[usable[held]] = choice.log_softmax
    return replace(choice, log_softmax=scores)


def _labels(job: TrainingJob) -> Labels:
    """The author of each document, [documents]."""
    return np.array([document.label for document in job.corpus.documents], dtype=np.int64)


def _classifier(backbone: Any, geometry: Geometry, features: LayerFeatures, head: HeadFit) -> Any:
    """The Keras model with the weights of `backbone`, as far as `features` need it, and this `head`."""
    model = build_layer_classifier(geometry, head.kernel.shape[1], features)
    ours = {layer.name: layer for layer in backbone.layers}
    for layer in model.layers:
        if layer.weights and layer.name in ours:
            layer.set_weights(ours[layer.name].get_weights())
    draw_random_features(model, backbone)
    model.get_layer("logits").set_weights([head.kernel.astype(np.float32), head.bias.astype(np.float32)])
    return model


def _history(choice: HeadChoice) -> dict[str, list[float]]:
    """The figures of the held-out documents, as if of one epoch; nothing where none were held out."""
    if not choice.tried:
        return {}
    return {"val_loss": [choice.log_loss], "val_accuracy": [choice.accuracy]}


def _describe(choice: HeadChoice) -> dict[str, Any]:
    """The entry of run.json about how the head was fitted."""
    return {
        "ridge": choice.ridge,
        "factor": choice.factor,
        "tried": {name: {"accuracy": a, "loss": loss} for name, (a, loss) in choice.tried.items()},
    }
