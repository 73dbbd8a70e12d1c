"""The formula of the decision rule."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.bundle.decision import Decision
from authorid.scoring.posterior import posterior, window_answers


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


LOGITS = np.array([[1.0, -800.0, 2.0], [3.0, -900.0, -2.0]], np.float32)


def test_sigmoid_gives_each_class_the_logistic_of_its_mean_logit():
    found = posterior(LOGITS, Decision("sigmoid"))
    np.testing.assert_allclose(found, [1 / (1 + np.exp(-2)), 0.0, 0.5])
    np.testing.assert_allclose(window_answers(LOGITS, Decision("sigmoid"), 0), 1 / (1 + np.exp([-1.0, -3.0])))
    np.testing.assert_allclose(posterior(LOGITS[:, 1:2] / 10, Decision("sigmoid")), np.exp([-85.0]))  # not rounded to 0
    assert posterior(-LOGITS[:, 1:2], Decision("sigmoid")) == [1.0]


def test_identity_gives_the_mean_logits_themselves():
    assert posterior(LOGITS, Decision("identity")).tolist() == [2.0, -850.0, 0.0]
    assert window_answers(LOGITS, Decision("identity"), 1).tolist() == [-800.0, -900.0]


def test_mean_logits_and_mean_log_softmax_choose_one_class_with_the_same_probabilities():
    logits = np.random.default_rng(0).normal(0, 3, (5, 4)).astype(np.float32)
    exponents = np.exp(logits.astype(np.float64).mean(axis=0) / 2)
    np.testing.assert_allclose(posterior(logits, Decision(temperature=2.0)), exponents / exponents.sum())


def test_the_rule_of_both_models_needs_ngram_scores():
    with pytest.raises(ValueError, match="needs the scores of the n-gram model"):
        posterior(np.zeros((1, 3)), Decision("fusion"))
