"""Which documents are unlike the others: later ones, or those at one end of an author's change of subject.

Random splits reward knowing this month's subjects; what is measured on them does not hold next month.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from authorid.training.corpus import natural

__all__ = ["blocks", "numbered", "order", "shifted_split"]

Labels = npt.NDArray[np.int64]
Near = Callable[[Labels], npt.NDArray[np.float64]]
"""Gives the inner products [n, n] of the documents with these indices."""


def numbered(paths: Sequence[str]) -> bool:
    """Whether most file names carry a number, which is taken for an order in time."""
    return sum(bool(re.search(r"\d", path.rsplit("/", 1)[-1])) for path in paths) > len(paths) / 2


def order(paths: Sequence[str], labels: Labels, near: Near) -> list[Labels]:
    """Each author's documents, by file name where names are `numbered`, else along the main change of subject."""
    timed = numbered(paths)
    orders = []
    for label in np.unique(labels):
        own = np.flatnonzero(labels == label)
        if timed:
            own = np.array(sorted(own.tolist(), key=lambda index: natural(paths[index])), dtype=np.int64)
        elif len(own) > 1:
            # The axis along which the author's documents differ most is mostly one of subject.
            products = near(own)
            products = products - products.mean(axis=0) - products.mean(axis=1, keepdims=True) + products.mean()
            own = own[np.argsort(np.linalg.eigh(products)[1][:, -1], kind="stable")]
        orders.append(own)
    return orders


def shifted_split(paths: Sequence[str], labels: Labels, near: Near, share: float) -> tuple[Labels, Labels, str]:
    """Hold out `share` of each author's documents, those at the end of their `order`.

    Returns ``(training, held, how)``, both ascending; an author with one document keeps it.
    """
    held: list[int] = []
    for own in order(paths, labels, near):
        if share and len(own) > 1:
            held += own[len(own) - min(max(round(len(own) * share), 1), len(own) - 1) :].tolist()
    training = np.setdiff1d(np.arange(len(paths)), held)
    return training, np.array(sorted(held), dtype=np.int64), "last by file name" if numbered(paths) else "by subject"


def blocks(paths: Sequence[str], labels: Labels, near: Near, count: int) -> list[Labels]:
    """Cut each author's documents, in their `order`, into `count` blocks; the documents of each block, ascending."""
    place = np.zeros(len(paths), dtype=np.int64)
    for own in order(paths, labels, near):
        place[own] = np.arange(len(own)) * count // len(own)
    return [np.flatnonzero(place == block) for block in range(count)]
