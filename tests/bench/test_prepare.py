"""What the peers are given."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from checkpoints import AUTHORS, write_checkpoint, write_corpus

from authorid.bundle.manifest import load_bundle
from authorid.errors import AuthoridError
from authorid.models import default_bundle

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    from authorid.training import TrainingOptions, train

    place = tmp_path_factory.mktemp("raced")
    base = write_checkpoint(place / "base", "bert")
    corpus = write_corpus(place / "corpus", documents=8)
    options = TrainingOptions(base_model=str(base), epochs=1, batch=4, window=16, pooling="mean")
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
