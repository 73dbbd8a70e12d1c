"""Batches of documents about the same subject by different authors, so that the subject does not tell them apart.

A batch has some documents that share rare words, each by another author, and a second document by each of these
authors. All randomness comes from generators seeded with (seed, epoch), as in `authorid.training.encoder.examples`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from authorid.errors import require

__all__ = ["rare_words", "subject_batches"]

IntArray = npt.NDArray[np.int32]
Labels = npt.NDArray[np.int64]


def rare_words(tokens: Sequence[IntArray], common: npt.NDArray[np.bool_]) -> Any:
    """The tf-idf vectors of documents over the tokens that are not `common` [vocabulary]: CSR [documents, vocabulary].

    `tokens` are the token ids of each document. Vectors have length 1, or 0 without such tokens.
    """
    sparse = require("scipy.sparse", "fit")
    kept = [np.unique(ids[~common[ids]], return_counts=True) for ids in tokens]
    bounds = np.cumsum([0, *(len(ids) for ids, _ in kept)])
    columns = np.concatenate([np.zeros(0, np.int64), *(ids for ids, _ in kept)]).astype(np.int64)
    counts = np.concatenate([np.zeros(0), *(numbers for _, numbers in kept)])
    frequency = np.bincount(columns, minlength=len(common))
    values = (1 + np.log(counts)) * np.log((1 + len(tokens)) / (1 + frequency[columns]))
    matrix = sparse.csr_matrix((values, columns, bounds), shape=(len(tokens), len(common)))
    lengths = np.sqrt(np.asarray(matrix.multiply(matrix).sum(axis=1)).ravel())
    return sparse.diags_array(1 / np.maximum(lengths, 1e-12)) @ matrix


def subject_batches(words: Any, labels: Labels, authors: int, generator: np.random.Generator) -> list[Labels]:
    """Divide documents among batches: arrays of indices, two by each of at most `authors` authors.

    `words` [documents, ...] are the vectors of `rare_words`, `labels` [documents] the authors. Each document is in
    one batch, or in several: an author whose other documents are used up already gives one of them again.
    """
    unused = np.ones(len(labels), dtype=bool)
    transposed = words.T.tocsc()
    batches = []
    for first in generator.permutation(len(labels)).tolist():
        if not unused[first]:
            continue
        similar = np.asarray((words[[first]] @ transposed).todense()).ravel()
        chosen = {int(labels[first]): first}
        for index in np.argsort(-similar, kind="stable").tolist():
            if len(chosen) == authors:
                break
            if unused[index] and int(labels[index]) not in chosen:
                chosen[int(labels[index])] = index
        unused[list(chosen.values())] = False
        batch = []
        for author, index in chosen.items():
            second = _another(index, np.flatnonzero(labels == author), unused, generator)
            unused[second] = False
            batch += [index, second]
        batches.append(np.array(batch, dtype=np.int64))
    return [batches[index] for index in generator.permutation(len(batches))]


def _another(index: int, own: Labels, unused: npt.NDArray[np.bool_], generator: np.random.Generator) -> int:
    """One of an author's `own` documents besides `index`, which has not been used if there is such a one."""
    others = own[own != index]
    fresh = others[unused[others]]
    candidates = fresh if len(fresh) else others
    return int(generator.choice(candidates)) if len(candidates) else index
