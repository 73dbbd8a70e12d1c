"""Training on very many documents by very many authors: the same answers, in bounded memory and of a bounded size."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from generated_corpora import Generator

from authorid.errors import CorpusError
from authorid.ngrams.model import load_ngram_model
from authorid.scoring.posterior import known_author_score, posterior
from authorid.training import fusion, load_corpus, ngram_fit
from authorid.training.fusion import FusionFit, fit_fusion
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams
from authorid.training.views import BYTE_VIEWS

pytest.importorskip("scipy")

AUTHORS, DOCUMENTS = 24, 20
OPTIONS = NgramOptions(views=BYTE_VIEWS, bits=16)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("generated") / "corpus"
    Generator(AUTHORS, habit=0.6).write(root, DOCUMENTS)
    return root


def new_documents(authors: range = range(AUTHORS)) -> tuple[list[str], np.ndarray]:
    generator = Generator(AUTHORS, habit=0.6)
    texts = [text for author in authors for text in generator.documents(author, 5, first=1000)]
    return texts, np.repeat(np.array(authors), 5)


def fit_large(corpus: Path, monkeypatch: pytest.MonkeyPatch, *, many: bool) -> FusionFit:
    """Fit as a corpus of very many documents is fitted; with `many`, as one of very many authors."""
    for module in (fusion, ngram_fit):
        monkeypatch.setattr(module, "DENSE_DOCUMENTS", 400)  # the second model is fitted in closed form
    monkeypatch.setattr(fusion, "MANY_AUTHORS", 20 if many else 1000)
    return fit_fusion(load_corpus(corpus), OPTIONS)


def answers(fitted: FusionFit, texts: list[str]) -> np.ndarray:
    scores = fitted.ngrams.score_texts(texts).scores
    return posterior(None, fitted.decision, scores, [len(text) for text in texts]).argmax(axis=1)


@pytest.mark.parametrize("many", [False, True])
def test_the_answers_are_those_of_the_closed_form(corpus, monkeypatch, many):
    texts, truth = new_documents()
    exact = answers(fit_fusion(load_corpus(corpus), OPTIONS, open_set=False), texts)
    found = answers(fit_large(corpus, monkeypatch, many=many), texts)
    assert 0.5 < (exact == truth).mean() < 1.0
    assert (found == exact).mean() >= 0.97
    assert (found == truth).mean() >= (exact == truth).mean() - 0.02


def test_the_decision_of_very_many_authors_is_calibrated_on_a_model_of_most_documents(corpus, monkeypatch):
    fitted = fit_large(corpus, monkeypatch, many=True)
    texts, truth = new_documents()
    scores = fitted.ngrams.score_texts(texts)
    probabilities = posterior(None, fitted.decision, scores.scores, [len(text) for text in texts])
    right = probabilities.argmax(axis=1) == truth
    assert abs(probabilities.max(axis=1).mean() - right.mean()) < 0.15
    assert abs(fitted.report["accuracy"] - right.mean()) < 0.15
    assert fitted.report["authors_left_out"] == 3
    rule = fitted.decision.known_author_rule
    assert len(rule.mean) == len(rule.deviation) == AUTHORS and len(set(rule.mean)) > 1
    known = known_author_score(scores, fitted.decision)
    unknown = known_author_score(
        fitted.ngrams.score_texts(new_documents(range(AUTHORS, AUTHORS + 20))[0]), fitted.decision
    )
    assert known.mean() > unknown.mean() + 0.2
    assert 0 < fitted.decision.coverage_threshold < 1


@pytest.mark.parametrize("size", [400_000, 1_000_000])
def test_a_bundle_is_no_larger_than_max_size(corpus, tmp_path, size):
    options = NgramOptions(views=BYTE_VIEWS, bits=16, max_size=size)
    bundle = train_ngrams(corpus, tmp_path / "run", options)
    total = sum(path.stat().st_size for path in (tmp_path / "run").iterdir())
    assert 0.8 * size < total <= size
    assert len(load_ngram_model(bundle).bias) == AUTHORS


def test_a_size_that_is_too_small_is_refused_before_the_fit(corpus, tmp_path):
    with pytest.raises(CorpusError, match=r"a model of 24 authors takes 0\.1M at least, and --max-size allows 0\.0M"):
        train_ngrams(corpus, tmp_path / "run", NgramOptions(max_size=50_000))
    assert not (tmp_path / "run").exists()


PROGRAM = """
import resource, sys
import numpy as np
from generated_corpora import Generator
from authorid.training.ngram_fit import count_texts, fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.samples import LabelledTexts
from authorid.training.views import BYTE_VIEWS

authors, each = 100, 120
generator = Generator(authors)
texts = [text for author in range(authors) for text in generator.documents(author, each)]
samples = LabelledTexts(texts, np.repeat(np.arange(authors), each), [str(number) for number in range(len(texts))])
options = NgramOptions(views=BYTE_VIEWS[1:3], bits=14, max_size=1_500_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
model = fit(count_texts(samples, options), samples.labels, authors, options)
print(len(model.bias), (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.slow
def test_memory_is_not_that_of_a_matrix_of_documents():
    """12,000 documents: their inner products alone would take 1,099 MiB, and the closed form three times as much."""
    paths = str(Path(__file__).parent.parent)
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path.insert(0, {paths!r})\n{PROGRAM}"],
        capture_output=True,
        text=True,
        check=True,
        timeout=900,
    )
    authors, mebibytes = map(int, done.stdout.split())
    assert authors == 100
    assert mebibytes < 2500
