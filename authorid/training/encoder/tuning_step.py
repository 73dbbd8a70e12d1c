"""One training step of the recipe ``tune``: the losses of a batch of documents, and the optimizer.

A document stands for itself by some of its windows. The first loss is the cross-entropy of the mean of their logits,
which is how documents are scored. The second is contrastive (Khosla et al., 2020): documents of one author must be
nearer to each other than to the other documents of the batch, which are about the same subject.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require
from authorid.training.encoder.classifier import freeze_embeddings
from authorid.training.encoder.keras_setup import import_keras
from authorid.training.encoder.layer_classifier import LAYER_POOLING
from authorid.training.recipes import TrainingOptions

__all__ = ["Step", "compile_tuning", "tuning_step"]

LAYER_DECAY = 0.7
"""The learning rate of a layer, relative to that of the layer above it."""

CONTRAST = 0.5
"""The weight of the contrastive loss."""

TEMPERATURE = 0.1
"""The temperature of the contrastive loss."""

Step = Callable[[Mapping[str, npt.NDArray[np.int32]], npt.NDArray[np.int32]], npt.NDArray[np.float64]]
"""Trains on the windows of a batch (see `authorid.training.encoder.examples.inputs`), as many of each document, in the
order of the documents, and on the authors of the documents, int32. Returns the sum of the losses, and the accuracy."""

Floats = npt.NDArray[np.float32]


def compile_tuning(model: Any, options: TrainingOptions) -> None:
    """Give a layer classifier its optimizer: Adam, slower in lower layers. Its head is not trained."""
    model.get_layer("logits").trainable = False
    if options.freeze_embeddings:
        freeze_embeddings(model)
    layers = [layer for layer in model.layers if layer.trainable_variables]
    depth = sum(layer.name.startswith("transformer_layer_") for layer in layers)
    rates: dict[int, float] = {}
    for layer in layers:
        prefix, _, number = layer.name.rpartition("_")
        above = depth - 1 - int(number) if prefix == "transformer_layer" else depth
        rates |= {id(variable): LAYER_DECAY**above for variable in layer.trainable_variables}
    rates_in_order = [rates[id(variable)] for variable in model.trainable_variables]
    optimizer = _optimizer_class()(options.learning_rate, rates_in_order)
    model.compile(optimizer=optimizer, jit_compile=False)
    optimizer.build(model.trainable_variables)  # a checkpoint can be restored only into existing slots


def tuning_step(model: Any, vectors: Floats) -> Step:
    """Return the step of a compiled layer classifier; `vectors` [documents, size] are what its head reads at first."""
    keras, tensorflow = import_keras(), require("tensorflow", "train")
    mean = tensorflow.constant(vectors.mean(axis=0))
    scale = tensorflow.constant(1 / np.maximum(vectors.std(axis=0), 1e-6))
    both = keras.Model(model.input, [model.get_layer(LAYER_POOLING).output, model.get_layer("logits").output])
    variables = model.trainable_variables

    @tensorflow.function(reduce_retracing=True, autograph=False)  # type: ignore[untyped-decorator]
    def step(named: Any, authors: Any) -> Any:
        documents = tensorflow.shape(authors)[0]
        with tensorflow.GradientTape() as tape:
            found = both(named, training=True)
            means = [
                tensorflow.reduce_mean(tensorflow.reshape(each, (documents, -1, each.shape[-1])), axis=1)
                for each in found
            ]
            losses = tensorflow.nn.sparse_softmax_cross_entropy_with_logits(authors, means[1])
            loss = tensorflow.reduce_mean(losses)
            loss += CONTRAST * contrastive_loss((means[0] - mean) * scale, authors)
        model.optimizer.apply(tape.gradient(loss, variables), variables)
        right = tensorflow.argmax(means[1], axis=1, output_type=authors.dtype) == authors
        return loss, tensorflow.reduce_mean(tensorflow.cast(right, "float32"))

    def run(named: Mapping[str, npt.NDArray[np.int32]], authors: npt.NDArray[np.int32]) -> npt.NDArray[np.float64]:
        tensors = {name: tensorflow.constant(array) for name, array in named.items()}
        return np.array([float(value) for value in step(tensors, tensorflow.constant(authors))])

    return run


def contrastive_loss(vectors: Any, authors: Any) -> Any:
    """The supervised contrastive loss of `vectors` [documents, size] by `authors` [documents].

    It is a mean over the documents whose author has another one; 0 without any.
    """
    tensorflow = require("tensorflow", "train")
    unit = tensorflow.math.l2_normalize(vectors, axis=1, epsilon=1e-12)
    itself = tensorflow.eye(tensorflow.shape(authors)[0])
    similar = tensorflow.matmul(unit, unit, transpose_b=True) / TEMPERATURE - 1e9 * itself
    logs = tensorflow.nn.log_softmax(similar, axis=1)
    same = tensorflow.cast(authors[:, None] == authors[None, :], "float32") - itself
    partners = tensorflow.reduce_sum(same, axis=1)
    losses = -tensorflow.reduce_sum(same * logs, axis=1) / tensorflow.maximum(partners, 1.0)
    paired = tensorflow.cast(partners > 0, "float32")
    return tensorflow.reduce_sum(losses * paired) / tensorflow.maximum(tensorflow.reduce_sum(paired), 1.0)


@cache
def _optimizer_class() -> Any:
    keras: Any = import_keras()

    class LayerwiseAdam(keras.optimizers.Adam):  # type: ignore[misc]
        """Adam with a factor of the learning rate for each variable, in the order of `build`."""

        def __init__(self, learning_rate: float, rates: Sequence[float]) -> None:
            super().__init__(learning_rate, global_clipnorm=1.0)
            self._rates = rates

        def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
            """Update `variable` at its own rate."""
            super().update_step(gradient, variable, learning_rate * self._rates[self._get_variable_index(variable)])

    return LayerwiseAdam
