"""A linear classifier over what several layers of an encoder compute: the model of the recipes ``probe`` and ``tune``.

A window becomes one vector: of each of the chosen states, the mean and the deviation over its tokens, and the mean of
random features of the states, ``relu(state @ kernel + bias)`` with fixed random kernels. Layers above the last state
that is used do not exist. All of a window's tokens count, the special ones too.

The logits are linear in that vector. So the mean of the logits of a document's windows is the logits of the mean of
their vectors, and a head that was fitted to documents is applied to windows.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import RunError
from authorid.training.encoder.classifier import Geometry, build_backbone
from authorid.training.encoder.keras_setup import import_keras

__all__ = [
    "EPSILON",
    "LAYER_POOLING",
    "RANDOM",
    "LayerFeatures",
    "build_layer_classifier",
    "build_window_features",
    "columns",
    "draw_random_features",
]

LAYER_POOLING, RANDOM = "layer_pooling", "random_features"
"""Names of Keras layers: the one that pools tokens, and the beginning of those of random features of a state."""

EPSILON = 1e-6
"""Added to variances, whose roots have no gradient at zero."""

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class LayerFeatures:
    """What the vector of a window is made of.

    `states` are numbers of states, ascending: 0 are the embeddings, n is the output of the n-th layer. `random` is the
    number of random features of each of them but the embeddings.
    """

    states: tuple[int, ...]
    random: int = 0

    def __post_init__(self) -> None:
        """Check the numbers; raises `RunError`."""
        whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in (*self.states, self.random))
        if not whole or not self.states or list(self.states) != sorted(set(self.states)) or self.depth < 1:
            raise RunError(f"features: states must be ascending numbers of layers, got {self}")

    @property
    def depth(self) -> int:
        """The number of layers that have to be computed."""
        return self.states[-1]

    def to_json(self) -> dict[str, Any]:
        """Return plain values; `from_json` reads them back."""
        return asdict(self)

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> LayerFeatures:
        """Rebuild from `to_json`; raises `RunError`, `KeyError` and `TypeError`."""
        return cls(tuple(record["states"]), record["random"])


def build_layer_classifier(encoder: Any | Geometry, authors: int, features: LayerFeatures) -> Any:
    """Return a Keras functional model: token windows -> float32 logits [b, authors].

    `encoder` is a keras-hub backbone, or a `Geometry` to build one with random weights. Inputs are those of
    `authorid.training.encoder.classifier.build_classifier`. Its layers are those of the backbone, up to the last one
    that `features` need, then "random_features_1" and so on (if there are any), "layer_pooling" and "logits".
    """
    keras = import_keras()
    backbone = build_backbone(encoder) if isinstance(encoder, Geometry) else encoder
    vector = _vector(backbone, features)
    logits = keras.layers.Dense(authors, dtype="float32", name="logits")(vector)
    return keras.Model(backbone.input, logits, name="authorid")


def build_window_features(backbone: Any, random: int) -> Any:
    """Return a Keras model: token windows -> float32 [b, size], all that `columns` can choose from.

    These are the means and deviations of all states of the `backbone`, then `random` features of every state but the
    embeddings.
    """
    keras = import_keras()
    features = LayerFeatures(tuple(range(backbone.num_layers + 1)), random)
    model = keras.Model(backbone.input, _vector(backbone, features), name="features")
    draw_random_features(model, backbone)
    return model


def draw_random_features(model: Any, backbone: Any) -> None:
    """Give the random features of `model` their kernels, which depend only on the weights of `backbone`."""
    for layer in model.layers:
        if layer.name.startswith(RANDOM):
            layer.set_weights(_random_kernel(backbone, int(layer.name.rpartition("_")[2]), layer.units))


def columns(features: LayerFeatures, depth: int, width: int, random: int) -> npt.NDArray[np.int64]:
    """Which of the numbers that `build_window_features` computes make up `features`: their indices [size].

    `depth`, `width` and `random` are the number of layers, the size of a state and the number of random features there.
    """
    chosen = [np.arange(2 * width) + 2 * width * state for state in features.states]
    if features.random:
        after = 2 * width * (depth + 1)
        chosen += [np.arange(random) + after + random * (state - 1) for state in features.states if state]
    return np.concatenate(chosen)


def _random_kernel(backbone: Any, state: int, number: int) -> tuple[Floats, Floats]:
    """Kernel [h, number] and bias [number] of random features of a state of `backbone`; always the same ones.

    A state is the output of a normalisation, whose weights say what size and mean it has.
    """
    norm = backbone.get_layer(f"transformer_layer_{state - 1}")._feedforward_layer_norm
    gamma, beta = (np.asarray(variable, np.float64) for variable in (norm.gamma, norm.beta))
    generator = np.random.default_rng([state, number])
    kernel = generator.normal(size=(len(gamma), number)) / np.sqrt((gamma**2).sum())
    bias = generator.normal(size=number) / 2 - beta @ kernel
    return kernel.astype(np.float32), bias.astype(np.float32)


def _vector(backbone: Any, features: LayerFeatures) -> Any:
    """The vectors of windows, [b, size]."""
    keras, number = import_keras(), features.random
    outputs = [backbone.get_layer("embeddings_dropout").output]
    outputs += [backbone.get_layer(f"transformer_layer_{index}").output for index in range(features.depth)]
    activated = []
    for state in features.states:
        if state and number:
            name = f"{RANDOM}_{state}"
            dense = keras.layers.Dense(number, "relu", trainable=False, dtype="float32", name=name)
            activated.append(dense(outputs[state]))
    pooled = [outputs[state] for state in features.states]
    pooling = _pooling_class()(features.states)
    return pooling(pooled, padding_mask=backbone.input["padding_mask"], activated=activated)


@cache
def _pooling_class() -> Any:
    keras: Any = import_keras()
    ops = keras.ops

    class LayerPooling(keras.layers.Layer):  # type: ignore[misc]
        """Means and deviations of states, each [b, s, h], and means of `activated`, each [b, s, r]: [b, size].

        The `states` are their numbers, which the layer only remembers.
        """

        def __init__(self, states: tuple[int, ...]) -> None:
            super().__init__(name=LAYER_POOLING, dtype="float32")
            self.states = states
            self.built = True

        def call(self, pooled: list[Any], padding_mask: Any, activated: list[Any]) -> Any:
            """Return the vectors of windows; tokens whose mask is 0 do not count."""
            present = ops.cast(padding_mask, "float32")[:, :, None]
            count = ops.sum(present, axis=1)
            parts = []
            for state in pooled:
                mean = ops.sum(state * present, axis=1) / count
                square = ops.sum(state * state * present, axis=1) / count
                parts += [mean, ops.sqrt(ops.relu(square - mean * mean) + EPSILON)]
            parts += [ops.sum(values * present, axis=1) / count for values in activated]
            return ops.concatenate(parts, axis=-1)

        def get_config(self) -> dict[str, Any]:
            """Return the configuration for a saved model; it is never read back."""
            return {"name": self.name, "states": self.states}

    return LayerPooling
