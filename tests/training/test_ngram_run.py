"""Training and exporting n-gram runs, with and without an encoder beside them."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from fusion_bundle import DOCUMENTS, make_fusion_bundle, write_corpus
from recording import RecordingReporter
from tiny import AUTHORS, prose

from authorid.bundle.manifest import load_bundle
from authorid.errors import OutputError
from authorid.scoring.posterior import log_softmax
from authorid.scoring.scorer import Scorer

pytest.importorskip("scipy")
from authorid import training
from authorid.bundle.effort import NOT_MEASURED
from authorid.training.corpus import load_corpus
from authorid.training.fusion import EncoderScores, fit_fusion
from authorid.training.ngram_card import ngram_section
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import describe_ngrams, export_ngrams, train_ngrams


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle with an n-gram model and an encoder for the three authors."""
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


def answers(rows):
    return [(row.path, row.status, row.ranking, row.known_author_score) for row in rows]


def test_a_small_corpus_gives_a_warning(tmp_path):
    reporter = RecordingReporter()
    train_ngrams(write_corpus(tmp_path / "corpus"), tmp_path / "run", NgramOptions(bits=14), reporter=reporter)
    assert any(message.startswith("fewer than 10 documents") for message in reporter.warnings)


def test_the_model_card_describes_the_ngrams_once_also_after_a_second_export(tmp_path, both):
    again = export_ngrams(both.path.parent / "run", tmp_path / "again", encoder=both.path, weight=0.25)
    card = (again.path / "README.md").read_text("utf-8")
    assert card.count("## N-grams beside the encoder") == 1
    assert "have the weight 0.25" in card and "have the weight 0.5" not in card
    assert again.decision.encoder_weight == 0.25
    assert export_ngrams(again.path, tmp_path / "other", weight=0.75).decision.encoder_weight == 0.75


def test_a_weight_without_an_encoder_is_refused(tmp_path, both):
    with pytest.raises(OutputError, match="encoder"):
        export_ngrams(both.path.parent / "run", tmp_path / "bundle", weight=0.5)
    assert not (tmp_path / "bundle").exists()


def test_a_run_without_an_encoder_is_a_bundle(tmp_path):
    bundle = train_ngrams(write_corpus(tmp_path / "corpus"), tmp_path / "run", NgramOptions(bits=14))
    assert load_bundle(tmp_path / "run").graphs == {}
    rows = list(Scorer(bundle).score_texts(DOCUMENTS))
    assert [row.author for row in rows[3:]] == [AUTHORS[i % 3] for i in range(3, 30)]
    assert all(row.windows == 0 for row in rows)
    again = train_ngrams(write_corpus(tmp_path / "c2"), tmp_path / "run", NgramOptions(bits=14), force=True)
    assert answers(Scorer(again).score_texts(DOCUMENTS)) == answers(rows)


@pytest.mark.parametrize(
    "train", [train_ngrams, partial(training.train, options=training.TrainingOptions(base_model="none"))]
)
def test_an_output_directory_that_cannot_be_written_is_refused_before_the_corpus_is_read(tmp_path, train):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"):
        train(tmp_path / "no corpus", tmp_path / "file" / "run")


def test_a_corpus_without_numbers_in_its_file_names_is_split_by_subject(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=6)
    for path in list(root.rglob("*.txt")):
        path.rename(path.with_name("abcdef"[int(path.stem)] + ".txt"))
    fitted = fit_fusion(load_corpus(root), NgramOptions(bits=14))
    assert fitted.report["split"] == "by subject"


@pytest.mark.parametrize("documents", [1, 2])
def test_the_smallest_corpora_give_warnings_and_a_working_model(tmp_path, documents):
    fitted = fit_fusion(load_corpus(write_corpus(tmp_path / "corpus", documents=documents)), NgramOptions(bits=14))
    assert fitted.warnings
    assert int(fitted.ngrams.score_text(prose("Cyd", 90, seed=9)).argmax()) == 2


@pytest.mark.parametrize(
    ("fit", "weight", "reason"),
    [
        ({"fitted": 0.0, "documents": 8}, 0.0, "improved nothing on the 8 documents that were held out"),
        ({"fitted": 0.3, "documents": 8}, 0.0, "chosen at export; the weight 0.3 was fitted on 8 documents"),
        ({"fitted": 0.0, "documents": 0}, 0.0, "No weight could be fitted for it."),
        (None, 0.0, "No weight was fitted for it."),
        ({"fitted": 0.5, "documents": 8}, 0.5, ""),
    ],
)
def test_the_card_says_why_an_encoder_has_no_weight(tmp_path, fit, weight, reason):
    bundle = train_ngrams(write_corpus(tmp_path / "corpus"), tmp_path / "run", NgramOptions(bits=14))
    about = bundle.provenance["fusion"] | ({} if fit is None else {"encoder_weight": fit})
    decision = replace(bundle.decision, encoder_weight=weight)
    section = ngram_section(replace(bundle, provenance=bundle.provenance | {"fusion": about}, decision=decision))
    assert reason in section
    assert ("`--effort auto` does not run the encoder" in section) == (not weight)


@pytest.mark.parametrize("held_out", [0, 6])
def test_the_fit_counts_the_documents_of_the_encoders_weight(tmp_path, held_out):
    corpus = load_corpus(write_corpus(tmp_path / "corpus", documents=6))
    scores, windows = np.zeros((held_out, 3)), np.ones(held_out, int)
    encoder = EncoderScores(np.arange(held_out, 18), np.arange(held_out), scores, windows)
    if held_out:
        encoder = EncoderScores(np.arange(18)[np.arange(18) % 3 > 0], np.arange(0, 18, 3), scores, windows)
    fitted = fit_fusion(corpus, NgramOptions(bits=14), encoder=encoder)
    about = describe_ngrams(fitted)
    assert (about["encoder_weight"]["fitted"], about["encoder_weight"]["documents"]) == (0.0, held_out)
    assert about["effort"] == {"default": "fast", "least_gain": 2.0} if held_out else NOT_MEASURED.to_json()
    assert any("no held-out documents" in warning for warning in fitted.warnings) == (not held_out)


@pytest.mark.parametrize("strength, default", [(6.0, "auto"), (0.0, "fast")])
def test_training_finds_by_itself_what_an_encoder_is_worth(tmp_path, strength, default):
    """An encoder that knows the authors of texts that the n-grams cannot tell apart, and one that guesses."""
    root = tmp_path / "corpus"
    words = [f"word{number}" for number in range(60)]
    for author in range(4):
        (root / f"author{author}").mkdir(parents=True)
        for number in range(40):
            rng = np.random.default_rng([author, number])
            own = rng.choice(words[author * 2 : author * 2 + 3], 2).tolist()
            text = " ".join([*rng.choice(words, 40), *own])
            (root / f"author{author}" / f"{number}.txt").write_text(text)
    corpus = load_corpus(root)
    labels = np.array([document.label for document in corpus.documents])
    held = np.flatnonzero([int(document.path.split("/")[1][:-4]) >= 30 for document in corpus.documents])
    rng = np.random.default_rng(0)
    logits = strength * np.eye(4)[labels[held]] + rng.normal(0, 1, (len(held), 4))
    scores = log_softmax(logits)
    training = np.setdiff1d(np.arange(len(labels)), held)
    encoder = EncoderScores(training, held, scores, np.full(len(held), 2))
    about = describe_ngrams(fit_fusion(corpus, NgramOptions(bits=14), encoder=encoder, open_set=False))
    right = about["encoder_weight"]["right"]
    assert about["effort"]["default"] == default
    if default == "auto":
        assert about["encoder_weight"]["fitted"] > 0
        assert right["full"] >= right["auto"] > right["fast"] + 5
    else:
        assert about["encoder_weight"]["fitted"] <= 0.05
        assert right["full"] == right["fast"]


def test_a_bundle_keeps_the_effort_that_training_measured_unless_the_weight_is_another(tmp_path):
    made = make_fusion_bundle(tmp_path)
    assert made.effort_rule == NOT_MEASURED  # for a weight that was given
    assert made.default_effort == "auto"
    assert train_ngrams(tmp_path / "corpus", tmp_path / "alone", NgramOptions(bits=14)).default_effort == "fast"
