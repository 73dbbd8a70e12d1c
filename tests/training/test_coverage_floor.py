"""The threshold of the coverage: what training chooses, and what it means for documents."""

from __future__ import annotations

import base64
import random

import numpy as np
import pytest
from tiny import AUTHORS, prose

pytest.importorskip("scipy")
from authorid.ngrams.coverage import Coverage
from authorid.scoring.scorer import Scorer
from authorid.training.coverage_floor import fit_coverage_threshold
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams


def covered(shares):
    return Coverage(np.round(np.array(shares) * 10_000).astype(np.int64), np.full(len(shares), 10_000), 4)


def test_at_most_one_held_out_document_in_two_hundred_is_below_the_threshold():
    generator = np.random.default_rng(0)
    for number in (200, 399, 1000, 5000):
        coverage = covered(1 - 0.04 * generator.lognormal(0, 0.5, number))
        threshold = fit_coverage_threshold(coverage)
        below = (coverage.shares < threshold).mean()
        assert 0.002 < below <= 0.005


def test_with_few_held_out_documents_the_threshold_is_far_below_all_of_them():
    assert fit_coverage_threshold(covered([0.9] * 100)) == pytest.approx(0.9 - 3.5 * 0.03 * (1 + 2.5 / 99))
    assert fit_coverage_threshold(covered([0.85, 0.95] * 5)) == pytest.approx(
        0.9 - 3.5 * 0.0527 * (1 + 2.5 / 9), abs=1e-3
    )
    assert fit_coverage_threshold(covered([*[0.9] * 100, 0.6])) <= 0.6
    for few in ([0.8], [0.3, 0.9], [0.5, 0.6, 0.9]):
        assert fit_coverage_threshold(covered(few)) == pytest.approx(np.mean(few) / 4)


def test_nothing_is_below_the_threshold_when_nothing_was_held_out():
    assert fit_coverage_threshold(covered([])) == 0
    assert fit_coverage_threshold(Coverage(np.zeros(3, np.int64), np.zeros(3, np.int64), 4)) == 0


@pytest.mark.parametrize("documents", [2, 4, 10, 40])
def test_later_documents_by_the_authors_stay_and_what_is_no_prose_goes(tmp_path, documents):
    for number, author in enumerate(AUTHORS):
        (tmp_path / "corpus" / author).mkdir(parents=True)
        for i in range(documents):
            (tmp_path / "corpus" / author / f"{i}.txt").write_text(prose(author, 120, seed=1000 * number + i))
    bundle = train_ngrams(tmp_path / "corpus", tmp_path / "run", NgramOptions(bits=16))
    assert 0 < bundle.decision.coverage_threshold < 1
    scorer = Scorer(bundle)
    later = [prose(author, words, seed=7777 + words) for author in AUTHORS for words in (5, 20, 50, 500) * 10]
    assert {row.status for row in scorer.score_texts(later)} == {"scored"}
    encoded = [base64.encodebytes(random.Random(i).randbytes(900)).decode() for i in range(20)]
    rows = list(scorer.score_texts(encoded))
    assert {(row.status, row.reason) for row in rows} == {("unknown", "unlike anything in training")}
    assert all(row.coverage < bundle.decision.coverage_threshold for row in rows)
    assert {row.status for row in Scorer(bundle, any_text=True).score_texts(encoded)} == {"scored"}
