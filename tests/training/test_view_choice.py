"""Which n-grams a model is trained with depends on what works on the corpus at hand."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("scipy")
from authorid.ngrams.features import View
from authorid.training.ngram_options import NgramOptions
from authorid.training.samples import LabelledTexts
from authorid.training.split_fit import SplitFit
from authorid.training.term_counts import count, inverse_frequencies, tfidf
from authorid.training.view_choice import choose_views
from authorid.training.views import BYTE_VIEWS, CHARACTER_VIEWS

COMMON = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]


def article(author: int, number: int) -> str:
    """Habits of function words, on subjects that all authors share."""
    rng = np.random.default_rng(1000 * author + number)
    habits = np.random.default_rng(author).dirichlet(np.full(len(COMMON), 2.0))
    subject = [f"topic{number % 7}x{i}" for i in range(30)]
    return " ".join(
        str(rng.choice(COMMON, p=habits) if common else rng.choice(subject)) for common in rng.random(120) < 0.7
    )


def chat(author: int, number: int) -> str:
    """A few words; each author misspells some of them in an own way."""
    rng = np.random.default_rng(5000 + 1000 * author + number)
    words = [f"{stem}{'aeiou'[(author + len(stem)) % 5]}{'xz'[author % 2]}" for stem in ("hell", "gre", "lat", "tomo")]
    return " ".join(str(rng.choice(words if rng.random() < 0.25 else COMMON)) for _ in range(14))


def corpus(write, authors: int = 8, documents: int = 25) -> tuple[LabelledTexts, LabelledTexts]:
    """Texts to train on, and as many that are held out for half as many documents."""

    def texts(numbers: range) -> LabelledTexts:
        pairs = [(author, number) for author in range(authors) for number in numbers]
        labels = np.array([author for author, _ in pairs])
        return LabelledTexts([write(*pair) for pair in pairs], labels, [f"{a}/{n}.txt" for a, n in pairs])

    return texts(range(documents)), texts(range(documents, documents + documents // 2))


def accuracy(training, held, options: NgramOptions) -> float:
    return float((SplitFit.on(training, held, options).held_scores().argmax(axis=1) == held.labels).mean())


def test_plain_n_grams_are_added_where_they_help():
    training, held = corpus(chat)
    usual = NgramOptions(bits=14).with_views(training.texts)
    choice = choose_views(training, held, usual)
    assert "bytes-2-5" in {view.name for view in choice.options.views}
    assert accuracy(training, held, choice.options) > accuracy(training, held, usual) + 0.02


def test_frequencies_of_common_words_are_added_where_they_are_all_there_is():
    training, held = corpus(article)
    choice = choose_views(training, held, NgramOptions(bits=14).with_views(training.texts))
    assert "frequent-words" in {view.name for view in choice.options.views}


def test_the_counts_of_the_choice_are_those_of_a_count():
    training, held = corpus(chat)
    choice = choose_views(training, held, NgramOptions(bits=14).with_views(training.texts))
    together, known = training + held, np.arange(len(training))
    counts = count(together.texts, together.labels, choice.options, known)
    assert choice.counts is not None and choice.counts.bounds == counts.bounds
    np.testing.assert_array_equal(choice.counts.buckets, counts.buckets)
    np.testing.assert_array_equal(choice.counts.matrix.toarray(), counts.matrix.toarray())
    assert choice.counts.extractor.views == counts.extractor.views


def test_the_usual_views_stay_where_nothing_is_clearly_better():
    """All texts are by one author, under eight names."""
    training, held = corpus(lambda author, number: article(0, 100 * author + number))
    assert choose_views(training, held, NgramOptions(bits=14, views=BYTE_VIEWS)).options.views == BYTE_VIEWS


@pytest.mark.parametrize(("copies", "usual"), [(1, False), (20, True)])
def test_where_little_is_held_out_the_length_of_the_texts_decides(copies, usual):
    training, held = corpus(lambda author, number: chat(author, number) * copies, documents=10)
    assert len(held) == 40
    names = {view.name for view in choose_views(training, held, NgramOptions(bits=14, views=BYTE_VIEWS)).options.views}
    assert {"bytes-2-5", "words-1-3"} <= names
    assert ("skeleton" in names) == usual


def test_views_of_other_scripts_and_chosen_ones_are_left_alone():
    training, held = corpus(chat)
    for views in (CHARACTER_VIEWS, (View("own", "byte", (3,)),)):
        choice = choose_views(training, held, NgramOptions(bits=14, views=views))
        assert choice.options.views == views and choice.counts is None


def test_frequencies_of_common_words_are_scaled_as_in_burrowss_delta():
    """One column per common word: its relative frequency by the standard deviation of that among the documents."""
    view = View("frequent", "word", (1,), keep=2, mask="one", linear=True, scaling="deviation")
    texts = ["the cat of the house", "the dog of a dog", "of of the a sea", "the the the the of"]
    counts = count(texts, np.arange(4) % 2, NgramOptions(views=(view,), bits=14, min_documents=1))
    scale = inverse_frequencies(counts, np.arange(4))
    shares = counts.matrix.toarray() / counts.matrix.sum(axis=1).reshape(-1, 1)
    deviations = np.asarray(shares).std(axis=0)
    np.testing.assert_allclose(scale, 1 / deviations, rtol=1e-5)
    vectors = tfidf(counts, scale).toarray()
    expected = np.asarray(shares) / deviations
    np.testing.assert_allclose(vectors, expected / np.linalg.norm(expected, axis=1, keepdims=True), rtol=1e-5)
    assert View.from_json(view.to_json()) == view
