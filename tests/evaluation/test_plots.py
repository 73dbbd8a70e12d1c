"""Plots are written as PNG files."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from authorid.errors import MissingExtraError
from authorid.evaluation.evaluation_report import EvaluationReport, make_report
from authorid.evaluation.plots import plot_evaluation, plot_history, require_matplotlib

PNG = b"\x89PNG"


def report(documents: int = 40, authors: int = 5) -> EvaluationReport:
    rng = np.random.default_rng(0)
    truth = rng.integers(0, authors, documents)
    rows = np.exp(rng.normal(size=(documents, authors)) + 1.5 * np.eye(authors)[truth])
    rows /= rows.sum(axis=1, keepdims=True)
    names = [f"author{number}" for number in range(authors)]
    return make_report(truth, rows, names, rng.integers(50, 3000, documents).tolist(), [])


def test_an_evaluation_has_four_plots(tmp_path):
    pytest.importorskip("matplotlib")
    plot_evaluation(report(), tmp_path)
    drawn = {path.name for path in tmp_path.iterdir() if path.read_bytes().startswith(PNG)}
    assert drawn == {"confusion.png", "reliability.png", "risk_coverage.png", "length.png"}


@pytest.mark.parametrize("history", [{"loss": [2.0, 1.0], "accuracy": [0.1, 0.5], "val_loss": [2.0, 1.5]}, {}])
def test_the_history_of_a_training_is_plotted(tmp_path, history):
    pytest.importorskip("matplotlib")
    plot_history(history, tmp_path / "history.png")
    assert (tmp_path / "history.png").read_bytes().startswith(PNG)


def test_without_matplotlib_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    for draw in (require_matplotlib, lambda: plot_evaluation(report(), tmp_path)):
        with pytest.raises(MissingExtraError) as caught:
            draw()
        assert (caught.value.module, caught.value.extra) == ("matplotlib.figure", "plots")
