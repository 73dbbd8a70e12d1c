"""Texts by unknown authors: that they look less familiar than others, and that the rule is what it says."""

from __future__ import annotations

import json
import shutil

import numpy as np
import pytest

from authorid.bundle.decision import Decision, KnownAuthorRule
from authorid.bundle.manifest import BundleCorruptError, load_bundle
from authorid.ngrams.model import NgramScores
from authorid.scoring.attribution import known_author_score
from authorid.scoring.scorer import Scorer

pytest.importorskip("scipy")
from authorid.training import open_set as strangers
from authorid.training.corpus import load_corpus
from authorid.training.fusion import learn
from authorid.training.ngram_fit import NgramOptions, count, fit
from authorid.training.ngram_run import train_ngrams
from authorid.training.open_set import Compared, auroc

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
    """Four subjects are shared by everybody; each author has habits, and a few words that nobody else has."""
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
    root = tmp_path_factory.mktemp("strangers") / "corpus"
    for author in range(9):
        (root / f"author{author}").mkdir(parents=True)
        for number in range(12):
            (root / f"author{author}" / f"{number}.txt").write_text(article(author, number))
    return root


@pytest.fixture(scope="module")
def bundle(corpus):
    return train_ngrams(corpus, corpus.parent / "run", NgramOptions(bits=16))


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
    standing = [(2 * 0.2 + 1.5 * 0.1 + 0.2 - 0.2) / 0.5, (2 * 0.0 + 1.5 * 0.2 + 0.3 + 0.1) / 0.25]
    evidence = 2 * np.array(standing) + np.log([0.5, 0.1]) - 0.5
    values = known_author_score(reading, Decision("fusion", known_author_rule=RULE))
    assert values == pytest.approx(1 / (1 + np.exp(-evidence)))


def test_without_a_rule_it_is_the_standard_deviation():
    reading = NgramScores(np.array([[0.5, -0.5, 0.3]]), np.zeros((1, 1, 2, 3)))
    assert known_author_score(reading, Decision("fusion")) == np.array([0.5, -0.5, 0.3]).std()


def test_strangers_look_less_familiar(bundle):
    scorer = Scorer(bundle)
    known = [row.known_author_score for row in scorer.score_texts(article(i % 9, 20 + i) for i in range(45))]
    strange = [row.known_author_score for row in scorer.score_texts(article(20 + i % 9, i) for i in range(45))]
    assert auroc(np.array(known), np.array(strange)) > 0.9


def test_neighbours_change_nothing(bundle):
    texts = ["x", *(article(i % 12, 30 + i, 10 + 10 * i) for i in range(12))]
    scorer = Scorer(bundle)
    together = [row.known_author_score for row in scorer.score_texts(texts)]
    assert together == [row.known_author_score for text in texts for row in scorer.score_texts([text])]
    assert all(value is not None and 0 <= value <= 1 for value in together)


def test_scoring_and_training_mean_the_same(corpus, bundle):
    """What the thresholds were learnt on is what a text is measured by."""
    documents = load_corpus(corpus).documents
    texts, labels = [item.text for item in documents], np.array([item.label for item in documents])
    options = NgramOptions(bits=16, weights="float32")
    everything = np.arange(len(texts))
    whole = Compared.counted([item.path for item in documents], texts, labels, everything, options)
    expert = fit(count(texts, labels, options), labels, 9, options)
    rule = bundle.decision.known_author_rule
    usual, deviation = whole.own_scores(everything)
    np.testing.assert_allclose(usual, rule.mean, atol=1e-6)
    np.testing.assert_allclose(deviation, rule.deviation, atol=1e-6)
    learnt = whole.traits(everything, everything).score(rule)
    decision = Decision("fusion", known_author_rule=rule)
    np.testing.assert_allclose(known_author_score(expert.score_texts(texts), decision), learnt, atol=1e-3)


def test_nothing_is_learnt_from_strangers(corpus, monkeypatch):
    """Which n-grams there are, and which words are common, strangers must not have had a say in."""
    known = []

    def spy(texts, labels, options, training):
        known.append({word.split("x")[0] for i in training for word in texts[i].split() if word.startswith("word")})
        return count(texts, labels, options, training)

    monkeypatch.setattr(strangers, "count", spy)
    learn(load_corpus(corpus), NgramOptions(bits=16))
    assert [len(names) for names in known] == [6] * 6
    assert len(set.union(*known)) == 9


def test_how_many_fits_go_on_at_a_time_changes_nothing(corpus, monkeypatch):
    decisions = []
    for together in (1, 2):
        monkeypatch.setattr(strangers, "_TOGETHER", together)
        monkeypatch.setattr(strangers, "available_cores", lambda: 2)
        decisions.append(learn(load_corpus(corpus), NgramOptions(bits=16)).decision)
    assert decisions[0].known_author_rule is not None
    assert decisions[0] == decisions[1]


def test_thresholds_are_shares_of_strangers(bundle):
    thresholds = [least for _, least in bundle.decision.false_attribution_thresholds]
    assert thresholds == sorted(thresholds, reverse=True)
    strict, lax = (Scorer(bundle, max_false_attribution=share) for share in (0.05, 0.5))
    texts = [article(20 + i % 9, i) for i in range(45)]
    attributed = [sum(row.status == "scored" for row in scorer.score_texts(texts)) for scorer in (strict, lax)]
    assert attributed[0] <= attributed[1]
    assert attributed[0] < 10


def test_no_more_of_the_strangers_are_let_through_than_was_said(monkeypatch, corpus):
    """In the very documents that the thresholds come from."""
    heard = []

    def least(familiar, share):
        heard.append((familiar, share, found := plain(familiar, share)))
        return found

    plain = strangers._least
    monkeypatch.setattr(strangers, "_least", least)
    thresholds = learn(load_corpus(corpus), NgramOptions(bits=14)).decision.false_attribution_thresholds
    assert all((familiar >= found).mean() <= share for familiar, share, found in heard)
    assert all(found <= dict(thresholds)[share] for _, share, found in heard)
    # A fraction of one of the 45 held-out documents cannot be measured.
    assert min(share for share, _ in thresholds) == 0.03


@pytest.mark.parametrize("share", strangers.SHARES)
@pytest.mark.parametrize("values", [np.arange(100) / 100, np.repeat([0.2, 1.0], 50), np.ones(100)])
def test_ties_are_let_through_together_or_not_at_all(values, share):
    assert (values >= strangers._least(values, share)).mean() <= share


def test_few_authors_are_warned_of(corpus):
    found = learn(load_corpus(corpus), NgramOptions(bits=14))
    assert [message for message in found.warnings if "only 9 authors" in message]


def test_documents_that_are_all_alike_say_nothing_about_strangers(tmp_path):
    for author in range(4):
        (tmp_path / f"author{author}").mkdir()
        for number in range(6):
            (tmp_path / f"author{author}" / f"{number}.txt").write_text("ab " * (20 + 6 * author + number))
    found = learn(load_corpus(tmp_path), NgramOptions(bits=14))
    assert found.decision.known_author_rule is None
    assert found.decision.false_attribution_thresholds == ()
    assert [message for message in found.warnings if "too much alike" in message]


def test_two_authors_are_too_few_to_learn_from(corpus, tmp_path):
    for author in ("author0", "author1"):
        shutil.copytree(corpus / author, tmp_path / "two" / author)
    experts = learn(load_corpus(tmp_path / "two"), NgramOptions(bits=14))
    assert experts.decision.known_author_rule is None
    assert any("too few authors" in message for message in experts.warnings)


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
        record = json.loads((copy / "authorid.json").read_text())
        record["decision"]["known_author_rule"] = {**rule, **change}
        (copy / "authorid.json").write_text(json.dumps(record))
        with pytest.raises(BundleCorruptError):
            Scorer(load_bundle(copy))


def drawn_together(level: float, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Six authors with ten documents each and one with none: means before and after, of levels so far apart."""
    rng = np.random.default_rng(0)
    labels = np.repeat(np.arange(7), 10)
    own = level * np.arange(7)[labels] + chance * rng.standard_normal(70)
    own[60:] = np.nan
    means, deviations = strangers._by_author(own, np.ones(70), labels)
    assert means[6] == pytest.approx(means[:6].mean())
    assert (deviations > 0).all()
    return own[:60].reshape(6, 10).mean(axis=1), means[:6]


def test_authors_who_differ_by_chance_only_are_nearly_taken_for_one():
    before, after = drawn_together(level=0.0, chance=1.0)
    assert before.std() > 0.2
    assert after.std() < 0.3 * before.std()


def test_authors_who_differ_for_certain_stay_apart():
    before, after = drawn_together(level=1.0, chance=0.1)
    np.testing.assert_allclose(after, before, atol=0.02)


def test_authors_are_drawn_together_the_more_the_less_is_known():
    before, after = drawn_together(level=0.3, chance=0.5)
    assert 0.2 * before.std() < after.std() < 0.8 * before.std()


@pytest.mark.parametrize("own", [[np.nan, np.nan], [0.5, np.nan], [0.5, 0.5], [0.5, 0.7]])
def test_what_little_is_known_is_usual_for_all(own):
    means, deviations = strangers._by_author(np.array(own), np.ones(2), np.arange(2))
    assert means[0] == means[1] == pytest.approx(0.0 if np.isnan(own).all() else np.nanmean(own))
    assert (deviations > 0).all()


def test_later_documents_say_more_about_what_is_usual(corpus):
    """Who has changed is measured by how it is now."""
    documents = load_corpus(corpus).documents
    texts, labels = [item.text for item in documents], np.array([item.label for item in documents])
    paths = [item.path for item in documents]
    options = NgramOptions(bits=16)
    everything = np.arange(len(texts))
    # The first author's last two or first two of twelve documents are another's: unlike the rest.
    found = {}
    for where in ("first", "last"):
        own = sorted(np.flatnonzero(labels == 0), key=lambda index: int(paths[index].split("/")[1][:-4]))
        changed = list(texts)
        for index in own[:2] if where == "first" else own[-2:]:
            changed[index] = article(30, int(index))
        whole = Compared.counted(paths, changed, labels, everything, options)
        found[where] = whole.own_scores(everything)[0][0]
    assert found["last"] < found["first"]
