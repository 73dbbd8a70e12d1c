"""The probe: a head in closed form over what the lower layers of a pretrained encoder compute."""

from __future__ import annotations

import json

import numpy as np
import pytest
from checkpoints import AUTHORS, FAMILIES, HIDDEN, write_checkpoint, write_corpus
from recording import RecordingReporter

from authorid.errors import RunError
from authorid.training import Run, TrainingOptions, load_corpus, train
from authorid.training.encoder import document_features, head_fit
from authorid.training.encoder.head_fit import choose_head, fit_head
from authorid.training.encoder.layer_classifier import LayerFeatures, columns

pytestmark = pytest.mark.train


def probe(base, **given) -> TrainingOptions:
    return TrainingOptions(base_model=str(base), **{"window": 32, **given})


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, bases, corpus, tmp_path_factory) -> Run:
    return train(corpus, tmp_path_factory.mktemp("runs") / request.param, probe(bases[request.param]))


def test_a_probe_tells_authors_apart_and_is_a_complete_run(run, corpus):
    assert Run.load(run.path) == run
    assert (run.pooling, run.hidden_activation, run.truncate) == ("layers", None, False)
    assert run.features.depth == run.geometry.num_layers
    assert json.loads((run.path / "config.json").read_text())["id2label"] == {"0": "Ada", "1": "Ben", "2": "Cyd"}
    assert run.metrics == {"val_loss": run.metrics["val_loss"], "val_accuracy": 1.0}
    assert run.load_fusion() is not None
    documents = load_corpus(corpus).documents
    logits = run.predict_logits([document.text for document in documents])
    assert all(rows.mean(axis=0).argmax() == document.label for rows, document in zip(logits, documents, strict=True))


def test_every_candidate_is_recorded(run):
    tried = run.record["probe"]["tried"]
    assert tried.keys() == {
        f"{layers}{random}" for layers in ("1 layer", "2 layers") for random in ("", ", random features")
    }


def test_layers_above_the_last_one_used_are_neither_computed_nor_stored(run, bases, corpus, tmp_path):
    family = run.geometry.family
    one, two = (train(corpus, tmp_path / str(n), probe(bases[family], layers=n)) for n in (1, 2))
    names = [{layer.name for layer in each.keras_model().layers} for each in (one, two)]
    assert "transformer_layer_1" not in names[0] and "transformer_layer_1" in names[1]
    sizes = [(each.path / "model.keras").stat().st_size for each in (one, two)]
    assert sizes[0] < sizes[1]
    assert [each.features.states for each in (one, two)] == [(0, 1), (0, 1, 2)]


def test_more_layers_than_there_are_are_refused(bases, corpus, tmp_path):
    with pytest.raises(RunError, match="layers 3: the encoder has 2"):
        train(corpus, tmp_path / "run", probe(bases["bert"], layers=3))


def test_a_probe_without_held_out_documents_has_no_figures(bases, corpus, tmp_path):
    run = train(corpus, tmp_path / "run", probe(bases["distilbert"], validation_split=0.0))
    assert (run.validation, run.metrics) == ((), {})


def test_documents_without_words_are_left_out_of_the_fit(bases, tmp_path):
    corpus = write_corpus(tmp_path / "corpus")
    (corpus / AUTHORS[0] / "0.txt").write_text("\u200b\n")
    run = train(corpus, tmp_path / "run", probe(bases["bert"]))
    assert run.metrics["val_accuracy"] == 1.0


class Killed(BaseException):
    """Stands for the end of the process."""


def test_a_killed_probe_computes_only_what_is_missing(bases, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(document_features, "_BLOCK", 200)
    out, options = tmp_path / "run", probe(bases["bert"])
    calls = []

    def limited(*arguments, **named):
        calls.append(1)
        if len(calls) > 2:
            raise Killed
        return predict(*arguments, **named)

    predict = document_features.predict_windows
    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(document_features, "predict_windows", limited)
        train(corpus, out, options)
    (state,) = tmp_path.glob(".run.authorid/state")
    first, _ = sorted(state.glob("features-*.bin"))
    first.write_bytes(first.read_bytes()[:-1] + b"x")
    with pytest.raises(RunError, match="unfinished training"):
        train(corpus, out, options)
    with pytest.raises(RunError, match="cannot resume: layers 1, was None"):
        train(corpus, out, probe(bases["bert"], layers=1), existing="resume")
    with pytest.raises(RunError, match="the base model has changed"):
        other = write_checkpoint(tmp_path / "base", "bert", seed=5)
        train(corpus, out, probe(other), existing="resume")
    reporter = RecordingReporter()
    resumed = train(corpus, out, options, existing="resume", reporter=reporter)
    (message,) = [message for message in reporter.infos if "had been through the encoder before" in message]
    assert int(message.split(" of ")[0]) < 300, "the damaged block was computed again"
    whole = train(corpus, tmp_path / "whole", options)
    text = ["the river of trade and the engine"]
    np.testing.assert_array_equal(resumed.predict_logits(text)[0], whole.predict_logits(text)[0])
    assert not list(tmp_path.glob(".*"))


def documents(number: int, size: int = 40, seed: int = 0):
    """Vectors of documents by three authors that differ a little, and their authors."""
    rng = np.random.default_rng(seed)
    labels = np.arange(number) % 3
    centres = rng.normal(size=(3, size))
    return (centres[labels] * 0.4 + rng.normal(size=(number, size))).astype(np.float32), labels


def test_a_large_corpus_gets_the_same_head(monkeypatch):
    features, labels = documents(90)
    dual = fit_head(features, labels, 3, 0.3)
    monkeypatch.setattr(head_fit, "DENSE_DOCUMENTS", 10)
    primal = fit_head(features, labels, 3, 0.3)
    np.testing.assert_allclose(primal.kernel, dual.kernel, atol=1e-8)
    np.testing.assert_allclose(primal.bias, dual.bias, atol=1e-8)


def test_the_unit_of_a_feature_does_not_matter():
    features, labels = documents(60)
    units = np.exp(np.random.default_rng(1).normal(size=features.shape[1])).astype(np.float32)
    plain, other = (fit_head(x, labels, 3, 0.3).scores(x) for x in (features, features * units))
    np.testing.assert_allclose(other, plain, atol=1e-4)


def test_a_slower_candidate_must_be_worth_its_time():
    features, labels = documents(300, 8)
    strong = features.copy()
    strong[:, 0] = labels
    both = np.hstack([features, features, strong])
    kinds = [LayerFeatures(tuple(range(n + 1))) for n in (1, 2, 3)]
    split = np.arange(200), np.arange(200, 300)
    alike = [(kind, np.arange(8) + 8 * n) for n, kind in enumerate(kinds[:2])]
    assert choose_head(alike, both, labels, split).features == kinds[0]
    better = [*alike, (kinds[2], np.arange(16, 24))]
    choice = choose_head(better, both, labels, split)
    assert choice.features == kinds[2] and len(choice.tried) == 3
    assert choice.accuracy == pytest.approx((choice.log_softmax.argmax(axis=1) == labels[200:]).mean())


def test_columns_are_those_of_the_states():
    chosen = columns(LayerFeatures((0, 1), 5), depth=3, width=HIDDEN, random=5)
    assert chosen.tolist() == [*range(4 * HIDDEN), *range(8 * HIDDEN, 8 * HIDDEN + 5)]
    both = columns(LayerFeatures((0, 1, 2), 5), depth=3, width=HIDDEN, random=5)
    assert both.tolist() == [*range(6 * HIDDEN), *range(8 * HIDDEN, 8 * HIDDEN + 10)]


@pytest.mark.parametrize("states", [(), (0,), (1, 0), (1, 1), (-1, 2), (True, 2)])
def test_impossible_features_are_refused(states):
    with pytest.raises(RunError, match="features"):
        LayerFeatures(states)
