"""Ridge regression in closed form, and its leave-one-out scores."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.training import ridge
from authorid.training.ridge import Similarities, spread

pytest.importorskip("scipy")


def test_a_sample_is_spread_over_each_author_and_no_larger_than_requested():
    labels = np.repeat(np.arange(5), [1, 2, 3, 1000, 5000])
    chosen = spread(labels, 300)
    assert len(np.unique(chosen)) == len(chosen) <= 300
    assert np.array_equal(chosen, np.sort(chosen))
    counts = np.bincount(labels[chosen])
    assert counts[:3].tolist() == [1, 2, 2]
    assert counts[3] == pytest.approx(300 / 6, rel=0.1)
    assert chosen[counts[:3].sum()] == 6
    assert chosen[-1] == len(labels) - 1
    assert np.bincount(labels[spread(labels, 3)]).tolist() == [1, 2, 2, 2, 2]


def corpus(numbers: tuple[int, ...], features: int = 60, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Documents [documents, features] of authors with these numbers of documents, each with habits of its own."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(numbers)), numbers)
    habits = rng.normal(size=(len(numbers), features))
    return (0.4 * habits[labels] + rng.normal(size=(len(labels), features))) / features**0.5, labels


def test_the_normalization_comes_from_the_scores_of_documents_that_are_left_out(monkeypatch):
    """The closed form of leave-one-out scores is that of fits without each document."""
    documents, labels = corpus((9, 4, 6))
    received = []

    def fit_normalization(scores, labels):
        received.append(scores)
        return ridge.no_normalization(3)

    monkeypatch.setattr(ridge, "fit_normalization", fit_normalization)
    products = documents @ documents.T
    Similarities(products, labels).solve(np.arange(19), 0.5)
    shares = np.bincount(labels) * 3 / 19
    for left_out in range(19):
        rest = np.delete(np.arange(19), left_out)
        system = products[np.ix_(rest, rest)] + 1 + np.diag(0.5 * shares[labels[rest]])
        dual = np.linalg.solve(system, np.where(np.eye(3)[labels[rest]] > 0, 1.0, -1.0))
        np.testing.assert_allclose(received[0][left_out], (products[left_out, rest] + 1) @ dual, atol=1e-9)


def test_authors_with_more_documents_do_not_win():
    """Half of the authors have 40 documents, half have 4; without a correction nearly everything is the former's."""
    documents, labels = corpus((40, 4) * 5)
    others, truth = corpus((30,) * 10)
    rng = np.random.default_rng(9)
    others = others + rng.normal(size=others.shape) / 60**0.5
    fitted = Similarities(documents @ documents.T, labels).solve(np.arange(len(labels)), 0.05)
    normalized = fitted.scores(others @ documents.T)
    plain = normalized * fitted.normalization.scale + fitted.normalization.shift
    few = truth % 2 == 1

    def right(scores: np.ndarray) -> np.ndarray:
        return scores.argmax(axis=1) == truth

    assert right(plain)[few].mean() < 0.3
    assert right(normalized)[few].mean() > right(plain)[few].mean() + 0.1
    assert right(normalized).mean() >= right(plain).mean() - 0.02


def test_with_equal_numbers_nothing_is_normalized():
    documents, labels = corpus((5, 5, 5))
    fitted = Similarities(documents @ documents.T, labels).solve(np.arange(15), 0.05)
    assert (fitted.normalization.shift == 0).all() and (fitted.normalization.scale == 1).all()
