"""Ridge regression by conjugate gradients, for very many documents: the answers are those of the closed form."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.training import large_ridge
from authorid.training.large_ridge import solve_large
from authorid.training.ridge import _solve

sparse = pytest.importorskip("scipy.sparse")


def exact(matrix: np.ndarray, labels: np.ndarray, authors: int, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Weighted ridge regression whose intercept is one more feature, by the normal equations."""
    weight = 1 / (np.bincount(labels, minlength=authors) * authors / len(labels))[labels]
    targets = np.where(np.eye(authors)[labels] > 0, 1.0, -1.0)
    extended = np.hstack([matrix, np.ones((len(labels), 1))])
    penalty = ridge * np.eye(matrix.shape[1] + 1)
    solution = np.linalg.solve(extended.T * weight @ extended + penalty, extended.T * weight @ targets)
    return solution[:-1], solution[-1]


def corpus(features: int) -> tuple[np.ndarray, np.ndarray]:
    """Documents by five authors, some of whom have more; features [documents, features] are rare or common."""
    rng = np.random.default_rng(0)
    labels = np.sort(rng.choice(5, 300, p=[0.4, 0.3, 0.1, 0.1, 0.1]))
    present = rng.random((300, features)) < rng.choice([0.02, 0.1, 0.6], features)
    return present * rng.random((300, features)) + 0.2 * rng.random((5, features))[labels] * present, labels


@pytest.mark.parametrize("features", [40, 700])
def test_the_solution_is_the_exact_one(features):
    matrix, labels = corpus(features)
    weights, bias = solve_large(sparse.csr_array(matrix), labels, 5, 0.3)
    true_weights, true_bias = exact(matrix, labels, 5, 0.3)
    scores, true_scores = matrix @ weights + bias, matrix @ true_weights + true_bias
    np.testing.assert_allclose(scores, true_scores, atol=0.01)
    assert (scores.argmax(axis=1) == true_scores.argmax(axis=1)).mean() >= 0.99
    weights, bias = solve_large(sparse.csr_array(matrix), labels, 5, 0.3, tolerance=1e-7)
    np.testing.assert_allclose(weights, true_weights, atol=1e-5)
    np.testing.assert_allclose(bias, true_bias, atol=1e-5)


def test_the_solution_is_that_of_the_closed_form():
    """Also its intercept: the rule for unknown authors compares parts of scores."""
    matrix, labels = corpus(400)
    closed, _ = _solve(matrix @ matrix.T, labels, 5, 0.3)
    weights, bias = solve_large(sparse.csr_array(matrix), labels, 5, 0.3, tolerance=1e-7)
    np.testing.assert_allclose(weights, matrix.T @ closed, atol=1e-5)
    np.testing.assert_allclose(bias, closed.sum(axis=0), atol=1e-5)


def test_blocks_change_nothing(monkeypatch):
    """Blocks of documents and of authors, and what is multiplied as dense, decide how much memory and time it takes."""
    matrix, labels = corpus(200)
    matrix = sparse.csr_array(matrix)
    weights, bias = solve_large(matrix, labels, 5, 0.3, tolerance=1e-7)
    for name, value in {"_BLOCK": 64, "_COLUMNS": 2, "AUTHORS": 2, "_COMMON": 0.3}.items():
        monkeypatch.setattr(large_ridge, name, value)
    found, found_bias = solve_large(matrix, labels, 5, 0.3, tolerance=1e-7)
    np.testing.assert_allclose(found, weights, atol=1e-5)
    np.testing.assert_allclose(found_bias, bias, atol=1e-5)


def test_the_solution_agrees_with_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    labels = rng.choice(4, 200, p=[0.5, 0.3, 0.1, 0.1])
    matrix = sparse.random_array((200, 500), density=0.05, rng=rng, format="csr")
    model = linear.Ridge(alpha=0.05, solver="sparse_cg", tol=1e-10, fit_intercept=False)
    shares = np.bincount(labels) * 4 / len(labels)
    extended = sparse.hstack([matrix, np.ones((200, 1))], format="csr")
    model.fit(extended, np.where(np.eye(4)[labels] > 0, 1.0, -1.0), sample_weight=1 / shares[labels])
    weights, bias = solve_large(matrix, labels, 4, 0.05, tolerance=1e-8)
    np.testing.assert_allclose(weights, model.coef_.T[:-1], atol=1e-6)
    np.testing.assert_allclose(bias, model.coef_.T[-1], atol=1e-6)
