"""How similar the authors of an n-gram model are: a matrix, a map in two dimensions, and a tree.

The weights of the model tell authors apart, so those of similar authors point away from each other. For a ridge
regression with little regularization, the inner products of the weights are the inverse of the inner products of the
authors' profiles. So the inverse of the former says how similar the profiles are.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from authorid.ngrams.model import NgramModel

__all__ = ["Join", "author_similarities", "average_linkage", "map_positions"]

Floats = npt.NDArray[np.float64]

_BLOCK = 1 << 14
"""Features whose weights are multiplied at a time."""

_REGULARIZATION = 1e-6


@dataclass(frozen=True, slots=True)
class Join:
    """Two groups of a tree that become one at `height`. Of n authors, group n + i is the result of join i."""

    left: int
    right: int
    height: float


def author_similarities(model: NgramModel) -> Floats:
    """The cosine similarities [authors, authors] of the authors' profiles, as the weights of `model` imply them."""
    authors = model.weights.shape[1]
    products = np.zeros((authors, authors))
    for start in range(0, len(model.weights), _BLOCK):
        block = model.weights[start : start + _BLOCK].astype(np.float32)
        block *= model.scale[start : start + _BLOCK, None]
        products += block.T @ block
    products[np.diag_indices_from(products)] += _REGULARIZATION * max(np.trace(products) / authors, 1e-30)
    profiles = np.linalg.inv(products)
    lengths = np.sqrt(profiles.diagonal())
    return np.asarray(np.clip(profiles / lengths / lengths[:, None], -1.0, 1.0))


def map_positions(similarities: Floats) -> Floats:
    """Positions [authors, 2] whose distances are near those of the authors: classical multidimensional scaling.

    The coordinates are between -1 and 1. The largest of each axis, in absolute value, is positive.
    """
    size = len(similarities)
    squares = 2.0 - 2.0 * similarities
    centring = np.eye(size) - 1.0 / size
    values, vectors = np.linalg.eigh(-0.5 * centring @ squares @ centring)
    positions = np.zeros((size, 2))
    found = vectors[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0.0))
    positions[:, : found.shape[1]] = found
    largest = positions[np.abs(positions).argmax(axis=0), [0, 1]]
    positions *= np.where(largest < 0, -1.0, 1.0)
    return positions / max(float(np.abs(positions).max(initial=0.0)), 1e-30)


def average_linkage(similarities: Floats) -> list[Join]:
    """Join the two most similar groups again and again; the height is 1 minus the mean similarity of their authors."""
    size = len(similarities)
    distances = 1.0 - similarities
    np.fill_diagonal(distances, np.inf)
    names, counts = list(range(size)), np.ones(size)
    joins = []
    for number in range(size - 1):
        left, right = sorted(int(i) for i in np.unravel_index(int(distances.argmin()), distances.shape))
        joins.append(Join(names[left], names[right], float(distances[left, right])))
        total = counts[left] + counts[right]
        merged = (counts[left] * distances[left] + counts[right] * distances[right]) / total
        distances[left], distances[:, left] = merged, merged
        distances[right], distances[:, right] = np.inf, np.inf
        distances[left, left] = np.inf
        names[left], counts[left] = size + number, total
    return joins
