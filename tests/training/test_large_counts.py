"""Counting the n-grams of very many documents in two passes: the counts are those of one pass."""

from __future__ import annotations

import numpy as np
import pytest
from generated_corpora import Generator

from authorid.training import large_counts
from authorid.training.large_counts import count_large, tfidf_large
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count, inverse_frequencies, tfidf
from authorid.training.views import BYTE_VIEWS, CHARACTER_VIEWS, FREQUENT_WORDS, PLAIN_WORDS

pytest.importorskip("scipy")


@pytest.mark.parametrize("views", [BYTE_VIEWS, (*BYTE_VIEWS, PLAIN_WORDS, FREQUENT_WORDS), CHARACTER_VIEWS])
@pytest.mark.parametrize("megabytes", [0.02, 10.0])
def test_two_passes_count_what_one_pass_counts(views, megabytes, monkeypatch):
    generator = Generator(4)
    texts = [text for author in range(4) for text in generator.documents(author, 9)] + ["", "word " * 60_000]
    labels = np.append(np.arange(36) % 4, [3, 0])
    options = NgramOptions(views=views, bits=12, megabytes=megabytes)
    expected, found = count(texts, labels, options), count_large(texts, labels, options)
    assert found.bounds == expected.bounds and (len(found.buckets) == 1176) == (megabytes < 1)
    assert np.array_equal(found.buckets, expected.buckets) and np.array_equal(found.shared, expected.shared)
    assert np.array_equal(found.matrix.toarray(), expected.matrix.toarray())
    idf = inverse_frequencies(found, np.arange(38))
    assert np.array_equal(idf, inverse_frequencies(expected, np.arange(38)))
    monkeypatch.setattr(large_counts, "_ROWS", 7)
    np.testing.assert_array_equal(tfidf_large(found, idf).toarray(), tfidf(expected, idf).astype(np.float32).toarray())
