"""Calibration finds ranges that hold all values, and the most faithful of several calibrations is chosen."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from encoders import random_windows

from authorid.export.agreement import VerificationSet
from authorid.export.graph.builder import CPU, OPENVINO
from authorid.export.graph.emit import emit
from authorid.export.graph.graph_runner import GraphRunner
from authorid.export.graph.int8 import activation_names
from authorid.export.quantize import calibration
from authorid.export.quantize.calibration import calibrate, most_faithful

pytestmark = pytest.mark.train


def test_ranges_cover_every_window(weights):
    chosen, windows = weights["bert-mean"], random_windows([5, 9, 9, 30])
    found = calibrate(chosen, windows)
    assert (found.windows, found.tokens) == (4, 53)
    assert found.ranges.keys() == set(activation_names(chosen))
    trained, rounded = (GraphRunner(emit(each, observe=True)).run(windows[3][None]) for each in (chosen, found.weights))
    for name, span in found.ranges.items():
        # Outputs of attention are divided in the weights, so the trained weights do not show them.
        observed, slack = (rounded, 0.02 * (span.high - span.low)) if "attention" in name else (trained, 1e-6)
        values = observed[name] if span.divisor is None else observed[name] / span.divisor
        assert span.low <= values.min() + slack and values.max() - slack <= span.high
    assert calibrate(chosen, windows).ranges.keys() == found.ranges.keys()


def test_calibration_without_windows_is_refused(weights):
    with pytest.raises(ValueError, match="no windows"):
        calibrate(weights["bert-mean"], [])


def test_where_only_the_first_token_counts_ranges_are_those_of_that_token(weights):
    chosen, window = weights["distilbert-first"], random_windows([30])[0]
    found = calibration._observe(chosen, [window], np.random.default_rng(0))
    outputs = GraphRunner(emit(chosen, observe=True)).run(window[None])
    for name in activation_names(chosen):
        values = outputs[name][:, 0]
        if name in ("layer_2/attention", "layer_2/ffn_input", "layer_2/ffn_inner"):
            assert len(values) == 2  # two rows are computed, so that one row is never alone
            values = values[:1]
        np.testing.assert_array_equal(found[name].high, values.max(axis=0))
        np.testing.assert_array_equal(found[name].low, values.min(axis=0))
        assert {tuple(row) for row in found[name].sample} <= {tuple(row) for row in values}


def test_the_calibration_that_changes_fewest_answers_is_chosen_and_all_are_recorded(weights):
    chosen, windows = weights["bert-mean"], random_windows([20] * 60)
    good = calibrate(chosen, windows)
    ruined = replace(good, draw=1, ranges={name: replace(span, high=span.high / 50, low=span.low / 50)
                                           for name, span in good.ranges.items()})  # fmt: skip
    documents = VerificationSet("held-out", [windows[start : start + 2] for start in range(0, 60, 2)])
    expected = GraphRunner(emit(chosen)).logits(windows)
    for order in ([good, ruined], [ruined, good]):
        best = most_faithful(order, expected, documents)
        assert (best.name, best.ranges) == ("min-max", good.ranges)
        tried = best.to_json()["tried"]
        assert tried["min-max"]["agreement"] >= tried["min-max, draw 2"]["agreement"]
        assert tried["min-max"]["mean_difference"] < tried["min-max, draw 2"]["mean_difference"]
    one = most_faithful(iter([good, ruined]), expected, documents, enough=0.5)
    assert one.tried.keys() == {"min-max"}, "the second is not tried when the first is good enough"


def test_the_worst_dialect_of_a_calibration_counts(weights, monkeypatch):
    chosen, windows = weights["bert-mean"], random_windows([20] * 40)
    first = calibrate(chosen, windows)
    second = replace(first, draw=1, ranges=dict(first.ranges))
    documents = VerificationSet("held-out", [windows[start : start + 2] for start in range(0, 40, 2)])
    expected = GraphRunner(emit(chosen)).logits(windows)

    def sabotaged(weights, precision, ranges, *, dialect):
        """The second calibration gives the least likely author, but only in one dialect."""
        runner = GraphRunner(emit(weights, precision, ranges, dialect=dialect))
        if ranges is second.ranges and dialect == OPENVINO:
            return SimpleNamespace(logits=lambda some: -runner.logits(some))
        return runner

    monkeypatch.setattr(calibration, "emit", sabotaged)
    monkeypatch.setattr(calibration, "GraphRunner", lambda runner: runner)
    for order in ([first, second], [second, first]):
        best = most_faithful(order, expected, documents, (CPU, OPENVINO))
        assert best.ranges is first.ranges
        assert best.tried["min-max, draw 2"]["agreement"] < best.tried["min-max"]["agreement"]
    monkeypatch.setattr(calibration, "emit", lambda *given, dialect: sabotaged(*given, dialect=CPU))
    one = most_faithful([first, second], expected, documents)
    assert one.tried["min-max, draw 2"] == one.tried["min-max"]
