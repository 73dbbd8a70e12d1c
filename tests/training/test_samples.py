"""Long documents are cut into samples to learn from."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import write_corpus
from hypothesis import given
from hypothesis import strategies as st

from authorid.training.corpus import load_corpus
from authorid.training.samples import (
    LENGTH,
    LONG,
    MOST_SAMPLES,
    USUAL_LENGTH,
    LabelledTexts,
    SampleLength,
    cut,
    cut_text,
    in_samples,
)


def texts(*contents: str) -> LabelledTexts:
    return LabelledTexts(list(contents), np.arange(len(contents)), [f"{i}.txt" for i in range(len(contents))])


@given(
    st.lists(st.text(alphabet=st.sampled_from("ab \n\u00e9"), max_size=400), min_size=1, max_size=4), st.integers(5, 90)
)
def test_nothing_is_lost_and_no_part_is_much_longer_than_wanted(contents, length):
    samples = cut(texts(*contents), SampleLength(length, length * 3 // 2))
    for label, content in enumerate(contents):
        own = [samples.texts[i] for i in np.flatnonzero(samples.labels == label)]
        assert "".join(own) == content
        assert all(len(part) <= 2 * length for part in own)
        assert all(part for part in own) or own == [""]
        assert {samples.paths[i] for i in np.flatnonzero(samples.labels == label)} == {f"{label}.txt"}


def test_words_stay_whole_and_texts_of_usual_length_are_not_cut():
    novel = "word " * 10_000
    samples = cut(texts(novel, "x" * (LONG - 1), ""), SampleLength())
    number = len(novel) // LENGTH
    assert samples.labels.tolist() == [0] * number + [1, 2]
    assert all(part.endswith("word ") for part in samples.texts[:number])
    lengths = [len(part) for part in samples.texts[:number]]
    assert max(lengths) - min(lengths) <= 5


@pytest.mark.parametrize(
    ("text", "ends"),
    [
        ("One. Two.\nThree.\n\nFour five. Six seven", "Three.\n\n"),
        ("Words without an end, then one. And many more words follow that one", "one. "),
        ("He said: \u201cHere it ends.\u201d And more words that follow on", "\u201d "),
        ("no sentence ends here\nbut a line does it, and no sentence", "here\n"),
        ("\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002\u6211\u4eec\u53bb\u4e2d\u5c71\u516c\u56ed", "\u3002"),
        ("x" * 40, "x" * 20),
    ],
)
def test_a_cut_is_at_the_end_of_a_paragraph_a_sentence_a_line_or_a_word(text, ends):
    first, second = cut_text(text, 2)
    assert first.endswith(ends)
    assert first + second == text


def test_a_number_of_words_is_that_of_the_texts_in_any_script():
    english, chinese = "The cat sat on the mat. " * 500, "\u4eca\u5929\u5929\u6c14\u5f88\u597d\u3002" * 500
    for text, words in ((english, 3000), (chinese, 3000)):
        samples = cut(texts(text), SampleLength.for_texts([text], 300))
        assert len(samples) == pytest.approx(words / 300, abs=2)
    assert len(cut(texts(english, chinese), SampleLength.for_texts([english, chinese], 0))) == 2
    assert cut(texts("", "a"), SampleLength.for_texts(["", "a"], 1)).texts == ["", "a"]


def test_an_evaluation_of_samples_counts_each_of_them(tmp_path):
    pytest.importorskip("scipy")
    from authorid.training.evaluate import EvaluationOptions, evaluate
    from authorid.training.ngram_options import NgramOptions
    from authorid.training.ngram_run import train_ngrams

    corpus = write_corpus(tmp_path / "corpus", 4)
    train_ngrams(corpus, tmp_path / "run", NgramOptions(bits=12))
    words = {path: len(path.read_text().split()) for path in corpus.rglob("*.txt")}
    whole, cut_up = (
        evaluate(tmp_path / "run", corpus, EvaluationOptions(sample_words=number)).metrics.documents
        for number in (0, 10)
    )
    assert whole == len(words) == 12
    assert cut_up == pytest.approx(sum(words.values()) / 10, rel=0.3)
    assert in_samples(load_corpus(corpus), 10).documents[1].path == "Ada/1.txt (1)"


@pytest.mark.parametrize(("contents", "most"), [(["x" * 300_000] * 300, MOST_SAMPLES), (["x" * 9000] * 4000, 4000)])
def test_many_long_texts_give_longer_samples_not_more(contents, most):
    length = SampleLength.for_texts(contents)
    assert length.characters > USUAL_LENGTH
    assert most * 0.6 < len(cut(texts(*contents), length)) <= most


@pytest.mark.parametrize(
    ("characters", "length"), [(1_000_000, LENGTH), (3_000_000, 3175), (7_000_000, USUAL_LENGTH), (11_000_000, 5040)]
)
def test_samples_are_short_where_there_are_few(characters, length):
    assert SampleLength.for_texts(["x" * (characters // 10)] * 10).characters == length


def test_novels_among_many_letters_are_cut():
    length = SampleLength.for_texts(["x" * 900] * 1500 + ["x" * 400_000] * 2)
    assert (length.characters, length.samples_of("x" * 400_000)) == (USUAL_LENGTH, 100)


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
