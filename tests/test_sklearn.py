from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from tiny import AUTHORS, prose

pytest.importorskip("sklearn", minversion="1.6")

from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer
from sklearn.utils import estimator_checks

from authorid.sklearn import AuthorClassifier

TEXTS = [prose(AUTHORS[i % 3], 60, seed=i) for i in range(36)]
NAMES = [AUTHORS[i % 3] for i in range(36)]
CHECKS = (
    "check_estimator_tags_renamed",
    "check_valid_tag_types",
    "check_estimator_repr",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_get_params_invariance",
    "check_set_params",
    "check_do_not_raise_errors_in_init_or_set_params",
    "check_mixin_order",
    "check_estimators_unfitted",
)
"""The checks that fit nothing. `check_estimator` skips all others too: they fit matrices of numbers, never texts."""


@pytest.fixture(scope="module")
def fitted() -> AuthorClassifier:
    return AuthorClassifier(bits=12).fit(TEXTS, NAMES)


@pytest.mark.filterwarnings("ignore:Can't test estimator")
def test_check_estimator_passes():
    estimator_checks.check_estimator(AuthorClassifier())


@pytest.mark.parametrize("name", CHECKS)
def test_checks_of_scikit_learn_that_need_no_numbers(name):
    check = getattr(estimator_checks, name, None)
    if check is None:
        pytest.skip("not in this release of scikit-learn")
    check("AuthorClassifier", AuthorClassifier())


def test_probabilities_and_answers(fitted):
    texts = [prose(author, 60, seed=99) for author in AUTHORS]
    shares = fitted.predict_proba(texts)
    assert fitted.classes_.tolist() == sorted(AUTHORS)
    assert shares.sum(axis=1) == pytest.approx(1.0)
    assert fitted.predict(texts).tolist() == list(AUTHORS)
    assert fitted.classes_[shares.argmax(axis=1)].tolist() == list(AUTHORS)
    assert fitted.score(texts, list(AUTHORS)) == 1.0
    assert log_loss(list(AUTHORS), shares, labels=fitted.classes_) < 0.5
    assert fitted.decision_function(texts).shape == (3, 3)


def test_scores_are_those_of_a_trained_bundle(fitted, tmp_path):
    from authorid.scoring.scorer import Scorer
    from authorid.training.ngram_options import NgramOptions
    from authorid.training.ngram_run import train_ngrams

    for number, (text, name) in enumerate(zip(TEXTS, NAMES, strict=True)):
        (tmp_path / "corpus" / name).mkdir(parents=True, exist_ok=True)
        (tmp_path / "corpus" / name / f"{number}.txt").write_text(text)
    bundle = train_ngrams(tmp_path / "corpus", tmp_path / "run", NgramOptions(bits=12))
    text = prose("Ben", 25, seed=5)
    (row,) = Scorer(bundle).predict([text])
    assert dict(row.ranking) == pytest.approx(dict(zip(fitted.classes_, fitted.predict_proba([text])[0], strict=True)))


def test_pickles_and_clones(fitted):
    texts = TEXTS[:5]
    again = pickle.loads(pickle.dumps(fitted))
    assert (again.predict_proba(texts) == fitted.predict_proba(texts)).all()
    fresh = clone(fitted)
    assert fresh.get_params() == fitted.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(texts)


def test_cross_validation_grid_search_and_pipelines():
    texts = np.array(TEXTS, dtype=object)
    assert cross_val_score(AuthorClassifier(bits=12), texts, NAMES, cv=3).mean() > 0.9
    steps = make_pipeline(FunctionTransformer(lambda some: [text.lower() for text in some]), AuthorClassifier(bits=12))
    search = GridSearchCV(steps, {"authorclassifier__ridge": [0.05, 1.0]}, cv=2, scoring="neg_log_loss")
    search.fit(TEXTS, NAMES)
    assert search.best_score_ > -1.0
    assert search.predict(TEXTS[:3]).tolist() == NAMES[:3]


def test_two_authors_and_numbers_as_names():
    texts, labels = TEXTS[:2] + TEXTS[3:5] + TEXTS[6:8], [7, 9, 7, 9, 7, 9]
    found = AuthorClassifier(bits=12).fit(texts, labels)
    assert found.predict(texts).tolist() == labels
    assert ((found.decision_function(texts) > 0) == (np.array(labels) == 9)).all()


@pytest.mark.parametrize(
    ("texts", "names", "problem"),
    [
        (TEXTS[:3], ["Ada"] * 3, "1 class"),
        ([[1.0, 2.0]] * 2, ["Ada", "Ben"], "texts of type str, got list"),
        (np.ones((2, 2)), ["Ada", "Ben"], "1-dimensional"),
        ("text", ["Ada"], "a list or a 1-dimensional array"),
        ([], [], "found 0 texts"),
        (TEXTS[:3], NAMES[:2], "inconsistent"),
        (TEXTS[:3], None, "requires y"),
        (["a", "b"], ["Ada", "Ben"], "no two texts"),
    ],
)
def test_what_cannot_be_learned_is_an_error(texts, names, problem):
    with pytest.raises(ValueError, match=problem):
        AuthorClassifier(bits=12).fit(texts, names)


def test_without_scikit_learn_the_error_names_the_extra():
    code = "import sys; sys.modules['sklearn'] = None; import authorid.sklearn"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "pip install 'authorid-toolkit[sklearn]'" in done.stderr
