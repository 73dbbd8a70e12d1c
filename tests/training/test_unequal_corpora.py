"""Accuracy on real corpora whose authors have different numbers of documents."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
from authorid.scoring.scorer import Scorer
from authorid.training import fusion
from authorid.training.evaluate import EvaluationOptions, evaluate
from authorid.training.ngram_run import train_ngrams


@pytest.fixture(scope="module")
def federalist() -> Path:
    """The Federalist: 51, 14 and 5 papers with known authors, and 12 disputed ones."""
    for directory in (os.environ.get("AUTHORID_FEDERALIST"), Path(__file__).parents[3] / "shared" / "FEDERALIST"):
        if directory and (Path(directory) / "known").is_dir():
            return Path(directory)
    pytest.skip("The Federalist not found: set AUTHORID_FEDERALIST to the directory with known/ and disputed/")


def copy(paths: list[Path], target: Path) -> None:
    target.mkdir(parents=True)
    for path in paths:
        (target / path.name).write_bytes(path.read_bytes())


def test_the_disputed_federalist_papers_are_madisons(federalist, tmp_path):
    """As scholars agree since Mosteller and Wallace (1964); Hamilton has more than three times as many papers."""
    scorer = Scorer(train_ngrams(federalist / "known", tmp_path / "run"))
    rows = list(scorer.score([federalist / "disputed"]))
    assert [row.author for row in rows] == ["madison"] * 12


@pytest.mark.parametrize("held_out", ["last", "every fourth"])
def test_federalist_papers_that_are_held_out_are_attributed(federalist, tmp_path, held_out):
    for author in ("hamilton", "jay", "madison"):
        papers = sorted((federalist / "known" / author).iterdir(), key=lambda path: int(path.stem.split("_")[1]))
        number = len(papers) - round(0.3 * len(papers))
        test = papers[number:] if held_out == "last" else papers[3::4]
        copy([path for path in papers if path not in test], tmp_path / "train" / author)
        copy(test, tmp_path / "test" / author)
    train_ngrams(tmp_path / "train", tmp_path / "run")
    found = evaluate(tmp_path / "run", tmp_path / "test", EvaluationOptions(effort="fast"))
    assert found.metrics.macro_f1 >= 0.95


@pytest.mark.corpus
@pytest.mark.parametrize("seed", [1, 5])
def test_authors_with_few_articles_are_found_beside_those_with_many(c50, tmp_path, monkeypatch, seed):
    """3 to 25 of each author's first 25 articles, log-uniformly: 0.57 (F1 0.53) without a correction."""
    monkeypatch.setattr(fusion, "fit_open_set", lambda *arguments, **options: None)  # it changes no answer
    rng = np.random.default_rng(seed)
    for directory in sorted((c50 / "C50train").iterdir()):
        articles = sorted(directory.iterdir(), key=lambda path: int(path.name.split("newsML")[0]))
        number = round(np.exp(rng.uniform(np.log(3), np.log(25))))
        copy([articles[index] for index in rng.permutation(25)[:number]], tmp_path / "train" / directory.name)
        copy(articles[25:], tmp_path / "test" / directory.name)
    train_ngrams(tmp_path / "train", tmp_path / "run")
    found = evaluate(tmp_path / "run", tmp_path / "test", EvaluationOptions(effort="fast"))
    assert found.metrics.accuracy >= 0.63
    assert found.metrics.macro_f1 >= 0.61
    assert found.metrics.ece <= 0.1
