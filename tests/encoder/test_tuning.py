from __future__ import annotations

import dataclasses
import threading

import pytest
from tiny import make_bundle

from authorid import EngineOptions, Scorer
from authorid.encoder.cache import cache_directory, recall, remember
from authorid.encoder.engine import Engine, tuning_key
from authorid.encoder.tuning import random_windows, throughput, tune
from authorid.machine import available_cores


@pytest.fixture(autouse=True)
def fresh_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


def test_the_fastest_comes_first_and_is_what_score_uses(bundle):
    trials = tune(bundle, seconds=0.2)
    speeds = [trial.tokens_per_second for trial in trials]
    assert min(speeds) > 0
    # The default may lead with up to 2 % less.
    assert speeds[0] >= max(speeds) / 1.03
    best = trials[0].options
    engine = Engine(bundle)
    assert (engine.workers, engine.threads, engine.budget) == (best.workers, best.threads, best.budget)


def test_what_is_asked_for_beats_what_was_tuned(bundle):
    remember("tuning", tuning_key(bundle, "int8"), {"workers": 3, "threads": 2, "budget": 77})
    assert Engine(bundle, EngineOptions(budget=55)).budget == 55
    assert Engine(bundle, EngineOptions(workers=1)).workers == 1
    assert Engine(bundle).threads == 2


@pytest.mark.parametrize("note", [{}, {"workers": -1}, {"workers": "many"}, {"workers": 1 << 40}])
def test_a_note_that_makes_no_sense_is_passed_over(bundle, note):
    remember("tuning", tuning_key(bundle, "int8"), note)
    assert Engine(bundle).workers == available_cores()


def test_a_broken_or_unwritable_cache_is_no_error(bundle, tmp_path, monkeypatch):
    file = tmp_path / "file"
    file.write_text("not a directory")
    monkeypatch.setenv("AUTHORID_CACHE", str(file))
    assert remember("kind", "key", {"a": 1}) is False
    assert recall("kind", "key") is None
    assert [row.author for row in Scorer(bundle).score_texts(["engine"])] == ["Ada"]


def test_a_damaged_note_is_forgotten():
    remember("kind", "key", {"a": 1})
    assert recall("kind", "key") == {"a": 1}
    (cache_directory() / "kind-key.json").write_text("{")
    assert recall("kind", "key") is None


def test_golden_windows_are_run_once_for_a_model_and_a_machine(bundle, monkeypatch):
    checks = []
    check = Engine._check_golden
    monkeypatch.setattr(Engine, "_check_golden", lambda self, bundle: checks.append(1) or check(self, bundle))
    Engine(bundle)
    Engine(bundle)
    assert len(checks) == 1


def test_other_golden_logits_are_checked_anew(bundle):
    Engine(bundle)
    golden = dataclasses.replace(bundle.golden[0], logits={"int8": (0.0, 0.0, 9.0)})
    with pytest.raises(Exception, match="wrong kernels"):
        Engine(dataclasses.replace(bundle, golden=(golden,)))


def test_a_cpu_on_which_int8_is_wrong_falls_back_loudly(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    golden = dataclasses.replace(bundle.golden[0], logits={"int8": (0.0, 0.0, 9.0), "fp32": (2.0, 0.0, 0.0)})
    both = dataclasses.replace(bundle, golden=(golden,), graphs={"int8": "model_int8.onnx", "fp32": "model_int8.onnx"})
    engine = Engine(both)
    assert engine.precision == "fp32"
    assert "wrong kernels" in engine.notices[0]


def test_an_interrupt_leaves_no_worker_behind(bundle, monkeypatch):
    """One that waited for the others would wait for ever, and keep the process."""
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


def test_a_choice_that_cannot_be_remembered_is_told(bundle, monkeypatch):
    told = []
    monkeypatch.setenv("AUTHORID_CACHE", "/proc/nowhere")
    tune(bundle, seconds=0.1, told=told.append)
    assert any("cannot be remembered in /proc/nowhere" in message for message in told)
