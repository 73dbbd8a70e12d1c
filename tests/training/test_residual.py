from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import write_corpus

from authorid.scoring.posterior import log_softmax
from authorid.training import TrainingOptions, load_corpus, train
from authorid.training.ngram_fit import NgramOptions
from authorid.training.residual import Evidence, leave_out
from authorid.training.splits import split

SMALL = NgramOptions(bits=14)


@pytest.fixture(scope="module")
def letters(tmp_path_factory):
    return load_corpus(write_corpus(tmp_path_factory.mktemp("residual") / "letters", 8))


def held(corpus):
    return split(corpus, TrainingOptions(base_model="m", validation_split=0.25))


def test_what_authors_share_with_their_other_documents_is_evidence(letters):
    training, validation = held(letters)
    told = []
    evidence = leave_out(letters, training, validation, SMALL, told.append)
    for rows, indices in ((evidence.training, training), (evidence.validation, validation)):
        assert rows.shape == (len(indices), 3)
        assert rows.dtype == np.float32
        assert (rows.argmax(axis=1) == [letters.documents[index].label for index in indices]).mean() > 0.9
    assert told[0].startswith("the n-grams are right about")


def test_a_document_is_no_evidence_for_itself(letters):
    """Texts without anything in common: known by heart when they are fitted, and by nothing else."""
    rng = np.random.default_rng(5)

    def noise():
        return " ".join("".join(rng.choice(list("abcdefghijklmnopqrstuvwxyz"), 7)) for _ in range(60))

    corpus = replace(letters, documents=tuple(replace(document, text=noise()) for document in letters.documents))
    training, validation = held(corpus)
    evidence = leave_out(corpus, training, validation, SMALL)
    truth = [corpus.documents[index].label for index in training]
    assert np.exp(log_softmax(evidence.training))[np.arange(len(truth)), truth].mean() < 0.5


def test_validation_documents_teach_nothing(letters):
    training, validation = held(letters)
    documents = list(letters.documents)
    for index in validation:
        documents[index] = replace(documents[index], label=(documents[index].label + 1) % 3)
    moved = replace(letters, documents=tuple(documents))
    before, after = (leave_out(corpus, training, validation, SMALL) for corpus in (letters, moved))
    assert (before.training == after.training).all()
    assert (before.validation == after.validation).all()


def test_large_corpora_are_solved_otherwise_with_the_same_result(letters, monkeypatch):
    training, validation = held(letters)
    few = leave_out(letters, training, validation, SMALL)
    monkeypatch.setattr("authorid.training.residual.DENSE_DOCUMENTS", 0)
    many = leave_out(letters, training, validation, SMALL)
    assert np.corrcoef(few.training.ravel(), many.training.ravel())[0, 1] > 0.99
    assert np.corrcoef(few.validation.ravel(), many.validation.ravel())[0, 1] > 0.99


def test_authors_with_single_documents_are_no_obstacle(letters):
    alone = replace(letters, documents=tuple(letters.documents[index] for index in (0, 8, 16)))
    evidence = leave_out(alone, [0, 1, 2], [], SMALL)
    assert evidence.training.shape == (3, 3)
    assert evidence.validation.shape == (0, 3)
    assert np.isfinite(evidence.training).all()


@pytest.mark.train
def test_what_the_ngrams_explain_is_not_learnt_again(tmp_path, bases, corpus, monkeypatch):
    """With evidence that leaves nothing to explain there is no loss, though the encoder knows nothing."""
    labels = np.array([document.label for document in load_corpus(corpus).documents])

    def certain(known, training, validation, **_):
        return Evidence(*(50 * np.eye(3, dtype=np.float32)[labels[part]] for part in (training, validation)))

    monkeypatch.setattr("authorid.training.encoder.train.leave_out", certain)
    options = TrainingOptions(base_model=str(bases["bert"]), epochs=1, batch=8, window=32, residual=True)
    run = train(corpus, tmp_path / "run", options)
    history = json.loads((run.path / "history.json").read_text())
    assert history["loss"][0] < 1e-6
    assert (history["accuracy"], history["val_accuracy"]) == ([1.0], [1.0])
    plain = train(corpus, tmp_path / "plain", replace(options, residual=False))
    assert json.loads((plain.path / "history.json").read_text())["loss"][0] > 0.5
