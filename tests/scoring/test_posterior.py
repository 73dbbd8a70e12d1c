"""The formula of the decision rule."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.bundle.decision import Decision
from authorid.scoring.posterior import posterior


def test_the_posterior_is_the_documented_formula():
    decision = Decision("fusion", temperature=2.0, ngram_weight=3.0, encoder_weight=0.5, half_length=100.0, spread=1.5)
    scores, logits = np.array([0.5, -0.2, -0.9]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    centred = (scores - scores.mean()) / scores.std() ** 1.5
    logs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).mean(axis=0)
    expected = np.exp((3.0 * 300 / 400 * centred + 0.5 * logs) / 2)
    np.testing.assert_allclose(posterior(logits, decision, scores, 300), expected / expected.sum())
    np.testing.assert_allclose(posterior(None, decision, scores, 0), 1 / 3)
    alone = np.exp(3.0 * 300 / 400 * centred)  # the temperature belongs to the combination
    np.testing.assert_allclose(posterior(None, decision, scores, 300), alone / alone.sum())


def test_the_rule_of_both_models_needs_ngram_scores():
    with pytest.raises(ValueError, match="needs the scores of the n-gram model"):
        posterior(np.zeros((1, 3)), Decision("fusion"))
