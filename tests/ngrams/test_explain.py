from __future__ import annotations

import re
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tiny import AUTHORS, prose

from authorid.bundle.manifest import load_bundle
from authorid.inputs.decoding import tidy
from authorid.inputs.typography import fold_typography
from authorid.models import default_bundle
from authorid.ngrams import explain, vectorizer
from authorid.ngrams.explain import Contributions
from authorid.ngrams.model import NgramModel, load_ngram_model
from authorid.ngrams.passages import sentence_edges, word_edges
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.term_counts import count
from authorid.training.views import BYTE_VIEWS, CHARACTER_VIEWS, FREQUENT_WORDS, PLAIN_BYTES, PLAIN_WORDS

ADDED = "für Äpfel über 中文字 и слова\n\n  two   spaces — “quoted”.\ta\x1fb \ud800"


def model_of(views) -> NgramModel:
    texts = [prose(AUTHORS[i % 3], 60, seed=i) + ADDED[: 3 * i] for i in range(18)]
    labels = np.arange(18) % 3
    options = NgramOptions(views=views, bits=14)
    return fit(count(texts, labels, options), labels, 3, options)


MODELS = {
    "bytes": model_of((*BYTE_VIEWS, PLAIN_BYTES, PLAIN_WORDS, FREQUENT_WORDS)),
    "characters": model_of(CHARACTER_VIEWS),
}
TEXTS = st.text(alphabet="ab AB.,!'09\n\t\x1fÄß中文и“ \u0301\ud800", max_size=120).map(
    lambda noise: f"{noise} the engine Of 12 the, {noise} river"
)


@pytest.fixture(scope="module")
def embedded() -> NgramModel:
    return load_ngram_model(load_bundle(default_bundle()))


@pytest.mark.parametrize("kind", MODELS)
@given(text=TEXTS)
def test_contributions_add_up_to_the_score(kind, text):
    model = MODELS[kind]
    scores = model.score_text(text)
    found = Contributions.of(model, text)
    assert found.scores == pytest.approx(scores, abs=1e-6)
    assert found.intercept(1) + found.of_ngrams(1).sum() == pytest.approx(scores[1] - scores.mean(), abs=1e-6)
    assert found.intercept(2, 0) + found.of_ngrams(2, 0).sum() == pytest.approx(scores[2] - scores[0], abs=1e-6)
    characters = found.of_characters(1)
    assert len(characters) == len(text)
    assert characters.sum() == pytest.approx(found.of_ngrams(1).sum(), abs=1e-9)


@pytest.mark.parametrize("kind", MODELS)
@given(text=TEXTS)
def test_every_counted_ngram_has_its_places(kind, text):
    model = MODELS[kind]
    found = Contributions.of(model, text)
    places = np.zeros(model.bounds[-1], dtype=np.int64)
    for group in model.occurrences(text):
        np.add.at(places, group.features, 1)
        assert ((group.starts >= 0) & (group.starts < group.ends) & (group.ends <= len(text))).all()
    assert places[found.features].tolist() == found.counts.tolist()
    assert places.sum() == found.counts.sum()


def test_places_hold_the_ngrams():
    text = "Über  the\n\nengine, 12 of the Äpfel"
    for group in MODELS["bytes"].occurrences(text):
        view = MODELS["bytes"].extractor.views[group.view]
        for number, (start, end) in enumerate(zip(group.starts.tolist(), group.ends.tolist(), strict=True)):
            if view.keep is None and view.unit == "word":
                assert group.show(number).split() == _words(text[start:end])
            if view.keep is None and view.unit == "byte" and text[start:end].isascii():
                assert group.show(number) == re.sub(r"\s+", " ", text[start:end])


def _words(text: str) -> list[str]:
    return text.replace(",", " ,").split()


def test_a_word_of_one_author_speaks_for_that_author():
    model = MODELS["bytes"]
    text = prose(AUTHORS[0], 50, seed=7)
    found = Contributions.of(model, text)
    assert model.score_text(text).argmax() == 0
    top = found.top_ngrams(0, most=5)
    assert [one.contribution for one in top] == sorted((one.contribution for one in top), reverse=True)
    assert top[0].contribution > 0
    best = np.sort(found.of_ngrams(0))
    assert [one.contribution for one in top[:5]] == pytest.approx(best[::-1][:5].tolist())
    for one in top:
        assert text[one.start : one.end] == one.text
        assert one.count >= 1


def test_passages_are_the_sentences_with_the_highest_sums():
    model = MODELS["bytes"]
    own, other = (prose(AUTHORS[i], 30, seed=i).strip().replace(" .", "") + ". " for i in (0, 1))
    text = other + own + other
    passages = Contributions.of(model, text).top_passages(0, 1, most=1)
    assert passages[0].text == own.strip()
    assert passages[-1].text == other.strip()
    assert passages[0].contribution > 0 > passages[-1].contribution


def test_long_texts_are_explained_in_pieces(monkeypatch):
    monkeypatch.setattr(vectorizer, "_PIECE", 64)
    monkeypatch.setattr(explain, "_KEPT_CHARACTERS", 100)
    model, text = MODELS["bytes"], prose(AUTHORS[2], 90, seed=3)
    found = Contributions.of(model, text)
    assert found.scores == pytest.approx(model.score_text(text), abs=1e-6)
    assert found.of_characters(0).sum() == pytest.approx(found.of_ngrams(0).sum(), abs=1e-9)


def test_a_text_without_ngrams():
    found = Contributions.of(MODELS["bytes"], "?")
    assert found.top_passages(0) == []
    assert found.scores == pytest.approx(MODELS["bytes"].score_text("?"), abs=1e-6)


@given(text=st.text(max_size=300))
def test_sentences_and_words_divide_a_text(text):
    for edges in (sentence_edges(text).tolist(), word_edges(text).tolist()):
        assert edges[-1] == len(text)
        assert all(start < end for start, end in pairwise(edges))
    assert "".join(text[start:end] for start, end in pairwise(sentence_edges(text).tolist())) == text


def test_sentences():
    text = 'He said "no." Then, at 1.5 percent, Mr. A left the room for good. ' + "word " * 300
    parts = [text[start:end] for start, end in pairwise(sentence_edges(text).tolist())]
    assert parts[0] == 'He said "no." Then, at 1.5 percent, ' or parts[0].startswith("He said")
    assert all(len(part) <= 600 + 25 for part in parts)


@pytest.mark.corpus
def test_contributions_add_up_for_200_documents_of_reuters(c50, embedded):
    files = sorted((c50 / "C50train").rglob("*.txt"))[::12][:200]
    assert len(files) == 200
    for file in files:
        text = fold_typography(tidy(file.read_text("utf-8", errors="replace")))
        assert Contributions.of(embedded, text).scores == pytest.approx(embedded.score_text(text), abs=1e-6), file
