from __future__ import annotations

import threading
from dataclasses import replace

import pytest
from fusion_bundle import make_fusion_bundle
from recording import RecordingReporter

from authorid import EngineOptions
from authorid.bundle.manifest import load_bundle
from authorid.encoder.cache import read_entry, write_entry
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.tuning import random_windows, throughput, tune
from authorid.errors import BundleLacksError
from authorid.machine import available_cores


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


def test_the_fastest_trial_comes_first_and_is_what_the_engine_uses(bundle):
    trials = tune(bundle, seconds=0.2)
    speeds = [trial.tokens_per_second for trial in trials]
    assert min(speeds) > 0
    # The default may lead with up to 2 % less.
    assert speeds[0] >= max(speeds) / 1.03
    best = trials[0].options
    engine = Engine(bundle)
    assert (engine.workers, engine.threads, engine.batch_tokens) == (best.workers, best.threads, best.batch_tokens)


def test_tuning_reports_its_progress_and_where_the_result_is(bundle, tmp_path):
    reporter = RecordingReporter()
    trials = tune(bundle, provider="cpu", seconds=0.1, reporter=reporter)
    total = 3 * len(trials)
    assert reporter.steps == [(done, total, "") for done in range(1, total + 1)]
    assert reporter.infos == [f"saved in {tmp_path / 'cache'}"]
    assert reporter.warnings == []


def test_options_override_the_tuned_values(bundle):
    write_entry("tuning", tuning_key(bundle, "int8"), {"workers": 3, "threads": 2, "batch_tokens": 77})
    assert Engine(bundle).batch_tokens == 77
    assert Engine(bundle, EngineOptions(batch_tokens=55)).batch_tokens == 55
    assert Engine(bundle, EngineOptions(workers=1)).workers == 1
    assert Engine(bundle).threads == 2


@pytest.mark.parametrize("entry", [{}, {"workers": -1}, {"workers": "many"}, {"workers": 1 << 40}])
def test_invalid_tuned_values_are_ignored(bundle, entry):
    write_entry("tuning", tuning_key(bundle, "int8"), entry)
    assert Engine(bundle).workers == available_cores()


def test_an_interrupt_leaves_no_worker_behind(bundle, monkeypatch):
    """A worker that waits at the barrier for the others would never end, and would keep the process alive."""
    engine = Engine(bundle, EngineOptions(workers=2))
    before = threading.active_count()

    def interrupted(self, *_):
        monkeypatch.undo()
        raise KeyboardInterrupt

    for moment in ("start", "join"):
        monkeypatch.setattr(threading.Thread, moment, interrupted)
        with pytest.raises(KeyboardInterrupt):
            throughput(engine, random_windows(1, 8, 20), 60.0)
        assert threading.active_count() == before


def test_a_result_that_cannot_be_saved_is_a_warning(bundle, monkeypatch):
    reporter = RecordingReporter()
    monkeypatch.setenv("AUTHORID_CACHE", "/proc/nowhere")
    tune(bundle, seconds=0.1, reporter=reporter)
    assert "cannot be saved in /proc/nowhere" in reporter.warnings[0]
    assert read_entry("tuning", tuning_key(bundle, "int8")) is None


def test_a_model_without_an_encoder_is_not_tuned(tmp_path):
    pytest.importorskip("scipy")
    bundle = make_fusion_bundle(tmp_path)
    with pytest.raises(BundleLacksError, match="n-grams only, no encoder to tune"):
        tune(load_bundle(tmp_path / "run"), seconds=0.1)
    with pytest.raises(BundleLacksError, match=r"no graph in this bundle; it has n-grams only"):
        load_bundle(tmp_path / "run").precision()
    reporter = RecordingReporter()
    unweighted = replace(bundle, decision=replace(bundle.decision, encoder_weight=0.0))
    tune(unweighted, provider="cpu", seconds=0.1, reporter=reporter)
    assert reporter.warnings == ["the encoder has the weight 0 in this model: only score --effort full runs it"]
