"""Long documents are cut into samples to learn from."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.training.samples import LENGTH, MOST_SAMPLES, LabelledTexts, cut, sample_length


def texts(*contents: str) -> LabelledTexts:
    return LabelledTexts(list(contents), np.arange(len(contents)), [f"{i}.txt" for i in range(len(contents))])


@given(
    st.lists(st.text(alphabet=st.sampled_from("ab \n\u00e9"), max_size=400), min_size=1, max_size=4), st.integers(5, 90)
)
def test_nothing_is_lost_and_no_part_is_much_longer_than_wanted(contents, length):
    samples = cut(texts(*contents), length)
    for label, content in enumerate(contents):
        own = [samples.texts[i] for i in np.flatnonzero(samples.labels == label)]
        assert "".join(own) == content
        assert all(len(part) <= 2 * length for part in own)
        assert all(part for part in own) or own == [""]
        assert {samples.paths[i] for i in np.flatnonzero(samples.labels == label)} == {f"{label}.txt"}


def test_words_stay_whole_and_texts_of_usual_length_are_not_cut():
    novel = "word " * 10_000
    samples = cut(texts(novel, "x" * (LENGTH * 14 // 10), ""), LENGTH)
    assert samples.labels.tolist() == [0] * 12 + [1, 2]
    assert all(part.endswith("word ") for part in samples.texts[:12])
    lengths = [len(part) for part in samples.texts[:12]]
    assert max(lengths) - min(lengths) <= 5


@pytest.mark.parametrize(("contents", "most"), [(["x" * 300_000] * 300, MOST_SAMPLES), (["x" * 9000] * 4000, 4000)])
def test_many_long_texts_give_longer_samples_not_more(contents, most):
    length = sample_length(contents)
    assert length > LENGTH
    assert most * 0.6 < len(cut(texts(*contents), length)) <= most


def test_a_novelist_and_a_letter_writer_are_told_apart_by_style_not_by_length(tmp_path):
    """Two novels of one author, twelve letters of the other; both write letters later."""
    pytest.importorskip("scipy")
    from authorid.scoring.scorer import Scorer
    from authorid.training.ngram_options import NgramOptions
    from authorid.training.ngram_run import train_ngrams

    common = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]
    habits = [np.random.default_rng(author).dirichlet(np.full(16, 2.0)) for author in range(4)]

    def write(author: int, number: int, words: int) -> str:
        rng = np.random.default_rng(1000 + 100 * author + number)
        return " ".join(rng.choice(common, words, p=habits[author]))

    for author in range(4):
        for number in range(2 if author < 2 else 24):
            path = tmp_path / "corpus" / f"author{author}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(write(author, number, 15_000 if author < 2 else 250))
    scorer = Scorer(train_ngrams(tmp_path / "corpus", tmp_path / "run", NgramOptions(bits=14)))
    letters = [(author, write(author, number, 250)) for author in range(4) for number in range(50, 70)]
    found = [row.author for row in scorer.score_texts([text for _, text in letters])]
    assert np.mean([name == f"author{author}" for name, (author, _) in zip(found, letters, strict=True)]) > 0.9
