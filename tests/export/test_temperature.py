"""The temperature makes probabilities fit the labels."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.export import fit_temperature
from authorid.scoring.posterior import log_softmax


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_of_sampled_labels_is_recovered(true):
    rng = np.random.default_rng(1)
    scores = log_softmax(rng.normal(0, 3, (20_000, 5)))
    probabilities = np.exp(log_softmax(scores / true))
    labels = np.array([rng.choice(5, p=row) for row in probabilities])
    assert fit_temperature(scores, labels) == pytest.approx(true, rel=0.06)


def test_a_few_documents_that_are_all_right_do_not_make_probabilities_certain():
    scores = log_softmax(np.eye(3)[[0, 1, 2, 0]] * 4.0)
    temperature = fit_temperature(scores, np.array([0, 1, 2, 0]))
    best = np.exp(log_softmax(scores / temperature)).max(axis=1)
    assert (best < 0.9).all()
