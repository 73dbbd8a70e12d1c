"""Ranges, temperatures and checks, on numbers small enough to see."""

from __future__ import annotations

from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import numpy as np
import pytest
from encoders import random_windows

from authorid.errors import ParityError
from authorid.export.graph.builder import CPU, OPENVINO, Range, emit, sites
from authorid.export.graph.graph_runner import BATCH_TOKENS, GraphRunner, batched, document_scores
from authorid.export.quantize.calibration import (
    METHODS,
    _narrowed,
    _observe,
    _rounding,
    calibrate,
    calibrations,
    fit_temperature,
    most_faithful,
)
from authorid.export.verify import Check, check_documents, check_invariance, check_logits, require_all
from authorid.scoring.posterior import log_softmax


@pytest.mark.train
def test_ranges_cover_every_window(weights):
    chosen, windows = weights["bert-mean"], random_windows([5, 9, 9, 30])
    found = calibrate(chosen, windows)
    assert (found.windows, found.tokens) == (4, 53)
    assert found.ranges.keys() == set(sites(chosen))
    trained, rounded = (GraphRunner(emit(each, observe=True)).run(windows[3][None]) for each in (chosen, found.weights))
    for site, span in found.ranges.items():
        # What attention gives is smoothed in the weights, which the trained ones do not have.
        observed, slack = (rounded, 0.02 * (span.high - span.low)) if "attention" in site else (trained, 1e-6)
        values = observed[site] if span.divisor is None else observed[site] / span.divisor
        assert span.low <= values.min() + slack and values.max() - slack <= span.high
    assert calibrate(chosen, windows).ranges.keys() == found.ranges.keys()
    with pytest.raises(ValueError, match="no windows"):
        calibrate(chosen, [])


@pytest.mark.train
def test_where_one_token_counts_ranges_are_those_of_that_token(weights):
    chosen, window = weights["distilbert-first"], random_windows([30])[0]
    seen = _observe(chosen, [window], np.random.default_rng(0))
    observed = GraphRunner(emit(chosen, observe=True)).run(window[None])
    for site in sites(chosen):
        values = observed[site][:, 0]
        if site in ("layer_2/attention", "layer_2/ffn_input", "layer_2/ffn_inner"):
            assert len(values) == 2  # the second keeps it company
            values = values[:1]
        np.testing.assert_array_equal(seen[site].high, values.max(axis=0))
        np.testing.assert_array_equal(seen[site].low, values.min(axis=0))
        assert {tuple(row) for row in seen[site].sample} <= {tuple(row) for row in values}


@pytest.mark.train
def test_every_method_gives_ranges_inside_the_widest(weights):
    chosen, windows = weights["bert-strips"], random_windows([30] * 40)
    found = calibrations(chosen, windows)
    assert [calibration.method for calibration in found] == list(METHODS)
    widest, clipped, nearest = (calibration.ranges for calibration in found)
    for site, span in widest.items():
        for other in (clipped[site], nearest[site]):
            assert span.low <= other.low <= other.high <= span.high
            assert (other.divisor is None) == (span.divisor is None)
    assert any(clipped[site].high < span.high for site, span in widest.items())


def test_the_smallest_squared_error_gives_up_what_is_rare():
    sample = np.random.default_rng(0).normal(size=(1000, 40)).astype(np.float32)
    sample[7, 3] = 12.0
    span = Range(float(sample.min()), 12.0)
    nearest = _narrowed(span, sample, "mse")
    assert sample.max() > nearest.high > 4 and nearest.low >= span.low
    assert _rounding(sample.ravel(), nearest) < 0.95 * _rounding(sample.ravel(), span)
    assert _narrowed(span, sample, "min-max") == span


@pytest.mark.train
def test_the_method_that_changes_fewest_answers_is_taken_and_all_are_on_record(weights):
    chosen, windows = weights["bert-mean"], random_windows([20] * 60)
    good = calibrate(chosen, windows)
    ruined = replace(good, method="mse", ranges={site: replace(span, high=span.high / 50, low=span.low / 50)
                                                 for site, span in good.ranges.items()})  # fmt: skip
    documents = [windows[start : start + 2] for start in range(0, 60, 2)]
    expected = GraphRunner(emit(chosen)).logits(windows)
    for order in ([good, ruined], [ruined, good]):
        best = most_faithful(order, expected, windows, documents)
        assert (best.method, best.ranges) == ("min-max", good.ranges)
        tried = best.to_json()["tried"]
        assert tried["min-max"]["agreement"] >= tried["mse"]["agreement"]
        assert tried["min-max"]["mean_difference"] < tried["mse"]["mean_difference"]


@pytest.mark.train
def test_a_calibration_is_as_good_as_the_worst_of_its_graphs(weights, monkeypatch):
    module = import_module("authorid.export.quantize.calibration")
    chosen, windows = weights["bert-mean"], random_windows([20] * 40)
    first = calibrate(chosen, windows)
    second = replace(first, draw=1, ranges=dict(first.ranges))
    documents = [windows[start : start + 2] for start in range(0, 40, 2)]
    expected = GraphRunner(emit(chosen)).logits(windows)

    def sabotaged(weights, precision, ranges, *, dialect):
        """The second one gives everything to whom it is least like, but only in one dialect."""
        runner = GraphRunner(emit(weights, precision, ranges, dialect=dialect))
        if ranges is second.ranges and dialect == OPENVINO:
            return SimpleNamespace(logits=lambda some: -runner.logits(some))
        return runner

    monkeypatch.setattr(module, "emit", sabotaged)
    monkeypatch.setattr(module, "GraphRunner", lambda runner: runner)
    for order in ([first, second], [second, first]):
        best = most_faithful(order, expected, windows, documents, (CPU, OPENVINO))
        assert best.ranges is first.ranges
        assert best.tried["min-max, draw 2"]["agreement"] < best.tried["min-max"]["agreement"]
    monkeypatch.setattr(module, "emit", lambda *given, dialect: sabotaged(*given, dialect=CPU))
    one = most_faithful([first, second], expected, windows, documents)
    assert one.tried["min-max, draw 2"] == one.tried["min-max"]


def test_batches_hold_equal_lengths_and_every_window_once():
    windows = random_windows([5, 600, 7, 5, 600, 5] + [16] * 200)
    groups = list(batched(windows))
    assert sorted(index for rows in groups for index in rows) == list(range(len(windows)))
    for rows in groups:
        assert len({len(windows[i]) for i in rows}) == 1
        assert len(rows) == 1 or sum(len(windows[i]) for i in rows) <= BATCH_TOKENS


def test_document_scores_are_means_of_their_windows():
    logits = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)
    scores = document_scores(logits, [[0, 1], [2], [3, 4]])
    np.testing.assert_allclose(scores[1], log_softmax(logits[2]))
    np.testing.assert_allclose(scores[2], log_softmax(logits[3:]).mean(axis=0))


@pytest.mark.parametrize("true", [0.3, 1.0, 4.0])
def test_the_temperature_that_made_the_labels_is_found(true):
    rng = np.random.default_rng(1)
    scores = log_softmax(rng.normal(0, 3, (20_000, 5)))
    probabilities = np.exp(log_softmax(scores / true))
    labels = np.array([rng.choice(5, p=row) for row in probabilities])
    assert fit_temperature(scores, labels) == pytest.approx(true, rel=0.06)


def test_few_documents_all_answered_rightly_do_not_ask_for_certainty():
    scores = log_softmax(np.eye(3)[[0, 1, 2, 0]] * 4.0)
    temperature = fit_temperature(scores, np.array([0, 1, 2, 0]))
    best = np.exp(log_softmax(scores / temperature)).max(axis=1)
    assert (best < 0.9).all()


def three_documents(flipped: int = 0):
    documents = [random_windows([4])] * 300
    expected = np.tile(np.array([[2.0, 0, 0]], np.float32), (300, 1))
    actual = expected.copy()
    actual[:flipped] = [0, 2, 0]
    return actual, expected, documents, np.zeros(300, np.int64)


@pytest.mark.parametrize(
    "flipped, agrees, accurate", [(0, True, True), (1, True, True), (2, True, False), (3, False, False)]
)
def test_agreement_and_accuracy_have_bounds(flipped, agrees, accurate):
    checks = {check.name.split(":")[0]: check for check in check_documents(*three_documents(flipped))[:3]}
    assert checks["INT8 = float32"].ok is agrees
    assert checks["accuracy of INT8"].ok is accurate


def test_logits_are_compared_by_their_largest_difference():
    one, other = np.zeros((2, 3), np.float32), np.zeros((2, 3), np.float32)
    other[1, 2] = 2e-4
    assert check_logits("a", one, other, 1e-3).ok and not check_logits("a", one, other, 1e-4).ok
    assert not check_logits("a", one, np.full_like(one, np.nan), 1e-3).ok


def test_failed_checks_are_all_named():
    require_all([Check("fine", "1", "<= 2", True)])
    with pytest.raises(ParityError, match=r"first: 3, must be <= 2; second: 9"):
        require_all(
            [Check("first", "3", "<= 2", False), Check("fine", "1", "", True), Check("second", "9", "< 1", False)]
        )


def test_a_runner_whose_answers_depend_on_company_is_found_out():
    class Sloppy:
        def __init__(self, matters=lambda company: False):
            self.matters = matters

        def run(self, ids):
            return {"logits": ids[:, :2].astype(np.float32) + self.matters(len(ids))}

    windows = random_windows([4, 4, 4, 9])  # the last one is the only one of its length

    def check(runner, threaded):
        found = check_invariance("alone = in company", runner, threaded, windows)
        return found.value, found.ok

    assert check(Sloppy(), Sloppy()) == ("4 of 4", True)
    assert check(Sloppy(lambda company: company > 1), Sloppy()) == ("0 of 4", False)
    assert check(Sloppy(lambda company: company == 3), Sloppy()) == ("0 of 4", False)
    assert check(Sloppy(), Sloppy(lambda company: True)) == ("0 of 4", False)
