"""`score --adapt`: the n-gram model is adapted to the documents of a run."""

from __future__ import annotations

import csv
import json
import random
from dataclasses import replace

import numpy as np
import pytest
from command import run

pytest.importorskip("scipy")
from authorid.errors import BundleLacksError
from authorid.scoring import adaptation
from authorid.scoring.adaptation import BatchSample
from authorid.scoring.posterior import ngram_evidence
from authorid.scoring.scorer import Scorer
from authorid.training import fusion
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams

COMMON = ["the", "of", "and", "a", "to", "in", "is", "was", "that", "it", "for", "on", "as", "with", "by", "at"]


def article(author: int, number: int, year: int, words: int = 45) -> str:
    """Habits of an author, and a subject that the author has in one year only."""
    rng = np.random.default_rng(10_000 * year + 100 * author + number)
    habits = np.random.default_rng(author).dirichlet(np.full(len(COMMON), 3.0))
    subject = [f"topic{year}x{author}x{i}" for i in range(12)]
    return " ".join(
        str(rng.choice(COMMON, p=habits) if rng.random() < 0.85 else rng.choice(subject)) for _ in range(words)
    )


@pytest.fixture(scope="module")
def batch(tmp_path_factory):
    """A model of eight authors, and a directory with later documents of theirs."""
    root = tmp_path_factory.mktemp("adaptation")
    for year, name, documents in ((1, "train", 15), (2, "later", 12)):
        for author in range(8):
            for number in range(documents):
                path = root / name / f"author{author}" / f"{number}.txt"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(article(author, number, year))
    train_ngrams(root / "train", root / "run", NgramOptions(bits=14))
    return root


def answers(scorer: Scorer, paths):
    return {row.path: row for row in scorer.score(paths)}


def accuracy(rows) -> float:
    return float(np.mean([row.author == path.split("/")[-2] for path, row in rows.items()]))


def test_answers_are_adapted_and_marked(batch):
    scorer = Scorer.load(batch / "run", any_text=True)
    before = answers(scorer, [batch / "later"])
    found = scorer.adapt([batch / "later"])
    after = answers(scorer, [batch / "later"])
    assert found is not None and (found.documents, found.certain) == (96, 67)
    assert accuracy(after) >= accuracy(before)
    assert all(row.ranking != before[path].ranking for path, row in after.items())
    assert all(row.adapted for row in after.values()) and not any(row.adapted for row in before.values())
    for path, row in after.items():  # what tells of unknown authors and other texts is not adapted
        assert row.known_author_score == before[path].known_author_score
        assert row.coverage == before[path].coverage


@pytest.mark.corpus
def test_answers_about_later_articles_become_better(c50, tmp_path, monkeypatch):
    """Trained on the first 25 articles of each author of C50train; the last 25 are on other subjects."""
    monkeypatch.setattr(fusion, "fit_open_set", lambda *arguments, **options: None)  # it changes no answer
    for directory in sorted((c50 / "C50train").iterdir()):
        articles = sorted(directory.iterdir(), key=lambda path: int(path.name.split("newsML")[0]))
        for name, chosen in (("train", articles[:25]), ("later", articles[25:])):
            (tmp_path / name / directory.name).mkdir(parents=True)
            for path in chosen:
                (tmp_path / name / directory.name / path.name).write_bytes(path.read_bytes())
    scorer = Scorer(train_ngrams(tmp_path / "train", tmp_path / "run"))
    plain = accuracy(answers(scorer, [tmp_path / "later"]))
    scorer.adapt([tmp_path / "later"])
    adapted = accuracy(answers(scorer, [tmp_path / "later"]))
    scorer.adapt([tmp_path / "later"], equal_shares=True)
    shared = accuracy(answers(scorer, [tmp_path / "later"]))
    assert adapted >= plain + 0.005
    assert shared >= plain + 0.015


def test_neither_order_nor_threads_change_an_answer(batch):
    files = sorted(str(path) for path in (batch / "later").rglob("*.txt"))
    shuffled = random.Random(1).sample(files, len(files))
    rows = []
    for paths in (files, shuffled):
        scorer = Scorer.load(batch / "run", any_text=True)
        scorer.adapt(paths)
        rows.append({path: row.ranking for path, row in answers(scorer, paths).items()})
    assert rows[0] == rows[1]


def test_a_sample_is_the_same_whatever_the_order(batch, monkeypatch):
    monkeypatch.setattr(adaptation, "MOST_DOCUMENTS", 30)
    scorer = Scorer.load(batch / "run", any_text=True)
    texts = [path.read_text() for path in (batch / "later").rglob("*.txt")]
    digests = []
    for order in (texts, texts[::-1], [*texts, *texts]):
        sample = BatchSample(scorer._cascade.ngram_model, scorer.decision)
        for text in order:
            sample.add([text])
        found = sample.fit()
        assert found is not None and found.documents == 30
        digests.append(found.describe()["sha256"])
    assert len(set(digests)) == 1


def test_a_document_does_not_confirm_itself(batch, monkeypatch):
    """Its scores are those of a fit to all the others."""
    scorer = Scorer.load(batch / "run", any_text=True)
    texts = [path.read_text() for path in sorted((batch / "later").rglob("*.txt"))[:24]]
    monkeypatch.setattr(adaptation, "CERTAIN", 1.0)
    model = scorer._cascade.ngram_model
    sample = BatchSample(model, scorer.decision)
    sample.add(texts)
    found = sample.fit()
    dense = np.zeros((24, len(model.buckets)))
    views = len(model.extractor.views)
    row = 0
    for group in model.vectorize(texts):
        for start, stop in zip(group.indptr[:-views:views], group.indptr[views::views], strict=True):
            dense[row, group.indices[start:stop]] = group.data[start:stop]
            row += 1
    scores = model.score_texts(texts).scores
    targets = adaptation._targets(scores)
    products = dense @ dense.T
    ridge = adaptation.RIDGE * products.diagonal().mean()
    for left_out in (0, 11, 23):
        rest = np.delete(np.arange(24), left_out)
        dual = np.linalg.solve(products[np.ix_(rest, rest)] + ridge * np.eye(23), (targets - scores)[rest])
        expected = scores[left_out] + products[left_out, rest] @ dual
        np.testing.assert_allclose(found.score_texts([texts[left_out]])[0], expected, atol=1e-5)
    # A text outside the sample gets the scores of the fit to all.
    dual = np.linalg.solve(products + ridge * np.eye(24), targets - scores)
    other = article(0, 99, 2)
    vector = np.zeros(len(model.buckets))
    (group,) = model.vectorize([other])
    vector[group.indices] = group.data
    expected = model.score_text(other) + dense @ vector @ dual
    np.testing.assert_allclose(found.score_texts([other])[0], expected, atol=1e-4)


def test_with_equal_shares_all_authors_have_the_same_mean_probability(batch):
    scorer = Scorer.load(batch / "run", any_text=True)
    found = scorer.adapt([batch / "later"], equal_shares=True)
    rows = answers(scorer, [batch / "later"])
    means = {author: 0.0 for author in scorer.bundle.authors}
    for row in rows.values():
        for author, probability in row.ranking:
            means[author] += probability / len(rows)
    assert list(means.values()) == pytest.approx([1 / 8] * 8, abs=0.002)
    assert found.equal_shares and found.describe()["equal_shares"] is True


def test_too_few_documents_change_nothing(batch):
    scorer = Scorer.load(batch / "run", any_text=True)
    few = sorted((batch / "later").rglob("*.txt"))[:19]
    before = {path: row.ranking for path, row in answers(scorer, few).items()}
    assert scorer.adapt(few) is None
    assert {path: row.ranking for path, row in answers(scorer, few).items()} == before


def test_texts_unlike_anything_in_training_are_not_adapted_to(batch):
    scorer = Scorer.load(batch / "run")
    strict = replace(scorer.decision, coverage_threshold=0.99)
    sample = BatchSample(scorer._cascade.ngram_model, strict)
    sample.add([f"\u0440\u0443\u0441\u0441\u043a\u0438\u0439 {number} " * 20 for number in range(40)])
    assert sample.fit() is None


def test_evidence_uses_the_bias_of_equal_shares(batch):
    """The bias is added to the evidence, so that the most probable author can change."""
    scorer = Scorer.load(batch / "run", any_text=True)
    text = article(3, 77, 2)
    found = scorer.adapt([batch / "later"], equal_shares=True)
    (row,) = scorer.score_texts([text])
    evidence = ngram_evidence(found.score_texts([text]), [len(text)], scorer.decision)[0] + found.bias
    expected = np.exp(evidence - evidence.max())
    expected /= expected.sum()
    assert dict(row.ranking)[row.author] == pytest.approx(expected.max())


def test_a_bundle_without_n_grams_cannot_be_adapted(bundle, tmp_path):
    with pytest.raises(BundleLacksError, match="no n-gram model"):
        Scorer(bundle).adapt([tmp_path])


def test_the_command_marks_rows_and_statistics_and_resumes(batch, tmp_path):
    options = ("--model", batch / "run", "--any-text", "--out")
    plain, whole, killed = (tmp_path / name for name in ("plain.csv", "whole.csv", "killed.csv"))
    assert run("score", batch / "later", *options, plain).returncode == 0
    done = run("score", batch / "later", "--adapt", "--stats", tmp_path / "stats.json", *options, whole)
    assert done.returncode == 0 and "adapted to 67 of 96 documents" in done.stderr
    assert {row["adapted"] for row in csv.DictReader(whole.read_text().splitlines())} == {"yes"}
    assert {row["adapted"] for row in csv.DictReader(plain.read_text().splitlines())} == {""}
    statistics = json.loads((tmp_path / "stats.json").read_text())
    assert statistics["adaptation"]["documents"] == 96
    kill = (
        "from authorid.outputs.file_output import FileOutput\nimport os\nwrite = FileOutput.write\n"
        "def dying(self, record, count=[0]):\n    count[0] += 1\n    write(self, record)\n"
        "    if count[0] == 40: os._exit(9)\nFileOutput.write = dying"
    )
    assert run("score", batch / "later", "--adapt", *options, killed, prelude=kill).returncode == 9
    resumed = run("score", batch / "later", "--adapt", "--resume", *options, killed)
    assert resumed.returncode == 0, resumed.stderr
    assert killed.read_bytes() == whole.read_bytes()


def test_a_run_over_other_documents_is_not_resumed(batch, tmp_path):
    """Rows of two adaptations would be mixed."""
    documents = tmp_path / "later"
    for path in sorted((batch / "later").rglob("*.txt")):
        target = documents / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    options = ("--model", batch / "run", "--any-text", "--adapt", "--out", tmp_path / "r.csv")
    kill = (
        "from authorid.outputs.file_output import FileOutput\nimport os\nFileOutput.finish = lambda self: os._exit(9)"
    )
    assert run("score", documents, *options, prelude=kill).returncode == 9
    for path in (documents / "author1").iterdir():
        path.write_text(article(1, 55 + int(path.stem), 2))
    done = run("score", documents, *options, "--resume")
    assert done.returncode == 1 and "adaptation" in done.stderr


def test_equal_shares_without_adaptation_is_a_usage_error(batch):
    done = run("score", batch / "later", "--equal-shares")
    assert done.returncode == 2 and "--adapt" in done.stderr


def test_without_scipy_the_install_line_is_given_before_anything_is_read(batch, tmp_path):
    hide = "import sys; sys.modules['scipy'] = None"
    done = run("score", batch / "later", "--adapt", "--model", batch / "run", "--out", tmp_path / "r.csv", prelude=hide)
    assert done.returncode == 1 and "pip install" in done.stderr and "fit" in done.stderr
    assert not (tmp_path / "r.csv").exists()


def test_a_signal_while_adapting_ends_the_run(batch, tmp_path):
    slow = (
        "import os, signal\nfrom authorid.scoring.adaptation import BatchSample\nadd = BatchSample.add\n"
        "def signalled(self, *arguments):\n    os.kill(os.getpid(), signal.SIGTERM)\n    add(self, *arguments)\n"
        "BatchSample.add = signalled"
    )
    done = run("score", batch / "later", "--adapt", "--model", batch / "run", "--out", tmp_path / "r.csv", prelude=slow)
    assert done.returncode == 143
    assert not (tmp_path / "r.csv").exists()
