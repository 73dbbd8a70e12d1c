from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from composed_texts import compose
from fusion_bundle import make_fusion_bundle
from tiny import AUTHORS, prose

from authorid.bundle.manifest import load_bundle
from authorid.models import default_bundle
from authorid.ngrams.model import load_ngram_model
from authorid.scoring.rolling import RollingOptions, attribute_segments, best_path


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return make_fusion_bundle(tmp_path_factory.mktemp("rolling"))


def rolling(bundle, text, **options):
    return attribute_segments(
        load_ngram_model(bundle), bundle.decision, bundle.authors, text, RollingOptions(**options)
    )


def test_change_points_of_a_composed_text(bundle):
    parts = [
        prose(author, words, seed=words)
        for author, words in zip((*AUTHORS, AUTHORS[0]), (410, 360, 530, 380), strict=True)
    ]
    text = "\n".join(parts)
    found = rolling(bundle, text)
    assert [segment.author for segment in found.segments] == [*AUTHORS, AUTHORS[0]]
    assert np.abs(np.array(found.changes) - [410, 770, 1300]).max() <= 50
    assert found.words == 1680
    assert found.segments[0].start == 0 and found.segments[-1].end == len(text)
    for before, after in pairwise(found.segments):
        assert (before.end, before.last_word + 1) == (after.start, after.first_word)
    for segment in found.segments:
        assert len(text[segment.start : segment.end].split()) == segment.last_word - segment.first_word + 1
        assert segment.author not in dict(segment.others)
    assert found.probabilities.sum(axis=1) == pytest.approx(1.0)


def test_one_author_has_one_segment(bundle):
    found = rolling(bundle, prose(AUTHORS[1], 700, seed=5))
    assert [segment.author for segment in found.segments] == [AUTHORS[1]]
    assert found.changes == ()


@pytest.mark.parametrize("words", [0, 1, 24, 25, 26, 99, 100, 101, 125])
def test_documents_of_any_length(bundle, words):
    text = prose(AUTHORS[0], words, seed=words) if words else " \n"
    found = rolling(bundle, text)
    assert found.words == words
    assert len(found.segments) == min(words, 1)
    assert found.to_json()["windows"][-1:] == [] or found.to_json()["windows"][-1]["last_word"] == words


def test_a_step_longer_than_a_window_is_refused():
    with pytest.raises(ValueError, match="at most the 50 of a window, got 60"):
        RollingOptions(window=50, step=60)


def test_the_best_path_is_the_best_of_all():
    rng = np.random.default_rng(0)
    for _ in range(20):
        evidence = rng.normal(size=(6, 3))
        paths = np.stack(np.meshgrid(*[range(3)] * 6, indexing="ij"), -1).reshape(-1, 6)
        sums = evidence[np.arange(6), paths].sum(axis=1) - 0.7 * (paths[:, 1:] != paths[:, :-1]).sum(axis=1)
        assert best_path(evidence, 0.7).tolist() == paths[sums.argmax()].tolist()


@pytest.mark.corpus
@pytest.mark.slow
def test_change_points_of_texts_by_four_authors_of_reuters(c50):
    """In ten texts of four authors' passages, all three joins are found within 150 words in at least eight."""
    model = load_bundle(default_bundle())
    texts = [compose(c50 / "C50test", seed) for seed in range(10)]
    complete = []
    for text, joins in texts:
        changes = rolling(model, text).changes
        complete.append(all(min((abs(join - change) for change in changes), default=9999) <= 150 for join in joins))
    assert sum(complete) >= 8
