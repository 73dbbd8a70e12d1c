"""Plots are written as PNG files."""

from __future__ import annotations

import sys
from dataclasses import replace

import numpy as np
import pytest

from authorid.errors import MissingExtraError
from authorid.evaluation.evaluation_report import EvaluationReport, make_report
from authorid.evaluation.plots import plot_confusion, plot_evaluation, plot_history, require_matplotlib

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


@pytest.mark.parametrize(
    "name",
    ["$$", r"$\frac$", "a_b^c{}", "名前", "עברית", "\udcff", "a\nb", "a\0b", "\x1b[31m", "x" * 255, "\\", " "],
)
def test_an_author_may_have_any_name(tmp_path, name):
    pytest.importorskip("matplotlib")
    made = report(authors=3)
    metrics = made.metrics
    others = tuple(metrics.per_author)[1:]
    plot_confusion(
        replace(metrics, per_author=(replace(metrics.per_author[0], author=name), *others)), tmp_path / "confusion.png"
    )
    assert (tmp_path / "confusion.png").read_bytes().startswith(PNG)


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
