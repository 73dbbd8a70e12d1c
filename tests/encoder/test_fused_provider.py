"""The provider `fused`: the included model on our own kernels, and what happens where they are not there."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from authorid.bundle.manifest import load_bundle
from authorid.encoder import engine as engine_module
from authorid.encoder import fused, providers
from authorid.encoder.cache import write_entry
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.fused import fused_kernels
from authorid.encoder.tuning import random_windows, tune
from authorid.errors import BundleLacksError, EngineError
from authorid.models import default_bundle
from authorid.scoring.scorer import Scorer

FUSED = EngineOptions(provider="fused")
compiled = pytest.mark.skipif(fused_kernels() is None, reason="the fused kernels were not compiled")


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def included():
    return load_bundle(default_bundle())


@pytest.fixture
def missing(monkeypatch):
    """A machine on which the kernels were not compiled."""
    for module in (providers, fused):
        monkeypatch.setattr(module, "fused_kernels", lambda: None)


@compiled
def test_answers_are_those_of_the_other_kernels_but_for_rounding(included):
    engine, other = Engine(included, FUSED), Engine(included, EngineOptions(provider="cpu"))
    assert (engine.provider, engine.precision, engine.notices) == ("fused", "int8", [])
    for length in (3, 50, 128):
        ids = random_windows(8, length, 30000)
        actual, expected = engine.run(ids), other.run(ids)
        assert np.sqrt(((actual - expected) ** 2).mean()) < 0.05 * np.sqrt((expected**2).mean())
        alone = np.concatenate([engine.run(row[None]) for row in ids])
        assert np.array_equal(alone, actual)


@compiled
def test_a_scorer_says_which_kernels_ran(included):
    described = Scorer(included, FUSED, effort="full").describe()
    assert described["provider"] == "fused"
    assert described["model_sha256"] == included.files["model_int8_fused.onnx"]
    assert fused_kernels() in providers.identity("fused")


def use_processor(monkeypatch, kernels, *flags):
    """Choose providers as on a processor with these kernels and flags."""
    monkeypatch.setattr(engine_module, "fused_kernels", lambda: kernels)
    monkeypatch.setattr(engine_module, "cpu_flags", lambda: frozenset(flags))


@compiled
def test_auto_takes_the_kernels_that_were_fastest_when_tuned(included, monkeypatch):
    for kernels, default, tuned in (("avx2", "cpu", "fused"), ("avx512-vnni", "fused", "cpu")):
        use_processor(monkeypatch, kernels)
        write_entry("fastest", tuning_key(included, "int8"), {})
        assert Engine(included).provider == default
        write_entry("fastest", tuning_key(included, "int8"), {"provider": tuned})
        assert Engine(included).provider == tuned


@compiled
@pytest.mark.parametrize(
    ("kernels", "flags", "weights_made_for_avx2", "expected"),
    [
        ("avx2", [], False, "cpu"),
        ("avx2", [], True, "fused"),
        ("avx512-vnni", [], False, "fused"),
        ("avx512-vnni", [], True, "fused"),
        ("avx512-vnni", ["amx_int8"], True, "cpu"),
        (None, [], True, "cpu"),
    ],
)
def test_auto_takes_them_where_they_are_faster(included, monkeypatch, kernels, flags, weights_made_for_avx2, expected):
    calibration = {"products_in_16_bits": 4 if weights_made_for_avx2 else 2}
    bundle = dataclasses.replace(included, provenance={"calibration": calibration})
    use_processor(monkeypatch, kernels, *flags)
    engine = Engine(bundle)
    assert (engine.provider, engine.notices) == (expected, [])


@compiled
def test_tuning_measures_them(included):
    trials = tune(included, provider="fused", seconds=0.1)
    assert {trial.options.provider for trial in trials} == {"fused"}


@compiled
def test_wrong_logits_are_an_error_or_with_auto_a_notice(included):
    golden = [
        dataclasses.replace(item, logits={"int8": tuple(-value for value in item.logits["int8"])})
        for item in included.golden
    ]
    wrong = dataclasses.replace(included, golden=tuple(golden))
    with pytest.raises(EngineError, match=r"authorid's own library gives wrong logits.* try --provider cpu"):
        Engine(wrong, FUSED)


def test_without_the_kernels_the_message_says_what_they_need(included, missing):
    with pytest.raises(EngineError, match="a C compiler when authorid is installed"):
        Engine(included, FUSED)
    write_entry("fastest", tuning_key(included, "int8"), {"provider": "fused"})
    engine = Engine(included)
    assert (engine.provider, engine.notices) == ("cpu", [])


@compiled
def test_a_bundle_without_such_a_graph_says_how_to_get_one(included):
    without = dataclasses.replace(included, graphs={"int8": "model_int8.onnx"})
    with pytest.raises(BundleLacksError, match="authorid export --quantize writes them"):
        Engine(without, FUSED)
    assert Engine(without).provider == "cpu"
