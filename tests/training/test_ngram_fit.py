"""Fitting the n-gram model to very many documents."""

from __future__ import annotations

import numpy as np
import pytest

from authorid.training import ngram_fit
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count

sparse = pytest.importorskip("scipy.sparse")


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
