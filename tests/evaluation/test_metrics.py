from __future__ import annotations

import json

import numpy as np
import pytest

from authorid.evaluation.metrics import (
    auroc,
    evaluate_predictions,
    expected_calibration_error,
    log_loss,
    top_k_accuracy,
)

NAMES = ("Ada", "Ben", "Cyd")


def predictions(n: int = 200, authors: int = 7, seed: int = 0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, authors, n)
    logits = rng.normal(size=(n, authors)) + 1.5 * np.eye(authors)[truth]
    rows = np.exp(logits)
    return truth, rows / rows.sum(axis=1, keepdims=True), [f"author{i}" for i in range(authors)]


def test_metrics_of_a_worked_example():
    truth = [0, 0, 1, 2]
    rows = [[0.8, 0.1, 0.1], [0.3, 0.6, 0.1], [0.1, 0.8, 0.1], [0.5, 0.2, 0.3]]
    found = evaluate_predictions(truth, rows, NAMES)
    assert found.documents == 4
    assert found.accuracy == 0.5
    assert found.confusion.tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 0]]
    ada, ben, cyd = found.per_author
    assert (ada.precision, ada.recall, ada.f1, ada.support) == (0.5, 0.5, 0.5, 2)
    assert (ben.precision, ben.recall, ben.support) == (0.5, 1.0, 1)
    assert (cyd.precision, cyd.recall, cyd.f1) == (0.0, 0.0, 0.0)
    assert found.macro_f1 == pytest.approx((0.5 + 2 / 3 + 0) / 3)
    assert found.majority_rate == 0.5
    assert found.log_loss == pytest.approx(-np.log([0.8, 0.3, 0.8, 0.3]).mean())
    assert found.top_3 == found.top_5 == 1.0
    # Bins of 1/15: (.8 twice, both right), (.6, wrong), (.5, wrong).
    assert found.ece == pytest.approx((0.4 + 0.6 + 0.5) / 4)


def test_agrees_with_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    truth, rows, names = predictions()
    found = evaluate_predictions(truth, rows, names)
    guesses = rows.argmax(axis=1)
    assert found.accuracy == pytest.approx(metrics.accuracy_score(truth, guesses))
    assert found.macro_f1 == pytest.approx(metrics.f1_score(truth, guesses, average="macro"))
    assert found.log_loss == pytest.approx(metrics.log_loss(truth, rows))
    assert found.top_3 == pytest.approx(metrics.top_k_accuracy_score(truth, rows, k=3))
    assert found.confusion.tolist() == metrics.confusion_matrix(truth, guesses).tolist()
    precision, recall, f1, support = metrics.precision_recall_fscore_support(truth, guesses)
    for index, row in enumerate(found.per_author):
        expected = (precision[index], recall[index], f1[index], support[index])
        assert (row.precision, row.recall, row.f1, row.support) == pytest.approx(expected)


def test_authors_without_documents_or_attributions_do_not_count_in_macro_f1():
    found = evaluate_predictions([0, 1], [[0.9, 0.1, 0.0], [0.2, 0.8, 0.0]], NAMES)
    assert found.macro_f1 == 1.0


def test_the_calibration_error_of_certain_answers_is_their_error_rate():
    rows = np.eye(3)
    assert expected_calibration_error([0, 1, 2], rows) == 0.0
    assert expected_calibration_error([1, 2, 0], rows) == 1.0
    assert log_loss([1, 2, 0], rows) == pytest.approx(-np.log(1e-15))


def test_ties_go_to_the_first_author():
    rows = np.full((3, 3), 1 / 3)
    assert top_k_accuracy([0, 1, 2], rows, 1) == pytest.approx(1 / 3)
    assert top_k_accuracy([0, 1, 2], rows, 2) == pytest.approx(2 / 3)
    assert evaluate_predictions([0, 1, 2], rows, NAMES).accuracy == pytest.approx(1 / 3)


@pytest.mark.parametrize(
    ("truth", "rows", "reason"),
    [
        ([], np.zeros((0, 3)), "no documents"),
        ([0], [[0.5, 0.5]], "3 names"),
        ([0, 1], [[1.0, 0.0, 0.0]], r"must be \[n\]"),
        ([3], [[1.0, 0.0, 0.0]], "truth must be in"),
        ([0.5], [[1.0, 0.0, 0.0]], "whole numbers"),
        ([0], [[1.0, 1.0, 0.0]], "sum to 1"),
        ([0], [[np.nan, 1.0, 0.0]], "finite"),
    ],
)
def test_invalid_predictions_are_refused(truth, rows, reason):
    with pytest.raises(ValueError, match=reason):
        evaluate_predictions(truth, rows, NAMES)


def test_to_json_is_json():
    truth, rows, names = predictions(20)
    record = json.loads(json.dumps(evaluate_predictions(truth, rows, names).to_json()))
    assert record["documents"] == 20
    assert len(record["per_author"]) == len(record["confusion"]) == 7
    assert set(record["per_author"][0]) == {"author", "precision", "recall", "f1", "support"}


def test_auroc_is_the_share_of_pairs_in_the_right_order_and_counts_ties_half():
    assert auroc(np.array([1.0, 2.0]), np.array([0.0, 0.5])) == 1.0
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5
    rng = np.random.default_rng(0)
    known, unknown = rng.integers(0, 9, 40) / 9, rng.integers(0, 7, 30) / 9
    pairs = (known[:, None] > unknown).mean() + 0.5 * (known[:, None] == unknown).mean()
    assert auroc(known, unknown) == pytest.approx(pairs)
