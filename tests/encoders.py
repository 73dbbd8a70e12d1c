"""Tiny encoders of many shapes, and windows to run through them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from authorid.export import EncoderWeights

AUTHORS, POSITIONS, VOCABULARY = 7, 64, 120
LENGTHS = [3, 3, 4, 17, 33, 33, POSITIONS]
"""Window lengths that tests of graphs use: equal ones too, from the shortest to the longest."""

LAYERS = {"bert-layers": ((0, 1, 2), 48), "distilbert-layers": ((0, 1), 0)}
"""States and random features of encoders whose layers are pooled."""

SHAPES = {
    # name: family, layers, heads, width, inner width, pooling, hidden activation, funnel
    "bert-mean": ("bert", 3, 5, 40, 72, "mean", None, False),
    "bert-first": ("bert", 2, 3, 48, 96, "first", "tanh", False),
    "bert-strips": ("bert", 2, 4, 32, 2 * 384 + 13, "mean", None, False),
    "bert-odd": ("bert", 1, 5, 35, 51, "mean", "tanh", False),
    "distilbert-mean": ("distilbert", 1, 2, 32, 64, "mean", "relu", False),
    "distilbert-first": ("distilbert", 3, 5, 40, 77, "first", "relu", False),
    "bert-funnel": ("bert", 4, 4, 32, 384 + 20, "first", None, True),
    "bert-funnel-last": ("bert", 2, 4, 32, 64, "first", "tanh", True),
    "distilbert-funnel": ("distilbert", 3, 3, 36, 60, "mean", "relu", True),
    "bert-layers": ("bert", 2, 4, 32, 64, "layers", None, False),
    "distilbert-layers": ("distilbert", 1, 3, 36, 384 + 20, "layers", None, False),
}


def random_weights(name: str) -> EncoderWeights:
    """An encoder of the shape called `name`, made without Keras."""
    from authorid.export.encoder_weights import Dense, EncoderWeights, Head, LayerWeights, Norm
    from authorid.training.encoder.funnel import first_halved

    family, layers, heads, width, inner, pooling, activation, funnel = SHAPES[name]
    rng = np.random.default_rng(2)

    def numbers(*shape: int) -> np.ndarray:
        return rng.normal(0, 0.3, shape).astype(np.float32)

    def dense(inputs: int, outputs: int) -> Dense:
        return Dense(numbers(inputs, outputs), numbers(outputs))

    def norm() -> Norm:
        return Norm(1 + numbers(width), numbers(width))

    def layer() -> LayerWeights:
        square = [dense(width, width) for _ in range(4)]
        return LayerWeights(*square, norm(), dense(width, inner), dense(inner, width), norm())

    states, drawn = LAYERS.get(name, ((), 0))
    pooled = 2 * width * len(states) + drawn * len(states[1:]) if states else width
    hidden = dense(width, width) if activation else None
    random = tuple(dense(width, drawn) for _ in states[1:] if drawn)
    return EncoderWeights(
        family=family,
        heads=heads,
        epsilon=1e-12,
        gelu="tanh" if family == "bert" else "erf",
        token_embedding=numbers(VOCABULARY, width),
        position_embedding=numbers(POSITIONS, width),
        embedding_norm=norm(),
        layers=tuple(layer() for _ in range(layers)),
        head=Head(pooling, hidden, activation, dense(pooled, AUTHORS), states, random),
        halved=first_halved(layers) if funnel else None,
    )


def random_windows(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """Windows of random token ids, int32, of the given `lengths`."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]


def keras_logits(model: Any, windows: list[np.ndarray]) -> np.ndarray:
    """Logits [n, authors] that a Keras classifier computes for `windows`."""
    from authorid.training.runs import predict_windows

    return np.concatenate(predict_windows(model, [[ids] for ids in windows], AUTHORS))
