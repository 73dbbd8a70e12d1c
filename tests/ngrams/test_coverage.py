"""The coverage of a text: how many of its n-grams a model knows."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import AUTHORS, prose

from authorid.ngrams import _kernels, kernels, vectorizer
from authorid.ngrams.arrays import encode_texts
from authorid.ngrams.coverage import Coverage, plain_view
from authorid.ngrams.features import View
from authorid.ngrams.words import join_texts, joined_lengths, make_word_table

pytest.importorskip("scipy")
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count
from authorid.training.views import BYTE_VIEWS

SPACES = make_word_table(np.zeros(0, dtype=np.uint64)).spaces
TRAINING = [prose(author, 80, seed=seed) for author in AUTHORS for seed in range(6)]
OTHERS = ["engine of  the\n\n\tloom", "", "of", "日本語の文章です。", prose("Ben", 300, seed=99), "\ud800 market share"]


def model_of(views):
    labels = np.repeat(np.arange(3), 6)
    options = NgramOptions(bits=20, views=views)
    return fit(count(TRAINING, labels, options), labels, 3, options)


def by_hand(text, sizes):
    """How many n-grams of bytes `text` has, and how many of them are in three training texts or more."""

    def grams(some, size):
        data = re.sub(rb"[\t\n\v\f\r ]{2,}", b" ", some.encode("utf-8", "replace"))
        return [data[start : start + size] for start in range(len(data) - size + 1)]

    own = [gram for size in sizes for gram in grams(text, size)]
    documents = [{gram for size in sizes for gram in grams(some, size)} for some in TRAINING]
    return sum(sum(gram in document for document in documents) >= 3 for gram in own), len(own)


@pytest.mark.parametrize("sizes", [(4,), (2, 3)])
@pytest.mark.parametrize("backend", sorted({kernels.active, _kernels}, key=lambda module: module.__name__))
def test_coverage_is_what_counting_by_hand_gives(sizes, backend, monkeypatch):
    monkeypatch.setattr(kernels, "active", backend)
    model = model_of((BYTE_VIEWS[1], View("plain", "byte", sizes)))
    coverage = model.score_texts(OTHERS).coverage
    assert list(zip(coverage.known, coverage.total, strict=True)) == [by_hand(text, sizes) for text in OTHERS]
    assert coverage.overlap == {(4,): 4, (2, 3): 6}[sizes]
    assert np.isnan(coverage.shares[1])
    assert coverage.shares[3] == 0
    assert coverage.shares[4] > 0.8


def test_a_long_text_has_the_coverage_of_its_parts(monkeypatch):
    model, text = model_of(BYTE_VIEWS), prose("Ada", 900) + "zebra " * 30
    whole = model.score_texts([text]).coverage
    monkeypatch.setattr(vectorizer, "_PIECE", 300)
    pieces = model.score_texts([text]).coverage
    assert abs(whole.shares[0] - pieces.shares[0]) < 0.02
    assert pieces.known[0] <= pieces.total[0]


def test_a_model_without_a_plain_view_has_no_coverage():
    assert plain_view(BYTE_VIEWS) == 0
    assert plain_view(BYTE_VIEWS[1:]) is None
    assert model_of(BYTE_VIEWS[1:]).score_texts(OTHERS).coverage is None


@given(st.lists(st.text(st.sampled_from("a \t\n\v\f\r\x0bé"), max_size=12), max_size=6))
def test_joined_lengths_are_those_of_joined_texts(texts):
    encoded = encode_texts(texts)
    assert joined_lengths(encoded, SPACES).tolist() == np.diff(join_texts(encoded, SPACES).offsets).tolist()


def test_the_shorter_a_text_the_lower_the_coverage_that_chance_explains():
    lengths = np.array([3, 10, 30, 100, 1000, 10_000, 10_000])
    known = (0.7 * np.maximum(lengths - 3, 0)).astype(np.int64)
    known[-1] = 9_500
    coverage = Coverage.of(known, lengths, View("plain", "byte", (4,)))
    assert coverage.below(0.9).tolist() == [False, False, False, True, True, True, False]
    assert not coverage.below(0.0).any()
    assert Coverage.of(np.zeros(7, dtype=np.int64), lengths, View("plain", "byte", (4,))).below(1.0).sum() == 6
