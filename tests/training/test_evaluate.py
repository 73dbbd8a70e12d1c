"""`evaluate`: what it measures on bundles and training runs, and the command that prints it."""

from __future__ import annotations

import csv
import json
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import write_checkpoint, write_corpus
from command import run
from recording import RecordingReporter
from tiny import AUTHORS, make_bundle, prose

pytest.importorskip("scipy")
from authorid.cli.console import Terminal
from authorid.cli.result_tables import show_evaluation
from authorid.errors import CorpusError
from authorid.evaluation.metrics import auroc
from authorid.inputs.documents import ReadOptions
from authorid.training import CorpusSpec, TrainingOptions, train
from authorid.training.evaluate import EvaluationOptions, evaluate
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams


def write(root, authors, documents, words=60, seed=0):
    for number, author in enumerate(authors):
        (root / author).mkdir(parents=True)
        for i in range(documents):
            (root / author / f"{i}.txt").write_text(prose(AUTHORS[number % 3], words, seed=seed + 100 * number + i))
    return root


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """An n-gram run, a bundle with an encoder too, more documents by their authors, and some by an unknown author."""
    root = tmp_path_factory.mktemp("models")
    train_ngrams(write(root / "train", AUTHORS, 12), root / "run", NgramOptions(bits=14, typography="kept"))
    make_bundle(root / "encoder")
    export_ngrams(root / "run", root / "both", encoder=root / "encoder", weight=0.5)
    write(root / "test", AUTHORS, 6, words=30, seed=5000)
    (root / "unknown" / "Nobody").mkdir(parents=True)
    for i in range(8):
        text = " ".join(f"w{(7 * i + 3 * j) % 50}" for j in range(30))
        (root / "unknown" / "Nobody" / f"{i}.txt").write_text(text)
    return root


def test_the_terminal_always_shows_the_row_of_all_documents(models, monkeypatch):
    tables = {}
    monkeypatch.setattr(Terminal, "table", lambda self, title, columns, rows: tables.update({title: rows}))
    report = evaluate(models / "run", models / "test")
    for points in (1, 2, 20):
        rows = [{"coverage": i / points, "error": 0.25, "probability": 0.5} for i in range(1, points + 1)]
        show_evaluation(Terminal(), replace(report, risk_coverage=rows))
        assert tables["Risk and coverage"][-1] == ("100%", "25.0%", "0.50")
    assert [row[0] for row in tables["Risk and coverage"]] == ["20%", "40%", "60%", "80%", "100%"]


def test_evaluate_measures_the_answers_of_score(models, tmp_path):
    """Accuracy and AUROC are those of the rows that `score` writes."""
    done = run(
        "evaluate",
        models / "run",
        models / "test",
        "--unknown-authors",
        models / "unknown",
        "--json",
        tmp_path / "all.json",
    )
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "all.json").read_text())
    rows = {}
    for name in ("test", "unknown"):
        run("score", models / name, "--model", models / "run", "--out", tmp_path / f"{name}.csv")
        with (tmp_path / f"{name}.csv").open(newline="") as lines:
            rows[name] = list(csv.DictReader(lines))
    right = [row["author"] == row["path"].split("/")[-2] for row in rows["test"]]
    assert found["accuracy"] == pytest.approx(np.mean(right))
    assert found["unknown_authors"]["documents"] == 8
    probability = [np.array([float(row["probability"]) for row in rows[name]]) for name in ("test", "unknown")]
    assert found["unknown_authors"]["auroc_of_probability"] == pytest.approx(auroc(*probability), abs=1e-3)
    assert found["unknown_authors"]["auroc"] > 0.9
    assert f"8 documents by unknown authors: AUROC {found['unknown_authors']['auroc']:.4f}" in done.stderr + done.stdout
    low, high = found["accuracy_interval"]
    assert low <= found["accuracy"] <= high


def test_every_effort_and_the_encoder_alone_are_evaluated(models):
    report = evaluate(models / "both", models / "test")
    assert Counter((row["models"], row["effort"]) for row in report.ablation) == Counter(
        [
            ("n-grams", "fast"),
            ("n-grams + encoder", "auto"),
            ("n-grams + encoder", "full"),
            ("encoder", "full"),
        ]
    )
    own = next(row for row in report.ablation if row["effort"] == "auto")
    assert own["accuracy"] == report.metrics.accuracy
    assert [
        row["effort"] for row in evaluate(models / "both", models / "test", EvaluationOptions(ablation=False)).ablation
    ] == ["auto"]


def test_unknown_authors_behind_links_are_read_on_request_and_known_ones_are_left_out(models, tmp_path):
    options = EvaluationOptions(unknown_authors=models / "unknown")
    plain = evaluate(models / "run", models / "test", options).unknown_authors
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "Nobody").symlink_to(models / "unknown" / "Nobody")
    (tmp_path / "linked" / AUTHORS[0]).symlink_to(models / "test" / AUTHORS[0])
    options = EvaluationOptions(unknown_authors=tmp_path / "linked")
    with pytest.raises(CorpusError, match="no documents by unknown authors"):
        evaluate(models / "run", models / "test", options)
    reporter = RecordingReporter()
    test = CorpusSpec(models / "test", ReadOptions(follow_symlinks=True))
    assert evaluate(models / "run", test, options, reporter=reporter).unknown_authors == plain
    assert [message for message in reporter.warnings if "1 directories of authors that the model knows" in message]
    with pytest.raises(CorpusError, match="no documents by unknown authors"):
        evaluate(models / "run", models / "test", EvaluationOptions(unknown_authors=models / "test"))


def test_known_authors_are_left_out_by_exact_name_and_at_the_top_level_only(tmp_path):
    """Names are not patterns, and names of deeper directories do not matter."""
    authors = ("A[b]", "B*", "Cyd")
    train_ngrams(write(tmp_path / "train", authors, 8), tmp_path / "run", NgramOptions(bits=14))
    write(tmp_path / "test", authors, 2, seed=5000)
    unknown = write(tmp_path / "unknown", ("Ab", "Bo", "Dan/Cyd"), 3, seed=7000)
    write(unknown, ("A[b]",), 3, seed=8000)
    (unknown / "loose.txt").write_text(prose("Ada", 40))
    (unknown / ".hidden").write_text("no document")
    reporter = RecordingReporter()
    options = EvaluationOptions(unknown_authors=unknown)
    report = evaluate(tmp_path / "run", tmp_path / "test", options, reporter=reporter)
    assert report.unknown_authors["documents"] == 10
    assert [message for message in reporter.warnings if "1 directories of authors that the model knows" in message]
    with pytest.raises(CorpusError, match="not a directory of documents by unknown authors"):
        evaluate(tmp_path / "run", tmp_path / "test", EvaluationOptions(unknown_authors=tmp_path / "nowhere"))


def test_a_corpus_with_unknown_authors_is_refused(models):
    done = run("evaluate", models / "run", models / "unknown")
    assert done.returncode == 1
    assert "only one author" in done.stderr
    write(models / "more", (*AUTHORS, "Zoe"), 1)
    done = run("evaluate", models / "run", models / "more")
    assert done.returncode == 1
    assert "1 of its 4 authors are unknown to the model: Zoe" in done.stderr


def test_plots_are_drawn(models, tmp_path):
    pytest.importorskip("matplotlib")
    done = run("evaluate", models / "run", models / "test", "--plots", tmp_path / "plots", "--quiet")
    assert done.returncode == 0, done.stderr
    drawn = {path.name for path in (tmp_path / "plots").iterdir() if path.read_bytes().startswith(b"\x89PNG")}
    assert drawn == {"confusion.png", "reliability.png", "risk_coverage.png", "length.png"}


def test_progress_covers_every_document_of_every_pass(models):
    reporter = RecordingReporter()
    evaluate(models / "both", models / "test", reporter=reporter)
    assert [step[:2] for step in reporter.steps] == [(done, 18) for _ in range(4) for done in range(1, 19)]
    assert {step[2] for step in reporter.steps} == {
        "n-grams, effort fast",
        "n-grams + encoder, effort auto",
        "n-grams + encoder, effort full",
        "encoder, effort full",
    }


@pytest.mark.train
@pytest.mark.parametrize("recipe", ["probe", "windows", "classic"])
def test_a_training_run_is_evaluated_as_it_is(tmp_path, recipe):
    checkpoint = write_checkpoint(tmp_path / "base", "distilbert")
    corpus, test = write_corpus(tmp_path / "corpus"), write_corpus(tmp_path / "test", 4, seed=9)
    options = TrainingOptions(base_model=str(checkpoint), recipe=recipe, epochs=1, window=32)
    run = train(corpus, tmp_path / "run", options)
    reporter = RecordingReporter()
    report = evaluate(run.path, test, reporter=reporter)
    models = "encoder" if recipe == "classic" else "n-grams + encoder"
    assert report.ablation == [{"models": models, "accuracy": report.metrics.accuracy}]
    assert report.metrics.documents == 12
    assert report.unknown_authors is None
    assert reporter.steps[-1][:2] == (12, 12)
    with pytest.raises(CorpusError, match="export this run first"):
        evaluate(run.path, test, EvaluationOptions(unknown_authors=test))
