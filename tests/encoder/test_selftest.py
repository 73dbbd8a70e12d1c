from __future__ import annotations

import dataclasses

import numpy as np
import onnx
import pytest
from json_records import edit_record
from onnx import helper, numpy_helper
from tiny import make_bundle, make_graph, make_tokenizer

from authorid.encoder import selftest
from authorid.encoder.engine import Engine
from authorid.errors import EngineError, SelfTestError
from authorid.scoring.scorer import Scorer


@pytest.fixture(autouse=True)
def empty_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / "cache"))


def edit(path, **changes):
    edit_record(path / "authorid.json", lambda record: record.update(changes))


def test_golden_windows_are_run_once_for_a_model_and_a_machine(bundle, monkeypatch):
    checks = []
    check = selftest._check_golden_logits
    monkeypatch.setattr(selftest, "_check_golden_logits", lambda *arguments: checks.append(1) or check(*arguments))
    Engine(bundle)
    Engine(bundle)
    assert len(checks) == 1


def test_changed_golden_logits_are_checked_again(bundle):
    Engine(bundle)
    golden = dataclasses.replace(bundle.golden[0], logits={"int8": (0.0, 0.0, 9.0)})
    with pytest.raises(SelfTestError, match="wrong kernels"):
        Engine(dataclasses.replace(bundle, golden=(golden,)))


def test_wrong_int8_logits_make_auto_use_the_float32_graph_with_a_notice(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    golden = dataclasses.replace(bundle.golden[0], logits={"int8": (0.0, 0.0, 9.0), "fp32": (2.0, 0.0, 0.0)})
    both = dataclasses.replace(bundle, golden=(golden,), graphs={"int8": "model_int8.onnx", "fp32": "model_int8.onnx"})
    engine = Engine(both)
    assert engine.precision == "fp32"
    assert "wrong kernels" in engine.notices[0]


def test_wrong_golden_logits_are_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    edit(bundle.path, golden=[{"ids": [2, 5, 3], "logits": {"int8": [0.0, 0.0, 5.0]}}])
    with pytest.raises(EngineError, match="Refusing to score with wrong kernels"):
        Scorer.load(bundle.path)


def test_a_graph_with_another_number_of_authors_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b", graph=make_graph(make_tokenizer(), authors=2))
    with pytest.raises(EngineError, match=r"\[1, 2\] for 1 windows and 3 classes"):
        Scorer.load(bundle.path)
    edit(bundle.path, golden=[])
    with pytest.raises(EngineError, match=r"\[1, 2\] for 1 windows and 3 classes"):
        Scorer.load(bundle.path)


def test_a_graph_that_returns_one_row_for_a_whole_batch_is_refused(tmp_path):
    """Otherwise all windows of a batch would get the same logits."""
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    model.graph.node[-1].output[0] = "all"
    first = numpy_helper.from_array(np.array([0]), "first")
    model.graph.initializer.append(first)
    model.graph.node.append(helper.make_node("Gather", ["all", "first"], ["logits"]))
    engine = Engine(make_bundle(tmp_path / "b", graph=model.SerializeToString()))
    with pytest.raises(EngineError, match=r"\[1, 3\] for 2 windows"):
        engine.run(np.full((2, 4), 5, np.int32))
