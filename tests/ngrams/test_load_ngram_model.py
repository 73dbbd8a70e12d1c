"""Loading the n-gram model of a bundle: it must fit the bundle's authors and decision rule."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from authorid.bundle.decision import Decision, KnownAuthorRule
from authorid.bundle.manifest import Bundle, WindowSpec
from authorid.bundle.save import write_bundle
from authorid.errors import BundleCorruptError
from authorid.ngrams.features import FeatureExtractor, View
from authorid.ngrams.model import NgramModel, load_ngram_model
from authorid.ngrams.words import word_hashes
from authorid.scoring.scorer import Scorer

VIEWS = (View("bytes", "byte", (4,)), View("words", "word", (1,)))
MODEL = NgramModel(
    extractor=FeatureExtractor(VIEWS, word_hashes("the of"), 10),
    bounds=(0, 2, 3),
    buckets=np.array([5, 9, 7], np.uint32),
    idf=np.ones(3, np.float32),
    shared=np.zeros(3, np.uint8),
    scale=np.ones(3, np.float32),
    weights=np.ones((3, 2), np.int8),
    bias=np.zeros(2, np.float32),
)
RULE = KnownAuthorRule(
    mean=(0.0, 0.0),
    deviation=(1.0, 1.0),
    view_weights=(1.0, 1.0),
    plain_views=(0,),
    z_weight=1.0,
    spread_weight=1.0,
    offset=0.0,
)


@pytest.fixture
def bundle(tmp_path) -> Bundle:
    path = tmp_path / "model"
    path.mkdir()
    (path / "ngrams.safetensors").write_bytes(MODEL.to_bytes())
    return Bundle(
        path=path,
        model_type="ngrams",
        authors=("Ada", "Ben"),
        window=WindowSpec(8, 4),
        pooling="",
        decision=Decision("fusion", known_author_rule=RULE),
        graphs={},
        golden=(),
        ngrams="ngrams.safetensors",
    )


def test_a_model_that_fits_is_loaded(bundle):
    model = load_ngram_model(bundle)
    assert model is not None and model.extractor.views == VIEWS


def test_a_bundle_without_ngrams_has_no_model(bundle):
    assert load_ngram_model(replace(bundle, ngrams=None)) is None


def test_a_model_for_other_authors_is_refused(bundle):
    with pytest.raises(BundleCorruptError, match=r"ngrams\.safetensors: made for 2 authors, not for 3"):
        load_ngram_model(replace(bundle, authors=("Ada", "Ben", "Cyd")))
    with pytest.raises(BundleCorruptError, match="made for 2 authors"):
        Scorer(replace(bundle, authors=("Ada", "Ben", "Cyd")))


@pytest.mark.parametrize(
    "change",
    [
        {"mean": (0.0,) * 3, "deviation": (1.0,) * 3},
        {"view_weights": (1.0,) * 3},
        {"plain_views": (2,), "view_weights": (1.0, 1.0)},
    ],
)
def test_a_rule_for_other_authors_or_views_is_refused(bundle, change):
    try:
        rule = replace(RULE, **change)
    except ValueError:
        pytest.skip("the rule itself refuses this")
    with pytest.raises(BundleCorruptError, match="the known-author rule is not that of ngrams"):
        load_ngram_model(replace(bundle, decision=replace(bundle.decision, known_author_rule=rule)))


@pytest.mark.parametrize("content", [b"", MODEL.to_bytes()[:-1]])
def test_a_file_that_cannot_be_read_is_refused(bundle, content):
    (bundle.path / "ngrams.safetensors").write_bytes(content)
    with pytest.raises(BundleCorruptError, match="not a readable n-gram model"):
        load_ngram_model(bundle)


def test_a_bundle_that_does_not_pass_its_verification_is_not_written(bundle, tmp_path):
    target = replace(bundle, path=tmp_path / "new", decision=replace(bundle.decision, known_author_rule=None))
    files = {
        "config.json": '{"model_type": "ngrams", "id2label": {"0": "Ada", "1": "Ben", "2": "Cyd"}}',
        "ngrams.safetensors": MODEL.to_bytes(),
    }
    with pytest.raises(BundleCorruptError, match="made for 2 authors, not for 3"):
        write_bundle(target, files, check=load_ngram_model)
    assert not (tmp_path / "new").exists() and not list(tmp_path.glob(".new*"))
