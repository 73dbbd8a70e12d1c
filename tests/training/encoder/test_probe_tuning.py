"""Tuning after the probe: it is kept only where it helps on held-out documents."""

from __future__ import annotations

import numpy as np
import pytest
from checkpoints import COMMON, FAMILIES
from recording import RecordingReporter

from authorid.errors import RunError
from authorid.export import ExportOptions, export_model
from authorid.training import Run, TrainingOptions, train
from authorid.training.encoder import checkpoint, probe_tuning
from authorid.training.encoder.subject_batches import rare_words, subject_batches
from authorid.training.encoder.tuning_step import contrastive_loss

pytestmark = pytest.mark.train


def tuned(base, **given) -> TrainingOptions:
    return TrainingOptions(base_model=str(base), recipe="tune", **{"window": 32, **given})


@pytest.fixture(scope="module")
def mixtures(tmp_path_factory):
    """Two authors with the same words: Ada mixes a and c, or b and d; Ben a and d, or b and c.

    No head over the words of a document can tell them apart; the layers see words together.
    """
    path, rng = tmp_path_factory.mktemp("mixtures"), np.random.default_rng(0)
    first, second = ("river", "boat"), ("market", "share")
    for label, author in enumerate(("Ada", "Ben")):
        (path / author).mkdir()
        for number in range(100):
            bit = int(rng.integers(2))
            words = 4 * [first[bit]] + 4 * [second[(label + bit) % 2]] + list(rng.choice(COMMON[:8], size=16))
            (path / author / f"{number + 1}.txt").write_text(" ".join(rng.permutation(words)) + "\n")
    return path


HELPS = {"epochs": 8, "batch": 64, "learning_rate": 3e-3, "topic_dropout": 0.0}


@pytest.fixture(autouse=True)
def few_are_enough(monkeypatch):
    monkeypatch.setattr(probe_tuning, "ENOUGH_HELD_OUT", 30)


@pytest.fixture(scope="module", params=FAMILIES)
def helped(request, bases, mixtures, tmp_path_factory):
    """A run whose tuning is kept, and what was reported."""
    reporter = RecordingReporter()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(probe_tuning, "ENOUGH_HELD_OUT", 30)
        out = tmp_path_factory.mktemp("runs") / request.param
        yield train(mixtures, out, tuned(bases[request.param], **HELPS), reporter=reporter), reporter


def test_tuning_is_kept_where_it_helps(helped, mixtures):
    run, reporter = helped
    record = run.record["tuning"]
    assert record["kept"] is True
    assert record["tuned"]["loss"] < record["probe"]["loss"]
    assert record["tuned"]["accuracy"] > record["probe"]["accuracy"] + 0.1
    assert run.metrics["val_accuracy"] == record["tuned"]["accuracy"]
    assert [line for line in reporter.infos if line.startswith("tuning helped (probe: accuracy 0.")]
    assert Run.load(run.path) == run
    assert (run.options.recipe, run.pooling) == ("tune", "layers")
    documents = sorted(mixtures.glob("*/*.txt"))
    logits = run.predict_logits([path.read_text() for path in documents])
    named = [("Ada", "Ben")[rows.mean(axis=0).argmax()] for rows in logits]
    right = [name == path.parent.name for name, path in zip(named, documents, strict=True)]
    assert np.mean(right) > record["probe"]["accuracy"] + 0.1


def test_the_progress_of_a_tuning_counts_all_its_steps(helped):
    _, reporter = helped
    for name in ("held-out", "all"):
        steps = [step for step in reporter.steps if step[2].startswith(f"tuning {name} ")]
        assert [step[0] for step in steps] == list(range(1, len(steps) + 1))
        assert {step[1] for step in steps} == {len(steps)}


def test_tuning_that_does_harm_leaves_the_probe(bases, mixtures, tmp_path):
    reporter = RecordingReporter()
    base = bases["bert"]
    harmed = train(mixtures, tmp_path / "tune", tuned(base, epochs=1, learning_rate=0.5), reporter=reporter)
    (message,) = [line for line in reporter.infos if line.startswith("tuning did not help: kept the probe (")]
    assert harmed.record["tuning"]["kept"] is False
    assert f"accuracy {harmed.record['tuning']['tuned']['accuracy']:.4f}" in message
    probe = train(mixtures, tmp_path / "probe", TrainingOptions(base_model=str(base), window=32))
    text = ["river boat market share"]
    np.testing.assert_array_equal(harmed.predict_logits(text)[0], probe.predict_logits(text)[0])
    assert harmed.metrics == probe.metrics


def test_without_enough_held_out_documents_the_probe_is_kept(bases, mixtures, tmp_path, monkeypatch):
    monkeypatch.setattr(probe_tuning, "ENOUGH_HELD_OUT", 200)
    reporter = RecordingReporter()
    run = train(mixtures, tmp_path / "run", tuned(bases["bert"]), reporter=reporter)
    assert run.record["tuning"]["kept"] is False
    assert "not tuned, the model is the probe: 40 documents held out, 200 needed to see whether tuning helps" in (
        reporter.warnings
    )


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_tuning_goes_on_after_its_last_epoch(helped, bases, mixtures, tmp_path, monkeypatch):
    whole, _ = helped
    base, out = bases[whole.geometry.family], tmp_path / "run"
    options, saved = tuned(base, **HELPS), []

    def save(*arguments):
        if len(saved) in (3, 9) and len(saved) > begun:
            raise Killed
        saved.append(write(*arguments))

    write = checkpoint.save
    for existing in ("refuse", "resume"):  # while it is tuned on the training documents, and on all
        begun = len(saved)
        with monkeypatch.context() as patch, pytest.raises(Killed):
            patch.setattr(checkpoint, "save", save)
            train(mixtures, out, options, existing=existing)
    with pytest.raises(RunError, match="cannot resume: epochs 3, was 8"):
        train(mixtures, out, tuned(base, **HELPS | {"epochs": 3}), existing="resume")
    reporter = RecordingReporter()
    resumed = train(mixtures, out, options, existing="resume", reporter=reporter)
    assert len([line for line in reporter.infos if line.startswith("tuning, epoch")]) == 7
    text = ["the river of trade and the engine"]
    np.testing.assert_array_equal(resumed.predict_logits(text)[0], whole.predict_logits(text)[0])
    assert resumed.record["tuning"] == whole.record["tuning"]
    assert not list(tmp_path.glob(".*"))


def test_the_batches_have_authors_in_pairs_about_the_same_subject():
    tokens = [np.array([0, 10 + subject, 10 + subject, 20 + number]) for number, subject in enumerate([0, 1, 2] * 8)]
    labels, common = np.repeat(np.arange(4), 6), np.arange(50) < 10
    words = rare_words([ids.astype(np.int32) for ids in tokens], common)
    np.testing.assert_allclose(np.asarray(words.multiply(words).sum(axis=1)), 1)
    batches = subject_batches(words, labels, 3, np.random.default_rng(1))
    assert sorted(index for batch in batches for index in batch.tolist()) >= list(range(24))
    assert {index for batch in batches for index in batch.tolist()} == set(range(24))
    for batch in batches:
        assert (labels[batch[::2]] == labels[batch[1::2]]).all()
        assert len(set(labels[batch[::2]])) == len(batch) // 2 <= 3
    full = [batch for batch in batches if len(batch) == 6]
    assert [len(set((batch[::2] % 3).tolist())) for batch in full[:1]] == [1]
    again = subject_batches(words, labels, 3, np.random.default_rng(1))
    assert [batch.tolist() for batch in again] == [batch.tolist() for batch in batches]


def test_the_contrastive_loss_is_small_where_authors_are_apart():
    import tensorflow as tf

    labels = tf.constant([0, 0, 1, 1])
    apart = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0], [0.0, 1.0]])
    mixed = tf.gather(apart, [0, 2, 1, 3])
    assert float(contrastive_loss(apart, labels)) < 0.01
    assert float(contrastive_loss(mixed, labels)) > 5
    assert float(contrastive_loss(apart, tf.constant([0, 1, 2, 3]))) == 0


def test_a_tuned_run_exports_with_the_same_answers(helped, mixtures, tmp_path):
    run, _ = helped
    report = export_model(run.path, tmp_path / "bundle", ExportOptions(quantize=True))
    assert report is not None


@pytest.mark.parametrize("given", [{"dropout": 0.1}, {"funnel": True}, {"pooling": "first"}, {"label_smoothing": 0.1}])
def test_what_tuning_has_no_choice_of_is_refused(given):
    with pytest.raises(RunError, match="tune recipe has no"):
        tuned("base", **given)
