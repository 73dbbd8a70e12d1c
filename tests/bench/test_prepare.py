"""What the peers are given."""

from __future__ import annotations

import json
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from checkpoints import AUTHORS, write_checkpoint, write_corpus
from huggingface_models import LABELS, POSITIONS, config_of, logits, tensors_of, write_classifier

from authorid.bundle.manifest import load_bundle
from authorid.errors import AuthoridError
from authorid.models import default_bundle
from authorid.reporter import SILENT

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from authorid.training import TrainingOptions, train

    place = tmp_path_factory.mktemp("raced")
    base = write_checkpoint(place / "base", "bert")
    corpus = write_corpus(place / "corpus", documents=8)
    options = TrainingOptions(base_model=str(base), recipe="windows", epochs=1, batch=4, window=16, pooling="mean")
    return train(corpus, place / "run", options)


def test_peers_get_the_weights_of_a_run_without_its_funnel(part, run, tmp_path):
    from authorid.export import emit, from_keras
    from authorid.export.graph.graph_runner import GraphRunner

    prepare = part("prepare")
    prepare.main(["--run", str(run.path), "--out", str(tmp_path / "ready")])
    prepared = part("peer_interface").Prepared(tmp_path / "ready")
    rows, expected = prepared.golden()
    weights = from_keras(run.keras_model())
    assert weights.halved == 1
    same, ours = (GraphRunner(emit(replace(weights, halved=halved))).logits(rows) for halved in (None, 1))
    np.testing.assert_allclose(same, expected, atol=1e-4)
    assert np.abs(ours - expected).max() > 1e-3
    for name, funnel in (("bundle", True), ("plain", False)):
        bundle = load_bundle(prepared.path / name)
        assert bundle.provenance["funnel"] is funnel
        assert (bundle.authors, bundle.window.length, bundle.pooling) == (AUTHORS, 16, "mean")
    peer = part("peers.ours.ours_peer").make()
    peer.model, peer.settings = prepared, {"precision": "fp32", "bundle": "plain"}
    peer.load(prepared, peer.settings, 1, 1)
    np.testing.assert_allclose(peer.run(rows, 1), expected, atol=1e-4)


def test_a_bundle_of_something_else_is_refused(part, run, tmp_path):
    with pytest.raises(AuthoridError, match="has other authors or windows"):
        part("prepare").main(
            ["--run", str(run.path), "--bundle", str(default_bundle()), "--out", str(tmp_path / "ready")]
        )
    assert list(tmp_path.iterdir()) == []


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """Documents that are longer than the models read."""
    root = tmp_path_factory.mktemp("documents")
    for index in range(24):
        text = " ".join(("river boat oar" if index % 2 else "market share profit").split() * 20)
        (root / f"{index}.txt").write_text(f"{text} number {index}.\n")
    return root


@pytest.mark.parametrize("family", ["distilbert", "roberta"])
def test_peers_get_the_files_of_a_classifier_and_we_a_bundle_of_each_length(part, corpus, tmp_path, family):
    model = write_classifier(tmp_path / "mine", family, seed=3)
    (model / "checkpoint-5").mkdir()
    arguments = ["--model", str(model), "--length", "16", "--length", "32", "--corpus", str(corpus), "--random"]
    part("prepare_huggingface").main([*arguments, "--out", str(tmp_path / "ready")])
    prepared = part("peer_interface").Prepared(tmp_path / "ready")
    assert {path.name for path in prepared.huggingface.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert prepared.authors == list(LABELS)
    assert prepared.padding == json.loads((model / "config.json").read_text("utf-8"))["pad_token_id"]
    assert prepared.record["geometry"] == {"num_layers": 2, "hidden_dim": 32, "intermediate_dim": 56}
    for length in (16, 32):
        bundle = load_bundle(prepared.path / f"bundle-{length}")
        assert (bundle.window.length, bundle.window.truncate) == (length, True)
        peer = part("peers.ours.ours_peer").make()
        settings = {"precision": "fp32", "bundle": bundle.path.name}
        peer.model, peer.settings = prepared, settings
        peer.load(prepared, settings, 1, 1)
        rows = part("peer_interface").read_windows(prepared.path / "golden-windows.npz")
        config, tensors = config_of(family, LABELS), tensors_of(config_of(family, LABELS), 3)
        expected = [logits(config, tensors, row.tolist()) for row in rows]
        np.testing.assert_allclose(peer.run(rows, 1), expected, atol=1e-4)
    assert [len(row) for row in rows] == sorted(len(row) for row in rows) and max(map(len, rows)) == 32


def test_without_a_length_it_is_the_models_own_and_a_bundle_may_be_given(part, corpus, tmp_path):
    model = write_classifier(tmp_path / "mine", "bert")
    prepare = part("prepare_huggingface").main
    given = ["--model", str(model), "--corpus", str(corpus), "--random"]
    prepare([*given, "--out", str(tmp_path / "first")])
    bundle = tmp_path / "first" / "bundle"
    assert load_bundle(bundle).window.length == POSITIONS
    prepare([*given, "--bundle", str(bundle), "--out", str(tmp_path / "second")])
    assert (tmp_path / "second" / "bundle" / "authorid.json").read_bytes() == (bundle / "authorid.json").read_bytes()


def test_models_of_a_directory_are_cut_to_their_lengths(part, corpus, tmp_path):
    models, environments = part("prepared_models"), part("environments")
    environments.link_authorid(tmp_path / "cache" / "installed")
    model = write_classifier(tmp_path / "mine", "electra")
    ours = {"ours": environments.ensure("ours", tmp_path, SILENT)}
    workshop = models.Workshop(ours, tmp_path / "cache", SILENT)
    source = models.WeightSource("mine", model, None, corpus, (16, 32), random=True)
    for _ in range(2):  # the second time they are there
        found = workshop.from_huggingface(source)
        assert [(one.length, one.truncate, one.bundle_name) for one in found] == [
            (16, 16, "bundle-16"), (32, 32, "bundle-32"),
        ]  # fmt: skip
        assert all(one.huggingface and not one.funnel and one.author_names == LABELS for one in found)
        assert found[0].path == found[1].path
    changed = replace(source, lengths=(16,))
    assert models._digest(changed, tmp_path) != models._digest(source, tmp_path)


def test_what_cannot_be_prepared_is_told_in_one_line(part, corpus, tmp_path):
    models, environments = part("prepared_models"), part("environments")
    environments.link_authorid(tmp_path / "cache" / "installed")
    model = write_classifier(tmp_path / "mine", "bert", architectures=["BertForTokenClassification"])
    workshop = models.Workshop({"ours": environments.ensure("ours", tmp_path, SILENT)}, tmp_path / "cache", SILENT)
    with pytest.raises(AuthoridError, match=r"the weights of mine could not be prepared: .*labels tokens") as caught:
        workshop.from_huggingface(models.WeightSource("mine", model, None, corpus))
    assert "\n" not in str(caught.value)


def test_a_random_classifier_is_the_same_everywhere_and_can_be_exported(part, monkeypatch, tmp_path):
    from authorid.export import ExportOptions, export_model

    checkpoint = part("checkpoint")
    small = {**checkpoint.SHAPES["distilbert-base"], "n_layers": 2, "dim": 24, "hidden_dim": 32, "n_heads": 4}
    monkeypatch.setitem(checkpoint.SHAPES, "distilbert-base", small)
    first, second = (checkpoint.write_checkpoint("distilbert-base", tmp_path / name) for name in ("a", "b"))
    for file in first.iterdir():
        assert file.read_bytes() == (second / file.name).read_bytes()
    bundle = export_model(first, tmp_path / "bundle", ExportOptions(max_length=128)).bundle
    assert (bundle.window.length, len(bundle.authors), bundle.model_type) == (128, 50, "distilbert")


def test_the_runs_of_a_geometry(part, monkeypatch, tmp_path):
    session = part("session")
    monkeypatch.setattr(session, "write_checkpoint", lambda geometry, target: target)
    asked = []

    def from_huggingface(self, source):
        asked.append(source)
        return [SimpleNamespace(name=source.name, length=length, huggingface=True) for length in source.lengths]

    monkeypatch.setattr(session.Workshop, "from_huggingface", from_huggingface)
    options = part("__main__")._arguments(["--geometry", "distilbert-base", "--workload", "generated"])
    runs = session.Session(options, ("optimum",), {}, tmp_path, None, SILENT)._planned()
    assert [run.name for run in runs] == [
        "distilbert-base on generated, cut to 128 tokens",
        "distilbert-base on generated, cut to 512 tokens",
    ]
    assert asked[0].random and asked[0].corpus.is_dir()
    assert runs[0].sweeps is not runs[1].sweeps
