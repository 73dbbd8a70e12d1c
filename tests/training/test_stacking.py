"""The weight of the encoder beside the n-grams, and the temperature and exit threshold of the combination."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.bundle.decision import Decision
from authorid.scoring.posterior import log_softmax, ngram_evidence, posterior

pytest.importorskip("scipy")
from authorid.training.fusion import fit_encoder_weight


def test_an_encoder_of_pure_noise_gets_no_weight():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    good = np.eye(5)[truth] + rng.normal(0, 0.5, (400, 5))
    noise = rng.normal(0, 1, (400, 5))
    base = Decision("fusion", ngram_weight=2.0)
    sizes = np.full(400, 3000)
    assert fit_encoder_weight(good, noise, sizes, truth, base).encoder_weight <= 0.05
    assert fit_encoder_weight(good, 2 * np.eye(5)[truth] + noise, sizes, truth, base).encoder_weight > 0.3


def test_the_temperature_is_relative_to_that_of_the_ngrams_alone():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 3000)
    ngrams, encoder = (np.eye(5)[truth] + rng.normal(0, 1, (3000, 5)) for _ in range(2))
    found = fit_encoder_weight(ngrams, encoder, np.full(3000, 3000), truth, Decision("fusion", ngram_weight=1.0))
    assert found.encoder_weight > 0
    alone = ngram_evidence(ngrams, np.full(3000, 3000), found)

    def likeliest(evidence):
        heats = np.geomspace(0.4, 4, 1000)
        return heats[np.argmax([log_softmax(evidence / heat)[range(3000), truth].mean() for heat in heats])]

    ratio = likeliest(alone + found.encoder_weight * encoder) / likeliest(alone)
    assert found.temperature == pytest.approx(ratio, rel=0.01)


def test_an_encoder_that_makes_right_answers_wrong_gets_no_weight():
    truth = np.arange(300) % 5
    right = np.where(np.arange(300) % 10 < 8, truth, (truth + 1) % 5)  # 80 %, with little between the two
    ngrams = 3 * np.eye(5)[truth] + 3.2 * np.eye(5)[right]
    doubtful = 0.5 * np.eye(5)[truth] + 4 * np.eye(5)[(truth + 1) % 5] * (np.arange(300) % 3 == 0)[:, None]
    found = fit_encoder_weight(ngrams, doubtful, np.full(300, 3000), truth, Decision("fusion", ngram_weight=1.0))
    assert found.encoder_weight == 0


def test_documents_above_the_exit_threshold_keep_their_answers_without_the_encoder():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 500)
    ngrams = np.eye(5)[truth] + rng.normal(0, 0.7, (500, 5))
    encoder = np.eye(5)[truth] + rng.normal(0, 0.7, (500, 5))
    base = Decision("fusion", ngram_weight=2.0)
    found = fit_encoder_weight(ngrams, encoder, np.full(500, 3000), truth, base)
    assert found.encoder_weight > 0.3
    logits = encoder[:, None, :]
    alone = np.array([posterior(None, found, row, 3000) for row in ngrams])
    both = np.array([posterior(log_softmax(one), found, row, 3000) for one, row in zip(logits, ngrams, strict=True)])
    exits_early = alone.max(axis=1) >= found.exit_threshold
    assert 0.05 < exits_early.mean() < 1
    assert (both.argmax(axis=1) != alone.argmax(axis=1))[exits_early].sum() <= 1
