"""The tables of an evaluation report, on worked examples."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.evaluation.evaluation_report import (
    accuracy_by_length,
    bootstrap_interval,
    make_report,
    reliability,
    risk_coverage,
    worst_pairs,
)
from authorid.evaluation.metrics import evaluate_predictions


def test_the_interval_agrees_with_the_normal_approximation():
    right = np.arange(400) < 300
    low, high = bootstrap_interval(right)
    assert low == pytest.approx(0.75 - 1.96 * np.sqrt(0.75 * 0.25 / 400), abs=0.01)
    assert high == pytest.approx(0.75 + 1.96 * np.sqrt(0.75 * 0.25 / 400), abs=0.01)


@pytest.mark.parametrize("documents", [1, 3, 20, 400])
def test_the_interval_is_wilsons_if_all_answers_are_right_or_wrong(documents):
    low, high = bootstrap_interval(np.ones(documents))
    assert high == 1.0
    assert 1.0 - low == pytest.approx(1.96 * np.sqrt(low * (1 - low) / documents))
    assert bootstrap_interval(np.zeros(documents)) == (0.0, pytest.approx(1.0 - low))


def test_worst_pairs_are_the_most_frequent_confusions():
    truth = np.array([0, 0, 0, 0, 1, 1, 2])
    given = np.array([1, 1, 1, 0, 0, 1, 2])
    rows = worst_pairs(evaluate_predictions(truth, np.eye(3)[given], ("Ann", "Bob", "Cy")))
    assert rows == [
        {"author": "Ann", "attributed_to": "Bob", "documents": 3, "share": 0.75},
        {"author": "Bob", "attributed_to": "Ann", "documents": 1, "share": 0.5},
    ]


def test_accuracy_is_given_for_each_class_of_length():
    rows = accuracy_by_length([10, 240, 250, 20_000], [1, 0, 1, 1])
    assert rows == [
        {"from": 0, "characters": 125.0, "documents": 2, "accuracy": 0.5},
        {"from": 250, "characters": 250.0, "documents": 1, "accuracy": 1.0},
        {"from": 10_000, "characters": 20_000.0, "documents": 1, "accuracy": 1.0},
    ]


def test_the_error_is_given_for_each_share_of_answered_documents():
    rows = risk_coverage([0.9, 0.8, 0.3, 0.6], [1, 1, 0, 0], points=4)
    assert rows == [
        {"coverage": 0.25, "error": 0.0, "probability": 0.9},
        {"coverage": 0.5, "error": 0.0, "probability": 0.8},
        {"coverage": 0.75, "error": pytest.approx(1 / 3), "probability": 0.6},
        {"coverage": 1.0, "error": 0.5, "probability": 0.3},
    ]


@given(st.permutations([(0.9, 1), (0.7, 1), (0.7, 0), (0.7, 0), (0.7, 1), (0.7, 1), (0.2, 0)]))
def test_documents_of_equal_confidence_are_answered_together(pairs):
    """The table must not depend on the order of the documents."""
    confidence, right = zip(*pairs, strict=True)
    assert risk_coverage(confidence, right, points=7) == [
        {"coverage": pytest.approx(1 / 7), "error": 0.0, "probability": 0.9},
        {"coverage": pytest.approx(6 / 7), "error": pytest.approx(2 / 6), "probability": 0.7},
        {"coverage": 1.0, "error": pytest.approx(3 / 7), "probability": 0.2},
    ]


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=60))
def test_the_reliability_table_covers_all_documents_and_agrees_with_the_calibration_error(pairs):
    confidence, right = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    rows = reliability(confidence, right)
    assert sum(row["documents"] for row in rows) == len(pairs)
    assert sum(row["documents"] * row["confidence"] for row in rows) == pytest.approx(confidence.sum())
    # Two authors, the first of whom gets the probability: the metrics' own ECE is the same number.
    rows = reliability(np.maximum(confidence, 1 - confidence), right)
    probabilities = np.stack([np.maximum(confidence, 1 - confidence), np.minimum(confidence, 1 - confidence)], axis=1)
    metrics = evaluate_predictions((1 - right).astype(int), probabilities, ("Ann", "Bob"))
    ece = sum(row["documents"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(pairs)
    assert metrics.ece == pytest.approx(ece, abs=1e-9)


def test_a_report_holds_all_tables_and_becomes_json():
    truth, rows = np.array([0, 1, 1]), np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]])
    ablation = [{"models": "encoder", "accuracy": 2 / 3}]
    report = make_report(truth, rows, ("Ann", "Bob"), [100, 300, 300], ablation, {"documents": 4, "auroc": 0.5})
    record = json.loads(json.dumps(report.to_json()))
    assert record["accuracy"] == pytest.approx(2 / 3)
    assert record["worst_pairs"][0]["attributed_to"] == "Ann"
    assert [row["documents"] for row in record["by_length"]] == [1, 2]
    assert sum(row["documents"] for row in record["reliability"]) == 3
    assert record["risk_coverage"][-1]["coverage"] == 1.0
    assert record["ablation"] == ablation
    assert record["unknown_authors"] == {"documents": 4, "auroc": 0.5}
