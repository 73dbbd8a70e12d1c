"""The weight of the encoder beside the n-grams, and for which documents the encoder is worth its time."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.bundle.decision import Decision
from authorid.scoring.posterior import log_softmax, ngram_evidence, posterior

pytest.importorskip("scipy")
from authorid.training.encoder_weight import TOLERATED, USUAL_WEIGHT, EncoderScores, fit_encoder_weight

AUTHORS = 5


def scores_of(truth, strength, seed, noise=1.0):
    """Scores of a model: `strength` for the author, and noise."""
    rng = np.random.default_rng(seed)
    return strength * np.eye(AUTHORS)[truth] + rng.normal(0, noise, (len(truth), AUTHORS))


def authors_of(documents, seed=0):
    return np.random.default_rng(seed).integers(0, AUTHORS, documents)


def fitted(ngrams, encoder, truth, *, weight=1.0, windows=None):
    indices, sizes = np.arange(len(truth)), np.full(len(truth), 3000)
    windows = np.full(len(truth), 4) if windows is None else windows
    scores = EncoderScores(indices, indices, log_softmax(encoder), windows)
    return fit_encoder_weight((ngrams, sizes, truth), scores, Decision("fusion", ngram_weight=weight))


@pytest.mark.parametrize("seed", range(4))
def test_an_encoder_of_pure_noise_gets_next_to_no_weight(seed):
    truth = authors_of(400, seed)
    ngrams = scores_of(truth, 1, seed + 10, noise=0.5)
    assert fitted(ngrams, scores_of(truth, 0, seed + 20), truth, weight=2.0).decision.encoder_weight <= 0.1
    assert fitted(ngrams, scores_of(truth, 2, seed + 30), truth, weight=2.0).decision.encoder_weight > 0.3


@pytest.mark.parametrize("seed", range(4))
def test_the_weight_is_close_to_the_best_on_other_documents(seed):
    """On documents that nothing was fitted on; the encoder is weaker than the n-grams, as good, and stronger."""
    for strength in (0.5, 1.0, 2.0):
        truth = authors_of(4000, seed)
        ngrams, encoder = (scores_of(truth, own, seed + i) for i, own in ((1, 1.0), (2, strength)))
        found = fitted(ngrams[:2000], encoder[:2000], truth[:2000]).decision
        alone = ngram_evidence(ngrams, np.full(4000, 3000), found)[2000:]

        def right(weight, alone=alone, encoder=encoder, truth=truth):
            return int(((alone + weight * log_softmax(encoder[2000:])).argmax(axis=1) == truth[2000:]).sum())

        best = max(right(weight) for weight in np.linspace(0, 5, 51))
        assert right(found.encoder_weight) > best - 0.02 * 2000
        assert right(found.encoder_weight) > right(0) + (0.1 if strength >= 1 else 0) * 2000


def test_a_few_documents_give_little_weight_to_an_encoder_that_guesses():
    """Of 12 documents, chance improves some; on others the weight would do harm."""
    weights = []
    for seed in range(20):
        truth = authors_of(12, seed)
        ngrams = scores_of(truth, 1, seed + 100, noise=0.7)
        weights.append(fitted(ngrams, scores_of(truth, 0, seed + 200), truth, weight=2.0).decision.encoder_weight)
    assert weights.count(0) >= 15
    assert np.mean(weights) < 0.1


@pytest.mark.parametrize("documents", [12, 50, 150])
def test_a_few_documents_give_the_usual_weight_to_an_encoder_that_knows_something(documents):
    """What is best for a few documents is chance; an encoder as good as the n-grams helps on others."""
    for seed in range(10):
        truth = authors_of(documents, seed)
        ngrams, encoder = (scores_of(truth, 1, seed + i, noise=0.7) for i in (100, 200))
        assert fitted(ngrams, 2 * encoder, truth, weight=2.0).decision.encoder_weight == USUAL_WEIGHT


def test_a_few_documents_give_no_weight_to_an_encoder_that_does_harm():
    truth = authors_of(60, 1)
    ngrams = scores_of(truth, 3, 2, noise=0.5)
    wrong = scores_of((truth + (np.arange(60) % 3 == 0)) % AUTHORS, 9, 3, noise=0.5)  # a third is wrong, and certain
    assert fitted(ngrams, wrong, truth, weight=1.0).decision.encoder_weight == 0


def test_the_temperature_is_relative_to_that_of_the_ngrams_alone():
    truth = authors_of(3000, 1)
    ngrams, encoder = (scores_of(truth, 1, seed) for seed in (2, 3))
    found = fitted(ngrams, encoder, truth).decision
    assert found.encoder_weight > 0
    alone = ngram_evidence(ngrams, np.full(3000, 3000), found)

    def likeliest(evidence):
        heats = np.geomspace(0.4, 4, 1000)
        return heats[np.argmax([log_softmax(evidence / heat)[range(3000), truth].mean() for heat in heats])]

    ratio = likeliest(alone + found.encoder_weight * log_softmax(encoder)) / likeliest(alone)
    assert found.temperature == pytest.approx(ratio, rel=0.01)


def test_an_encoder_that_makes_right_answers_wrong_gets_no_weight():
    truth = np.arange(300) % 5
    right = np.where(np.arange(300) % 10 < 8, truth, (truth + 1) % 5)  # 80 %, with little between the two
    ngrams = 3 * np.eye(5)[truth] + 3.2 * np.eye(5)[right]
    doubtful = 0.5 * np.eye(5)[truth] + 4 * np.eye(5)[(truth + 1) % 5] * (np.arange(300) % 3 == 0)[:, None]
    found = fitted(ngrams, doubtful, truth)
    assert (found.decision.encoder_weight, found.effort.default, found.windows) == (0, "fast", 0)


def answers(found, ngrams, encoder):
    """Probabilities of the n-grams alone and of both models, [documents, authors] each."""
    alone = np.array([posterior(None, found.decision, row, 3000) for row in ngrams])
    rows = zip(encoder, ngrams, strict=True)
    return alone, np.array([posterior(one[None], found.decision, row, 3000) for one, row in rows])


def test_auto_keeps_the_accuracy_of_full_with_fewer_windows():
    truth = authors_of(1000, 1)
    ngrams, encoder = (scores_of(truth, 1, seed, noise=noise) for seed, noise in ((2, 0.4), (3, 0.7)))
    windows = np.random.default_rng(4).integers(1, 20, 1000)
    found = fitted(ngrams, encoder, truth, weight=3.0, windows=windows)
    alone, both = answers(found, ngrams, encoder)
    two = np.sort(alone, axis=1)[:, -2:]
    reads = (two[:, 0] / two[:, 1]) ** 2 / windows >= found.effort.least_gain
    right = {
        name: int((rows.argmax(axis=1) == truth).sum())
        for name, rows in (("fast", alone), ("auto", np.where(reads[:, None], both, alone)), ("full", both))
    }
    assert right == found.right
    assert right["full"] - TOLERATED * 1000 <= right["auto"] > right["fast"] + TOLERATED * 1000
    assert found.windows == pytest.approx(windows[reads].sum() / windows.sum())
    assert 0 < found.windows < 0.6
    assert found.effort.default == "auto"


def test_fast_is_the_default_where_auto_gains_next_to_nothing():
    truth = authors_of(1000, 1)
    ngrams = scores_of(truth, 4, 2, noise=0.5)
    found = fitted(ngrams, scores_of(truth, 1, 3), truth, weight=2.0)
    assert found.effort.default == "fast"
    assert "default effort: fast" in found.summary
