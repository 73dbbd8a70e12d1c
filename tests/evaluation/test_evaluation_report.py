"""What an evaluation finds beyond the plain measures: golden values, and the command that prints them."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from command import run
from hypothesis import given
from hypothesis import strategies as st
from tiny import AUTHORS, make_bundle, prose

pytest.importorskip("scipy")
from authorid.cli.console import Terminal
from authorid.cli.result_tables import show_evaluation
from authorid.errors import CorpusError
from authorid.evaluation.evaluation_report import (
    accuracy_by_length,
    bootstrap_interval,
    reliability,
    risk_coverage,
    worst_pairs,
)
from authorid.evaluation.metrics import evaluate_predictions
from authorid.training.evaluate import examine
from authorid.training.ngram_fit import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams
from authorid.training.open_set import auroc


def write(root, authors, documents, words=60, seed=0):
    for number, author in enumerate(authors):
        (root / author).mkdir(parents=True)
        for i in range(documents):
            (root / author / f"{i}.txt").write_text(prose(AUTHORS[number % 3], words, seed=seed + 100 * number + i))
    return root


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A model of two experts for three authors, other documents by them, and some by nobody it knows."""
    root = tmp_path_factory.mktemp("findings")
    train_ngrams(write(root / "train", AUTHORS, 12), root / "run", NgramOptions(bits=14))
    make_bundle(root / "encoder")
    export_ngrams(root / "run", root / "both", encoder=root / "encoder", weight=0.5)
    write(root / "test", AUTHORS, 6, words=30, seed=5000)
    (root / "strangers" / "Nobody").mkdir(parents=True)
    for i in range(8):
        text = " ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(30))
        (root / "strangers" / "Nobody" / f"{i}.txt").write_text(text)
    return root


def test_the_interval_is_where_a_binomial_puts_it():
    right = np.arange(400) < 300
    low, high = bootstrap_interval(right)
    assert low == pytest.approx(0.75 - 1.96 * np.sqrt(0.75 * 0.25 / 400), abs=0.01)
    assert high == pytest.approx(0.75 + 1.96 * np.sqrt(0.75 * 0.25 / 400), abs=0.01)


@pytest.mark.parametrize("documents", [1, 3, 20, 400])
def test_the_interval_is_not_a_point_where_all_are_right_or_none(documents):
    """Where Wilson puts it: the share of which as many right answers are just unlikely."""
    low, high = bootstrap_interval(np.ones(documents))
    assert high == 1.0
    assert 1.0 - low == pytest.approx(1.96 * np.sqrt(low * (1 - low) / documents))
    assert bootstrap_interval(np.zeros(documents)) == (0.0, pytest.approx(1.0 - low))


def test_worst_pairs_are_the_commonest_confusions():
    truth = np.array([0, 0, 0, 0, 1, 1, 2])
    given = np.array([1, 1, 1, 0, 0, 1, 2])
    rows = worst_pairs(evaluate_predictions(truth, np.eye(3)[given], ("Ann", "Bob", "Cy")))
    assert rows == [
        {"author": "Ann", "attributed_to": "Bob", "documents": 3, "share": 0.75},
        {"author": "Bob", "attributed_to": "Ann", "documents": 1, "share": 0.5},
    ]


def test_lengths_are_told_by_class():
    rows = accuracy_by_length([10, 240, 250, 20_000], [1, 0, 1, 1])
    assert rows == [
        {"from": 0, "characters": 125.0, "documents": 2, "accuracy": 0.5},
        {"from": 250, "characters": 250.0, "documents": 1, "accuracy": 1.0},
        {"from": 10_000, "characters": 20_000.0, "documents": 1, "accuracy": 1.0},
    ]


def test_risk_grows_with_what_is_answered():
    rows = risk_coverage([0.9, 0.8, 0.3, 0.6], [1, 1, 0, 0], points=4)
    assert rows == [
        {"coverage": 0.25, "error": 0.0, "probability": 0.9},
        {"coverage": 0.5, "error": 0.0, "probability": 0.8},
        {"coverage": 0.75, "error": pytest.approx(1 / 3), "probability": 0.6},
        {"coverage": 1.0, "error": 0.5, "probability": 0.3},
    ]


@given(st.permutations([(0.9, 1), (0.7, 1), (0.7, 0), (0.7, 0), (0.7, 1), (0.7, 1), (0.2, 0)]))
def test_documents_that_are_equally_sure_are_answered_together(pairs):
    """Whatever the order of the documents: a part of them would be one that happens to come first."""
    sure, right = zip(*pairs, strict=True)
    assert risk_coverage(sure, right, points=7) == [
        {"coverage": pytest.approx(1 / 7), "error": 0.0, "probability": 0.9},
        {"coverage": pytest.approx(6 / 7), "error": pytest.approx(2 / 6), "probability": 0.7},
        {"coverage": 1.0, "error": pytest.approx(3 / 7), "probability": 0.2},
    ]


def test_the_screen_shows_all_documents_together_however_few_points_there_are(place, monkeypatch):
    tables = {}
    monkeypatch.setattr(Terminal, "table", lambda self, title, columns, rows: tables.update({title: rows}))
    findings = examine(place / "run", place / "test")
    for points in (1, 2, 20):
        rows = [{"coverage": i / points, "error": 0.25, "probability": 0.5} for i in range(1, points + 1)]
        show_evaluation(Terminal(), replace(findings, risk_coverage=rows))
        assert tables["Risk and coverage"][-1] == ("100%", "25.0%", "0.50")
    assert [row[0] for row in tables["Risk and coverage"]] == ["20%", "40%", "60%", "80%", "100%"]


@given(st.lists(st.tuples(st.floats(0.001, 1), st.booleans()), min_size=1, max_size=60))
def test_the_reliability_diagram_has_every_document_and_the_expected_calibration_error(pairs):
    sure, right = (np.array(side, dtype=float) for side in zip(*pairs, strict=True))
    rows = reliability(sure, right)
    assert sum(row["documents"] for row in rows) == len(pairs)
    assert sum(row["documents"] * row["confidence"] for row in rows) == pytest.approx(sure.sum())
    # Two authors, the first of whom gets the probability: the metrics' own ECE is the same number.
    rows = reliability(np.maximum(sure, 1 - sure), right)
    probabilities = np.stack([np.maximum(sure, 1 - sure), np.minimum(sure, 1 - sure)], axis=1)
    metrics = evaluate_predictions((1 - right).astype(int), probabilities, ("Ann", "Bob"))
    ece = sum(row["documents"] * abs(row["confidence"] - row["accuracy"]) for row in rows) / len(pairs)
    assert metrics.ece == pytest.approx(ece, abs=1e-9)


def test_evaluate_tells_what_score_answers(place, tmp_path):
    """Accuracy and AUROC are those of the very rows that `score` writes."""
    done = run(
        "evaluate", place / "run", place / "test", "--strangers", place / "strangers", "--json", tmp_path / "all.json"
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "all.json").read_text())
    rows = {}
    for name in ("test", "strangers"):
        run("score", place / name, "--model", place / "run", "--out", tmp_path / f"{name}.csv")
        with (tmp_path / f"{name}.csv").open(newline="") as lines:
            rows[name] = list(csv.DictReader(lines))
    right = [row["author"] == row["path"].split("/")[-2] for row in rows["test"]]
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert found["strangers"]["documents"] == 8
    sure = [np.array([float(row["probability"]) for row in rows[name]]) for name in ("test", "strangers")]
    assert found["strangers"]["auroc_of_probability"] == pytest.approx(auroc(*sure), abs=1e-3)
    assert found["strangers"]["auroc"] > 0.9
    assert f"8 documents by unknown authors: AUROC {found['strangers']['auroc']:.4f}" in done.stderr + done.stdout
    low, high = found["accuracy_interval"]
    assert low <= found["accuracy"] <= high


def test_every_effort_and_each_expert_is_measured(place):
    findings = examine(place / "both", place / "test")
    assert Counter((row["experts"], row["effort"]) for row in findings.ablation) == Counter(
        [
            ("n-grams", "fast"),
            ("n-grams + encoder", "auto"),
            ("n-grams + encoder", "full"),
            ("encoder", "full"),
        ]
    )
    own = next(row for row in findings.ablation if row["effort"] == "auto")
    assert own["accuracy"] == findings.metrics.accuracy
    assert [row["effort"] for row in examine(place / "both", place / "test", ablation=False).ablation] == ["auto"]


def test_strangers_may_be_links_and_those_whom_the_model_knows_are_left_out(place, tmp_path):
    plain = examine(place / "run", place / "test", strangers=place / "strangers").strangers
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Nobody").symlink_to(place / "strangers" / "Nobody")
    (tmp_path / "linked" / AUTHORS[0]).symlink_to(place / "test" / AUTHORS[0])
    told = []
    linked = examine(place / "run", place / "test", strangers=tmp_path / "linked", warn=told.append).strangers
    assert linked == plain
    assert [message for message in told if "1 directories of authors that the model knows" in message]
    with pytest.raises(CorpusError, match="no documents by unknown authors"):
        examine(place / "run", place / "test", strangers=place / "test")


def test_strangers_are_left_out_by_name_and_at_the_top_only(tmp_path):
    """Names are no patterns, and what a stranger calls a directory of theirs says nothing."""
    authors = ("A[b]", "B*", "Cyd")
    train_ngrams(write(tmp_path / "train", authors, 8), tmp_path / "run", NgramOptions(bits=14))
    write(tmp_path / "test", authors, 2, seed=5000)
    strange = write(tmp_path / "strangers", ("Ab", "Bo", "Dan/Cyd"), 3, seed=7000)
    write(strange, ("A[b]",), 3, seed=8000)
    (strange / "loose.txt").write_text(prose("Ada", 40))
    (strange / ".hidden").write_text("no document")
    told = []
    findings = examine(tmp_path / "run", tmp_path / "test", strangers=strange, warn=told.append)
    assert findings.strangers["documents"] == 10
    assert [message for message in told if "1 directories of authors that the model knows" in message]
    with pytest.raises(CorpusError, match="cannot be read as a directory of strangers: No such file"):
        examine(tmp_path / "run", tmp_path / "test", strangers=tmp_path / "nowhere")


def test_authors_whom_the_model_does_not_know_are_no_corpus_for_it(place):
    done = run("evaluate", place / "run", place / "strangers")
    assert done.returncode == 1
    assert "only one author" in done.stderr
    write(place / "more", (*AUTHORS, "Zoe"), 1)
    done = run("evaluate", place / "run", place / "more")
    assert done.returncode == 1
    assert "1 of its 4 authors are unknown to the model: Zoe" in done.stderr


def test_plots_are_drawn(place, tmp_path):
    pytest.importorskip("matplotlib")
    done = run("evaluate", place / "run", place / "test", "--plots", tmp_path / "plots", "--quiet")
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "plots").iterdir() if path.read_bytes().startswith(b"\x89PNG")}
    assert drawn == {"confusion.png", "reliability.png", "risk_coverage.png", "length.png"}
