"""The decision rule that is fitted to a corpus: what it is fitted on, and how well its probabilities are calibrated."""

from __future__ import annotations

import random

import numpy as np
import pytest
from checkpoints import AUTHORS, write_corpus

pytest.importorskip("scipy")
from authorid.scoring.posterior import posterior
from authorid.training import fusion, load_corpus
from authorid.training.fusion import EncoderScores, fit_fusion
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count
from authorid.training.views import BYTE_VIEWS


def test_a_sample_of_a_large_corpus_keeps_rare_authors(tmp_path, monkeypatch):
    """An author without documents in the sample would have no scores."""
    root = write_corpus(tmp_path / "corpus", documents=30)
    for path in list((root / AUTHORS[1]).iterdir())[1:]:
        path.unlink()
    monkeypatch.setattr(fusion, "DENSE_DOCUMENTS", 12)
    found = fit_fusion(load_corpus(root), NgramOptions(views=BYTE_VIEWS, bits=14))
    assert len(found.decision.known_author_rule.mean) == len(AUTHORS)
    assert found.report["held_out"] == 4
    assert found.report["accuracy"] == 1.0


def test_probabilities_are_calibrated_on_documents_that_the_fit_has_not_counted(tmp_path, monkeypatch):
    """Vocabulary, common words and frequencies must not come from held-out documents."""
    corpus = load_corpus(write_corpus(tmp_path / "corpus", documents=10))
    texts = [document.text for document in corpus.documents]
    labels = np.array([document.label for document in corpus.documents])
    options = NgramOptions(views=BYTE_VIEWS, bits=14, weights="float32")

    def alone(training, others):
        """Scores by a model that has never seen the others."""
        own = [texts[index] for index in training]
        model = fit(count(own, labels[training], options), labels[training], len(AUTHORS), options)
        return model.score_texts([texts[index] for index in others]).scores

    received = {}

    def fit_ngram_confidence(whole, short):
        received["confidence"] = whole[0]
        return plain_confidence(whole, short)

    def fit_encoder_weight(ngrams, *others):
        received["weight"] = ngrams[0]
        return plain_weight(ngrams, *others)

    plain_confidence, plain_weight = fusion.fit_ngram_confidence, fusion.fit_encoder_weight
    monkeypatch.setattr(fusion, "fit_ngram_confidence", fit_ngram_confidence)
    monkeypatch.setattr(fusion, "fit_encoder_weight", fit_encoder_weight)
    numbers = np.array([int(document.path.split("/")[1][:-4]) for document in corpus.documents])
    last = np.flatnonzero(numbers > 8)
    scores, windows = np.zeros((len(last), len(AUTHORS))), np.ones(len(last), int)
    encoder = EncoderScores(np.flatnonzero(numbers <= 8), last, scores, windows)
    fit_fusion(corpus, options, encoder=encoder)
    # Of a small corpus, the last four documents of each author are held out one at a time.
    blocks = [alone(np.flatnonzero(numbers != late), np.flatnonzero(numbers == late)) for late in (7, 8, 9, 10)]
    np.testing.assert_allclose(received["confidence"], np.concatenate(blocks), atol=1e-4)
    monkeypatch.setattr(fusion, "FEW_HELD_OUT", 0)
    fit_fusion(corpus, options)
    whole = alone(np.flatnonzero(numbers <= 6), np.flatnonzero(numbers > 6))
    np.testing.assert_allclose(received["confidence"], whole, atol=1e-4)
    np.testing.assert_allclose(received["weight"], alone(np.flatnonzero(numbers <= 8), last), atol=1e-4)


def test_short_texts_get_no_more_confident_answers_than_they_deserve(tmp_path):
    """Every document begins with its author's name; a few bytes from elsewhere are hardly any evidence."""
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
    found = fit_fusion(load_corpus(root), NgramOptions(views=BYTE_VIEWS, bits=14))
    for length in (5, 10, 20, 40):
        answers = [
            (label, posterior(None, found.decision, found.ngrams.score_text(piece), len(piece)))
            for label, author in enumerate(AUTHORS)
            for number in range(20, 60)
            for piece in [text(author, number)[200 : 200 + length]]
        ]
        right = np.mean([row.argmax() == label for label, row in answers])
        assert np.mean([row.max() for _, row in answers]) < right + 0.1, length
    assert found.ngrams.score_text(text("Ben", 20)).argmax() == 1


def test_texts_are_cut_to_bytes_at_reproducible_positions(tmp_path, monkeypatch):
    root = tmp_path / "corpus"
    for author in AUTHORS:
        (root / author).mkdir(parents=True)
        for number in range(5):
            rng = random.Random(f"{author} {number}")
            (root / author / f"{number}.txt").write_text(
                "".join(rng.choices("的一是在不了有和人这中大为上个国", k=200))
            )
    received = []

    def fit_ngram_confidence(whole, short):
        received.append(short)
        return plain(whole, short)

    plain = fusion.fit_ngram_confidence
    monkeypatch.setattr(fusion, "fit_ngram_confidence", fit_ngram_confidence)
    corpus = load_corpus(root)
    fit_fusion(corpus, NgramOptions(views=BYTE_VIEWS, bits=14))
    fit_fusion(corpus, NgramOptions(views=BYTE_VIEWS, bits=14))
    for one, other in zip(*received, strict=True):
        np.testing.assert_array_equal(one, other)
    # A character of three bytes at either end may be cut off; the documents have 600 bytes.
    sizes = received[0][1].reshape(-1, 6)
    assert (sizes <= fusion.SHORT[:6]).all()
    assert (sizes > np.array(fusion.SHORT[:6]) - 5).all()
