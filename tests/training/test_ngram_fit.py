"""Fitting the n-gram model to very many documents."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.training import ngram_fit
from authorid.training.ngram_fit import NgramOptions, count, fit, solve_large

sparse = pytest.importorskip("scipy.sparse")


def exact(matrix: np.ndarray, labels: np.ndarray, authors: int, ridge: float) -> tuple[np.ndarray, np.ndarray]:
    """Weighted ridge regression with an intercept that is not regularized, by the normal equations."""
    weight = 1 / (np.bincount(labels, minlength=authors) * authors / len(labels))[labels]
    targets = np.where(np.eye(authors)[labels] > 0, 1.0, -1.0)
    extended = np.hstack([matrix, np.ones((len(labels), 1))])
    penalty = np.diag([ridge] * matrix.shape[1] + [0.0])
    solution = np.linalg.solve(extended.T * weight @ extended + penalty, extended.T * weight @ targets)
    return solution[:-1], solution[-1]


@pytest.mark.parametrize("features", [40, 700])
def test_conjugate_gradients_agree_with_the_exact_solution(features):
    rng = np.random.default_rng(0)
    labels = np.sort(rng.choice(5, 300, p=[0.4, 0.3, 0.1, 0.1, 0.1]))
    matrix = (rng.random((300, features)) < 0.1) * rng.random((300, features)) + 0.2 * rng.random((5, features))[labels]
    weights, bias = solve_large(sparse.csr_array(matrix), labels, 5, 0.3)
    true_weights, true_bias = exact(matrix, labels, 5, 0.3)
    scores, true_scores = matrix @ weights + bias, matrix @ true_weights + true_bias
    np.testing.assert_allclose(scores, true_scores, atol=0.01)
    assert (scores.argmax(axis=1) == true_scores.argmax(axis=1)).all()


def test_conjugate_gradients_agree_with_scikit_learn():
    linear = pytest.importorskip("sklearn.linear_model")
    rng = np.random.default_rng(1)
    labels = rng.choice(4, 200, p=[0.5, 0.3, 0.1, 0.1])
    matrix = sparse.random_array((200, 500), density=0.05, rng=rng, format="csr")
    model = linear.Ridge(alpha=0.05, solver="sparse_cg", tol=ngram_fit.TOLERANCE)
    shares = np.bincount(labels) * 4 / len(labels)
    model.fit(matrix, np.where(np.eye(4)[labels] > 0, 1.0, -1.0), sample_weight=1 / shares[labels])
    weights, bias = solve_large(matrix, labels, 4, 0.05)
    np.testing.assert_allclose(weights, model.coef_.T, atol=1e-6)
    np.testing.assert_allclose(bias, model.intercept_, atol=1e-6)


def test_a_large_corpus_gets_nearly_the_model_of_the_closed_form(monkeypatch):
    rng = np.random.default_rng(0)
    words = [[*"abcdef", f"own{author}", f"other{author}"] for author in range(3)]
    labels = np.arange(60) % 3
    texts = [" ".join(rng.choice(words[label], 80)) for label in labels]
    options = NgramOptions(bits=14, weights="float32")
    counts = count(texts, labels, options)
    small = fit(counts, labels, 3, options)
    monkeypatch.setattr(ngram_fit, "DENSE_DOCUMENTS", 10)
    large = fit(counts, labels, 3, options)
    expected, found = small.score_texts(texts).scores, large.score_texts(texts).scores
    np.testing.assert_allclose(found, expected, atol=0.1)
    assert (found.argmax(axis=1) == labels).all()
