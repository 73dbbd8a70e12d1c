"""The n-gram expert's rule, as it is learnt from a corpus: who is heard, and how sure it makes answers."""

from __future__ import annotations

import random

import numpy as np
import pytest
from checkpoints import AUTHORS, write_corpus

pytest.importorskip("scipy")
from authorid.scoring.attribution import posterior
from authorid.training import fusion as experts
from authorid.training import load_corpus
from authorid.training.fusion import Held, learn
from authorid.training.ngram_fit import NgramOptions, count, fit


def test_of_very_many_documents_rare_authors_are_kept(tmp_path, monkeypatch):
    """Whoever the sample lacked would have no score, and the others' would be taken for theirs."""
    root = write_corpus(tmp_path / "corpus", documents=30)
    for path in list((root / AUTHORS[1]).iterdir())[1:]:
        path.unlink()
    monkeypatch.setattr(experts, "DENSE_DOCUMENTS", 12)
    found = learn(load_corpus(root), NgramOptions(bits=14))
    assert len(found.decision.known_author_rule.mean) == len(AUTHORS)
    assert found.report["held_out"] == 4
    assert found.report["accuracy"] == 1.0


def test_a_sample_is_spread_over_each_author_and_no_larger_than_was_asked():
    labels = np.repeat(np.arange(5), [1, 2, 3, 1000, 5000])
    chosen = experts._sample(labels, 300)
    assert len(np.unique(chosen)) == len(chosen) <= 300
    assert np.array_equal(chosen, np.sort(chosen))
    counts = np.bincount(labels[chosen])
    assert counts[:3].tolist() == [1, 2, 2]
    assert counts[3] == pytest.approx(300 / 6, rel=0.1)
    assert chosen[counts[:3].sum()] == 6
    assert chosen[-1] == len(labels) - 1
    assert np.bincount(labels[experts._sample(labels, 3)]).tolist() == [1, 2, 2, 2, 2]


def test_answers_are_calibrated_on_documents_of_which_nothing_was_counted(tmp_path, monkeypatch):
    """Which n-grams and words there are, and what they are worth, held-out documents must not have had a say in."""
    corpus = load_corpus(write_corpus(tmp_path / "corpus", documents=10))
    texts = [document.text for document in corpus.documents]
    labels = np.array([document.label for document in corpus.documents])
    options = NgramOptions(bits=14, weights="float32")

    def alone(training, others):
        """Scores by an expert that has never seen the others."""
        own = [texts[index] for index in training]
        expert = fit(count(own, labels[training], options), labels[training], len(AUTHORS), options)
        return expert.score_texts([texts[index] for index in others]).scores

    heard = {}

    def confidence(scores, *others):
        heard["confidence"] = scores
        return plain_confidence(scores, *others)

    def stack(scores, *others):
        heard["stack"] = scores
        return plain_stack(scores, *others)

    plain_confidence, plain_stack = experts.confidence, experts.stack
    monkeypatch.setattr(experts, "confidence", confidence)
    monkeypatch.setattr(experts, "stack", stack)
    places = np.array([int(document.path.split("/")[1][:-4]) for document in corpus.documents])
    late, last = np.flatnonzero(places > 6), np.flatnonzero(places > 8)
    learn(corpus, options, encoder=Held(np.flatnonzero(places <= 8), last, np.zeros((len(last), len(AUTHORS)))))
    np.testing.assert_allclose(heard["confidence"], alone(np.flatnonzero(places <= 6), late), atol=1e-4)
    np.testing.assert_allclose(heard["stack"], alone(np.flatnonzero(places <= 8), last), atol=1e-4)


def test_short_texts_get_no_surer_answers_than_they_deserve(tmp_path):
    """Every document begins with its author's name; of a few bytes from elsewhere, hardly anything can be said."""
    words = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]

    def text(author, number):
        rng = random.Random(f"{author} {number}")
        taste = random.Random(author).choices((1, 2), k=len(words))
        return " ".join([f"By {author}, our correspondent:", *rng.choices(words, taste, k=400)])

    root = tmp_path / "corpus"
    for author in AUTHORS:
        (root / author).mkdir(parents=True)
        for number in range(10):
            (root / author / f"{number}.txt").write_text(text(author, number))
    found = learn(load_corpus(root), NgramOptions(bits=14))
    for length in (5, 10, 20, 40):
        answers = [
            (place, posterior(None, found.decision, found.expert.score_text(piece), len(piece)))
            for place, author in enumerate(AUTHORS)
            for number in range(20, 60)
            for piece in [text(author, number)[200 : 200 + length]]
        ]
        right = np.mean([row.argmax() == place for place, row in answers])
        assert np.mean([row.max() for _, row in answers]) < right + 0.1, length
    assert found.expert.score_text(text("Ben", 20)).argmax() == 1


def test_texts_are_cut_to_bytes_at_places_that_stay_the_same(tmp_path, monkeypatch):
    root = tmp_path / "corpus"
    for author in AUTHORS:
        (root / author).mkdir(parents=True)
        for number in range(5):
            rng = random.Random(f"{author} {number}")
            (root / author / f"{number}.txt").write_text(
                "".join(rng.choices("的一是在不了有和人这中大为上个国", k=200))
            )
    heard = []

    def confidence(*given):
        heard.append(given[3:])
        return plain(*given)

    plain = experts.confidence
    monkeypatch.setattr(experts, "confidence", confidence)
    corpus = load_corpus(root)
    learn(corpus, NgramOptions(bits=14))
    learn(corpus, NgramOptions(bits=14))
    for one, other in zip(*heard, strict=True):
        np.testing.assert_array_equal(one, other)
    # A character of three bytes at either end may be cut off; the documents have 600 bytes.
    sizes = heard[0][1].reshape(-1, 6)
    assert (sizes <= experts.SHORT[:6]).all()
    assert (sizes > np.array(experts.SHORT[:6]) - 5).all()
