"""The rule for unknown authors: how it is fitted, and that it recognizes their documents."""

from __future__ import annotations

import json
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from json_records import edit_record
from recording import RecordingReporter

from authorid.bundle.decision import Decision, KnownAuthorRule
from authorid.bundle.manifest import BundleCorruptError, load_bundle
from authorid.ngrams.model import NgramScores
from authorid.scoring.posterior import known_author_score
from authorid.scoring.scorer import Scorer

pytest.importorskip("scipy")
from authorid.evaluation.metrics import auroc
from authorid.training import open_set
from authorid.training.corpus import load_corpus
from authorid.training.fusion import fit_fusion
from authorid.training.ngram_fit import fit
from authorid.training.ngram_options import NgramOptions
from authorid.training.ngram_run import train_ngrams
from authorid.training.open_set import OpenSetCorpus
from authorid.training.samples import LabelledTexts
from authorid.training.term_counts import count
from authorid.training.views import BYTE_VIEWS

RULE = KnownAuthorRule(
    mean=(0.2, -0.1),
    deviation=(0.5, 0.25),
    view_weights=(2.0, 1.5, 1.0),
    plain_views=(0, 1),
    z_weight=2.0,
    spread_weight=1.0,
    offset=0.5,
)
COMMON = (
    "the",
    "of",
    "and",
    "a",
    "to",
    "in",
    "is",
    "was",
    "that",
    "it",
    "for",
    "on",
    "as",
    "with",
    "by",
    "at",
    "from",
    "his",
)


def article(author: int, number: int, words: int = 150) -> str:
    """All authors share four subjects; each has habits, and a few words that no other author uses."""
    rng = np.random.default_rng(1000 * author + number)
    taste = np.random.default_rng(author).dirichlet(np.full(len(COMMON), 0.5))
    own = [f"word{author}x{i}" for i in range(15)]
    subject = [f"topic{(author + number) % 4}x{i}" for i in range(25)]
    kinds = rng.choice(3, words, p=[0.6, 0.1, 0.3])
    return " ".join(
        str(rng.choice(COMMON, p=taste) if kind == 0 else rng.choice(own if kind == 1 else subject)) for kind in kinds
    )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root = tmp_path_factory.mktemp("open-set") / "corpus"
    for author in range(9):
        (root / f"author{author}").mkdir(parents=True)
        for number in range(12):
            (root / f"author{author}" / f"{number}.txt").write_text(article(author, number))
    return root


@pytest.fixture(scope="module")
def bundle(corpus):
    return train_ngrams(corpus, corpus.parent / "run", NgramOptions(views=BYTE_VIEWS, bits=16))


def test_the_rule_is_what_it_says():
    reading = NgramScores(
        scores=np.array([[0.7, -0.9], [0.1, 0.2]]),
        # By text, view, whether it is shared, author. The third view is not plain.
        parts=np.array(
            [
                [[[0.1, 0.0], [0.2, -0.1]], [[0.1, -0.3], [0.1, -0.1]], [[0.0, -0.2], [0.2, -0.2]]],
                [[[0.1, 0.0], [-0.1, 0.0]], [[0.0, 0.1], [0.1, 0.2]], [[0.2, -0.4], [-0.2, 0.3]]],
            ]
        ),
    )
    z = [(2 * 0.2 + 1.5 * 0.1 + 0.2 - 0.2) / 0.5, (2 * 0.0 + 1.5 * 0.2 + 0.3 + 0.1) / 0.25]
    evidence = 2 * np.array(z) + np.log([0.5, 0.1]) - 0.5
    values = known_author_score(reading, Decision("fusion", known_author_rule=RULE))
    assert values == pytest.approx(1 / (1 + np.exp(-evidence)))


def test_without_a_rule_it_is_the_standard_deviation():
    reading = NgramScores(np.array([[0.5, -0.5, 0.3]]), np.zeros((1, 1, 2, 3)))
    assert known_author_score(reading, Decision("fusion")) == np.array([0.5, -0.5, 0.3]).std()


def test_unknown_authors_have_lower_known_author_scores(bundle):
    scorer = Scorer(bundle)
    known = [row.known_author_score for row in scorer.score_texts(article(i % 9, 20 + i) for i in range(45))]
    unknown = [row.known_author_score for row in scorer.score_texts(article(20 + i % 9, i) for i in range(45))]
    assert auroc(np.array(known), np.array(unknown)) > 0.9


def test_scores_do_not_depend_on_other_documents(bundle):
    texts = ["x", *(article(i % 12, 30 + i, 10 + 10 * i) for i in range(12))]
    scorer = Scorer(bundle)
    together = [row.known_author_score for row in scorer.score_texts(texts)]
    assert together == [row.known_author_score for text in texts for row in scorer.score_texts([text])]
    assert all(value is not None and 0 <= value <= 1 for value in together)


def test_scoring_computes_what_training_fitted(corpus, bundle):
    """The thresholds were fitted on the same score that a document gets."""
    documents = load_corpus(corpus).documents
    texts, labels = [item.text for item in documents], np.array([item.label for item in documents])
    options = NgramOptions(views=BYTE_VIEWS, bits=16, weights="float32")
    everything = np.arange(len(texts))
    known = LabelledTexts(texts, labels, [item.path for item in documents])
    whole = OpenSetCorpus.counted(known, known[everything[:0]], options)
    model = fit(count(texts, labels, options), labels, 9, options)
    rule = bundle.decision.known_author_rule
    mean, deviation = whole.own_scores(everything)
    np.testing.assert_allclose(mean, rule.mean, atol=1e-6)
    np.testing.assert_allclose(deviation, rule.deviation, atol=1e-6)
    fitted = whole.features(everything, everything)[0].score(rule)
    decision = Decision("fusion", known_author_rule=rule)
    np.testing.assert_allclose(known_author_score(model.score_texts(texts), decision), fitted, atol=1e-3)


def test_nothing_is_fitted_on_authors_that_are_left_out(corpus, monkeypatch):
    """Vocabulary and common words must not come from their documents."""
    known = []

    def spy(training, held, options):
        known.append(
            {word.split("x")[0] for text in training.texts for word in text.split() if word.startswith("word")}
        )
        return plain(training, held, options)

    plain = open_set.SplitFit.on
    monkeypatch.setattr(open_set, "SplitFit", SimpleNamespace(on=spy))
    fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=16))
    assert [len(names) for names in known] == [6] * 6
    assert len(set.union(*known)) == 9


def test_the_result_does_not_depend_on_the_number_of_parallel_fits(corpus, monkeypatch):
    decisions = []
    for together in (1, 2):
        monkeypatch.setattr(open_set, "_TOGETHER", together)
        monkeypatch.setattr(open_set, "available_cores", lambda: 2)
        decisions.append(fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=16)).decision)
    assert decisions[0].known_author_rule is not None
    assert decisions[0] == decisions[1]


def test_thresholds_limit_the_share_of_unknown_authors_that_is_attributed(bundle):
    thresholds = [least for _, least in bundle.decision.false_attribution_thresholds]
    assert thresholds == sorted(thresholds, reverse=True)
    strict, lax = (Scorer(bundle, max_false_attribution=share) for share in (0.05, 0.5))
    texts = [article(20 + i % 9, i) for i in range(45)]
    attributed = [sum(row.status == "scored" for row in scorer.score_texts(texts)) for scorer in (strict, lax)]
    assert attributed[0] <= attributed[1]
    assert attributed[0] < 10


def test_at_most_the_given_share_of_unknown_authors_passes_a_threshold(monkeypatch, corpus):
    """Among the documents that the thresholds come from."""
    received = []

    def threshold(scores, share):
        received.append((scores, share, found := plain(scores, share)))
        return found

    plain = open_set._threshold
    monkeypatch.setattr(open_set, "_threshold", threshold)
    thresholds = fit_fusion(
        load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=14)
    ).decision.false_attribution_thresholds
    assert all((scores >= found).mean() <= share for scores, share, found in received)
    assert all(found <= dict(thresholds)[share] for _, share, found in received)
    # A fraction of one of the 45 held-out documents cannot be measured.
    assert min(share for share, _ in thresholds) == 0.03


@pytest.mark.parametrize("share", open_set.SHARES)
@pytest.mark.parametrize("values", [np.arange(100) / 100, np.repeat([0.2, 1.0], 50), np.ones(100)])
def test_documents_with_the_same_score_pass_a_threshold_together(values, share):
    assert (values >= open_set._threshold(values, share)).mean() <= share


def test_large_corpora_give_the_same_rule(corpus, monkeypatch):
    """Above a number of documents, the same sums are computed from inner products."""
    usual = fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=14)).decision
    monkeypatch.setattr(open_set, "LARGE_CORPUS", 0)
    large = fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=14)).decision
    for name in ("mean", "deviation", "z_weight", "spread_weight", "offset"):
        np.testing.assert_allclose(
            getattr(large.known_author_rule, name), getattr(usual.known_author_rule, name), rtol=1e-3, atol=1e-5
        )
    shares, scores = zip(*usual.false_attribution_thresholds, strict=True)
    assert tuple(share for share, _ in large.false_attribution_thresholds) == shares
    np.testing.assert_allclose([score for _, score in large.false_attribution_thresholds], scores, atol=1e-3)


def test_with_many_authors_some_are_left_out_and_the_progress_is_reported(corpus, monkeypatch):
    monkeypatch.setattr(open_set, "ENOUGH_AUTHORS", 6)  # nine authors in folds of three: two folds
    reporter = RecordingReporter()
    fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=14), reporter=reporter)
    assert [step[:2] for step in reporter.steps] == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_few_authors_cause_a_warning(corpus):
    found = fit_fusion(load_corpus(corpus), NgramOptions(views=BYTE_VIEWS, bits=14))
    assert [message for message in found.warnings if "only 9 authors" in message]


def test_no_rule_is_fitted_if_all_documents_are_alike(tmp_path):
    for author in range(4):
        (tmp_path / f"author{author}").mkdir()
        for number in range(6):
            (tmp_path / f"author{author}" / f"{number}.txt").write_text("ab " * (20 + 6 * author + number))
    found = fit_fusion(load_corpus(tmp_path), NgramOptions(views=BYTE_VIEWS, bits=14))
    assert found.decision.known_author_rule is None
    assert found.decision.false_attribution_thresholds == ()
    assert [message for message in found.warnings if "too much alike" in message]


def test_two_authors_are_too_few_to_learn_from(corpus, tmp_path):
    for author in ("author0", "author1"):
        shutil.copytree(corpus / author, tmp_path / "two" / author)
    found = fit_fusion(load_corpus(tmp_path / "two"), NgramOptions(views=BYTE_VIEWS, bits=14))
    assert found.decision.known_author_rule is None
    assert any("too few authors" in message for message in found.warnings)


def test_a_damaged_rule_is_refused(bundle, tmp_path):
    rule = json.loads((bundle.path / "authorid.json").read_text())["decision"]["known_author_rule"]
    changes = [
        *({name: rule[name][1:]} for name in rule if isinstance(rule[name], list)),
        {name: rule[name][1:] for name in ("mean", "deviation")},
        {"deviation": [0.0] * 9},
        *({name: [float("nan")] * len(rule[name])} for name in ("mean", "view_weights")),
        *({"plain_views": plain} for plain in ([99], [], [-1])),
        {"top": None},
    ]
    for number, change in enumerate(changes):
        copy = tmp_path / str(number)
        shutil.copytree(bundle.path, copy)
        changed = {"known_author_rule": {**rule, **change}}
        edit_record(copy / "authorid.json", lambda record, changed=changed: record["decision"].update(changed))
        with pytest.raises(BundleCorruptError):
            Scorer(load_bundle(copy))


def shrunk(level: float, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Means before and after the shrinkage, of six authors with ten documents and one without, `level` apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 10)
    own = level * np.arange(7)[labels] + chance * rng.standard_normal(70)
    own[60:] = np.nan
    means, deviations = open_set.by_author(own, np.ones(70), labels)
    assert means[6] == pytest.approx(means[:6].mean())
    assert (deviations > 0).all()
    return own[:60].reshape(6, 10).mean(axis=1), means[:6]


def test_authors_that_differ_by_chance_get_nearly_the_same_mean():
    before, after = shrunk(level=0.0, chance=1.0)
    assert before.std() > 0.2
    assert after.std() < 0.3 * before.std()


def test_authors_that_clearly_differ_keep_their_means():
    before, after = shrunk(level=1.0, chance=0.1)
    np.testing.assert_allclose(after, before, atol=0.02)


def test_the_shrinkage_grows_with_the_uncertainty():
    before, after = shrunk(level=0.3, chance=0.5)
    assert 0.2 * before.std() < after.std() < 0.8 * before.std()


@pytest.mark.parametrize("own", [[np.nan, np.nan], [0.5, np.nan], [0.5, 0.5], [0.5, 0.7]])
def test_with_too_few_documents_all_authors_have_the_same_mean(own):
    means, deviations = open_set.by_author(np.array(own), np.ones(2), np.arange(2))
    assert means[0] == means[1] == pytest.approx(0.0 if np.isnan(own).all() else np.nanmean(own))
    assert (deviations > 0).all()


def test_later_documents_have_more_weight_in_an_authors_mean(corpus):
    """An author who has changed is described by the recent documents."""
    documents = load_corpus(corpus).documents
    texts, labels = [item.text for item in documents], np.array([item.label for item in documents])
    paths = [item.path for item in documents]
    everything = np.arange(len(texts))
    # The first author's last two or first two of twelve documents are by another author: unlike the rest.
    found = {}
    for where in ("first", "last"):
        own = sorted(np.flatnonzero(labels == 0), key=lambda index: int(paths[index].split("/")[1][:-4]))
        changed = list(texts)
        for index in own[:2] if where == "first" else own[-2:]:
            changed[index] = article(30, int(index))
        known = LabelledTexts(changed, labels, paths)
        whole = OpenSetCorpus.counted(known, known[everything[:0]], NgramOptions(views=BYTE_VIEWS, bits=16))
        found[where] = whole.own_scores(everything)[0][0]
    assert found["last"] < found["first"]
