"""Shapes of tiny encoders, and windows to run through them."""

from __future__ import annotations

import numpy as np

AUTHORS, POSITIONS, VOCABULARY = 7, 64, 120
SHAPES = {
    # name: family, layers, heads, width, inner width, pooling, hidden activation
    "bert-mean": ("bert", 3, 5, 40, 72, "mean", None),
    "bert-first": ("bert", 2, 3, 48, 96, "first", "tanh"),
    "bert-odd": ("bert", 1, 5, 35, 51, "mean", "tanh"),
    "distilbert-mean": ("distilbert", 1, 2, 32, 64, "mean", "relu"),
    "distilbert-first": ("distilbert", 3, 5, 40, 77, "first", "relu"),
}


def random_windows(lengths: list[int], seed: int = 0) -> list[np.ndarray]:
    """Token ids of windows of these lengths."""
    rng = np.random.default_rng(seed)
    return [rng.integers(0, VOCABULARY, length, dtype=np.int32) for length in lengths]
