"""Scores of authors with different numbers of documents are made comparable."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.training.score_normalization import STRETCH, fit_normalization


def impostors(numbers: tuple[int, ...], level, spread, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Leave-one-out scores whose mean and deviation for other authors' documents depend on the number of documents."""
    rng = np.random.default_rng(seed)
    labels = np.repeat(np.arange(len(numbers)), numbers)
    size = np.array(numbers, dtype=float)
    return level(size) + spread(size) * rng.normal(size=(len(labels), len(numbers))), labels


def test_what_depends_on_the_number_of_documents_is_taken_out():
    numbers = (200, 100, 50, 25, 200, 100, 50, 25)
    scores, labels = impostors(numbers, lambda n: 0.1 * np.log(n) - 1, lambda n: 0.05 * n**0.5)
    found = fit_normalization(scores, labels)
    normalized = (scores - found.shift) / found.scale
    means = [normalized[labels != author, author].mean() for author in range(8)]
    assert np.ptp(means) < 0.25 * np.ptp([scores[labels != author, author].mean() for author in range(8)])
    # The deviation grows with the root of the number.
    np.testing.assert_allclose(found.scale[0] / found.scale[3], 8 ** (0.5 * STRETCH), rtol=0.15)
    assert found.scale == pytest.approx(np.tile(found.scale[:4], 2), rel=0.03)


def test_most_of_what_is_peculiar_to_an_author_stays():
    """One of many authors with nearly as many documents gets high scores from everybody."""
    numbers = (50, 49, 51, 50, 50, 49)
    scores, labels = impostors(numbers, lambda n: np.zeros_like(n), lambda n: np.full_like(n, 0.2))
    scores[:, 1] += 0.5
    found = fit_normalization(scores, labels)
    assert 0 <= found.shift[1] < 0.05 * 0.5
    assert np.abs(np.delete(found.shift, 1)).max() < 0.03
    assert np.abs(np.log(found.scale)).max() < 0.05


def test_scores_without_any_deviation_stay_finite():
    labels = np.array([0, 0, 1])
    found = fit_normalization(np.zeros((3, 2)), labels)
    assert np.isfinite(found.shift).all() and (found.scale > 0).all()
