"""Bundles with an n-gram model: the manifest's checks, and thresholds for unknown authors."""

from __future__ import annotations

import shutil

import pytest
from fusion_bundle import make_fusion_bundle
from json_records import edit_record

from authorid.bundle.decision import Decision
from authorid.bundle.manifest import BundleCorruptError, load_bundle

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle with an n-gram model and an encoder for the three authors."""
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


def test_a_manifest_that_does_not_match_the_bundle_is_refused(both, tmp_path):
    for change in ({"ngrams": None}, {"ngrams": "../x.safetensors"}, {"ngrams": "config.json"}):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(both.path, copy)
        edit_record(copy / "authorid.json", lambda record, change=change: record.update(change))
        with pytest.raises(BundleCorruptError):
            load_bundle(copy)


def test_the_known_author_threshold_is_that_of_the_largest_share_allowed():
    decision = Decision("fusion", false_attribution_thresholds=((0.05, 0.9), (0.1, 0.8)))
    assert decision.with_false_attribution(0.07).known_author_threshold == 0.9
    assert decision.with_false_attribution(0.2).known_author_threshold == 0.8
    assert decision.with_false_attribution(0.01).known_author_threshold > 1e300
