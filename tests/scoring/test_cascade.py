"""The cascade of both models: what each effort computes, when rounds end, and what the answers depend on."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from fusion_bundle import DOCUMENTS, make_fusion_bundle
from json_records import edit_record
from other_texts import encoded_data, foreign_text, number_table, source_code
from tiny import AUTHORS, prose

from authorid.bundle.decision import Decision
from authorid.bundle.effort import EffortRule
from authorid.bundle.manifest import load_bundle
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.windows import Window, Windower
from authorid.errors import BundleLacksError
from authorid.inputs.documents import Document, DocumentRef
from authorid.scoring.cascade import Cascade
from authorid.scoring.document_state import DocumentState
from authorid.scoring.scorer import Scorer

pytest.importorskip("scipy")


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle with an n-gram model and an encoder for the three authors."""
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


def answers(rows):
    return [(row.path, row.status, row.ranking, row.known_author_score) for row in rows]


def test_the_effort_decides_how_many_windows_the_encoder_sees(both):
    windows = {
        effort: [row.windows for row in Scorer(both, effort=effort).score_texts(DOCUMENTS)]
        for effort in ("fast", "auto", "full")
    }
    assert set(windows["fast"]) == {0}
    assert min(windows["full"]) >= 1
    assert all(some <= every for some, every in zip(windows["auto"], windows["full"], strict=True))


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_rankings_do_not_depend_on_neighbouring_documents(both, effort):
    scorer = Scorer(both, effort=effort)
    together = list(scorer.score_texts(DOCUMENTS))
    alone = [row for text in DOCUMENTS for row in scorer.score_texts([text])]
    assert [row.ranking for row in together] == [row.ranking for row in alone]


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_answers_do_not_depend_on_the_number_of_workers(both, effort):
    one, two = (Scorer(both, EngineOptions(workers=workers), effort=effort) for workers in (1, 2))
    texts = DOCUMENTS * 9  # several chunks for each worker
    assert answers(one.score_texts(texts)) == answers(two.score_texts(texts))
    if effort == "fast":
        assert [scorer.describe()["workers"] for scorer in (one, two)] == [1, 2]


def test_every_answer_names_the_models_that_gave_it(both, bundle):
    text = " ".join(prose(AUTHORS[0], 200, seed=i) for i in range(5))
    for scorer, expert in (
        (Scorer(both, effort="fast"), "ngrams"),
        (Scorer(both, effort="full"), "both"),
        (Scorer(bundle), "encoder"),
    ):
        row, failed = scorer.score_texts([text, None])
        assert (row.expert, row.windows > 0) == (expert, expert != "ngrams")
        assert failed.expert is None


def test_rounds_stop_when_the_posterior_has_settled(both):
    text = " ".join(prose(AUTHORS[0], 200, seed=i) for i in range(5))
    uncertain = replace(both, decision=replace(both.decision, exit_threshold=1.0, ngram_weight=0.01))
    full = next(iter(Scorer(uncertain, effort="full").score_texts([text])))
    auto = next(iter(Scorer(uncertain, effort="auto").score_texts([text])))
    assert 2 <= auto.windows < full.windows
    assert auto.author == full.author


def test_a_round_follows_unless_the_answer_is_steady_and_leads_clearly(both):
    cascade = Cascade(None, None, replace(both.decision, exit_threshold=1.0), AUTHORS, "auto")
    first, leading, even = [0.49, 0.33, 0.18], [0.5, 0.32, 0.18], [0.42, 0.4, 0.18]

    def windows_of_next_round(previous, current):
        state = DocumentState(0, Document(DocumentRef("a"), "", "utf-8", ""), 0.0, previous=np.array(previous))
        state.unseen = [Window(0, i, np.zeros(3, np.int32)) for i in range(4)]
        state.expect(6, len(AUTHORS))
        for position in range(2):
            state.record(position, np.zeros(3, np.float32))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Cascade, "posterior", lambda self, state: np.array(current))
            return len(cascade.next_round(state))

    assert windows_of_next_round(first, leading) == 0  # settled
    assert windows_of_next_round(even, [0.41, 0.41, 0.18]) == 2  # as many as were seen
    assert windows_of_next_round(first, [0.55, 0.27, 0.18]) == 2  # the probability still changes
    assert windows_of_next_round([0.33, 0.49, 0.18], leading) == 2  # the author changed


def test_logits_that_are_not_finite_make_the_document_fail(both):
    cascade = Cascade(None, None, both.decision, AUTHORS, "auto")
    state = DocumentState(0, Document(DocumentRef("a"), "", "utf-8", ""), 0.0)
    cascade.first_round(state, [Window(0, 0, np.zeros(3, np.int32))])
    state.record(0, np.array([0, np.nan, 0], np.float32))
    assert cascade.next_round(state) == []
    assert state.error == "the model failed on this document: its answer is not a number"


def test_an_encoder_of_weight_zero_is_not_loaded(both):
    weightless = replace(both, decision=replace(both.decision, encoder_weight=0.0))
    scorer = Scorer(weightless, effort="auto")
    assert scorer.engine is None
    assert [row.windows for row in scorer.score_texts(DOCUMENTS)] == [0] * len(DOCUMENTS)


def test_a_bundle_without_ngrams_refuses_effort_fast_and_thresholds_for_unknown_authors(bundle):
    with pytest.raises(BundleLacksError, match="no n-gram model"):
        Scorer(bundle, effort="fast")
    with pytest.raises(BundleLacksError, match="unknown authors"):
        Scorer(bundle, max_false_attribution=0.05)


def test_unknown_rows_keep_their_ranking(both):
    scorer = Scorer(both, max_false_attribution=0.0)
    rows = list(scorer.score_texts(DOCUMENTS))
    assert {row.status for row in rows} == {"unknown"}
    assert all(len(row.ranking) == 3 for row in rows)
    lenient = Scorer(both, max_false_attribution=1.0)
    assert {row.status for row in lenient.score_texts(DOCUMENTS)} == {"scored"}


EFFORTS = ("fast", "auto", "full")
ELSEWHERE = [foreign_text("fi", 0), foreign_text("zh", 0), source_code(1), encoded_data(0), number_table(0)]


def test_what_is_unlike_anything_in_training_is_unknown_whatever_the_effort(both):
    texts = [*DOCUMENTS, *ELSEWHERE]
    rows = {effort: list(Scorer(both, effort=effort).score_texts(texts)) for effort in EFFORTS}
    assert {row.status for row in rows["full"][: len(DOCUMENTS)]} == {"scored"}
    unlike = {effort: found[len(DOCUMENTS) :] for effort, found in rows.items()}
    assert unlike["fast"] == unlike["auto"] == unlike["full"]
    assert {(row.status, row.reason, row.windows) for row in unlike["full"]} == {
        ("unknown", "unlike anything in training", 0)
    }
    assert all(len(row.ranking) == 3 and row.coverage < both.decision.coverage_threshold for row in unlike["full"])


def test_any_text_is_attributed_on_request(both):
    for effort in EFFORTS:
        rows = list(Scorer(both, effort=effort, any_text=True).score_texts(ELSEWHERE))
        assert {(row.status, row.reason) for row in rows} == {("scored", None)}
        assert {
            row.status for row in Scorer(both, effort=effort, max_false_attribution=1.0).score_texts(ELSEWHERE)
        } == {"unknown"}


def test_an_unknown_row_has_a_reason(both):
    (row,) = Scorer(both, max_false_attribution=0.0).score_texts(DOCUMENTS[-1:])
    assert row.reason == "known-author score below the threshold"
    certain = replace(both, decision=replace(both.decision, unknown_threshold=1.0))
    assert next(iter(Scorer(certain).score_texts(DOCUMENTS[-1:]))).reason == "probability below the threshold"


NO_TEXT = {
    "zero-width": "\u200b\u200c\u200d\ufeff" * 40,
    "private use": "\ue000\uf8ff\U000f0000" * 40,
    "replacement characters": "\ufffd" * 90,
    "combining marks": "\u0301\u0328\u05b0" * 40,
    "emoji": "\U0001f600\U0001f44d\u2764\ufe0f " * 30,
    "punctuation": "?! ... -- ; (_) " * 20,
    "symbols": "+ = < > \u20ac $ \u2211 \u2192 " * 20,
    "Hangul fillers": "\u115f\u1160\u3164\uffa0" * 30,
    "Braille blanks": "\u2800" * 60,
    "direction marks": "\u202e\u2066\u200f" * 40,
}


@pytest.mark.parametrize("kind", NO_TEXT)
def test_a_document_without_a_letter_or_digit_fails_whatever_the_effort(both, kind, tmp_path):
    (tmp_path / "a.txt").write_text(NO_TEXT[kind], "utf-8")
    for effort in EFFORTS:
        scorer = Scorer(both, effort=effort)
        for row in (*scorer.score_texts([NO_TEXT[kind]]), *scorer.score([tmp_path])):
            assert (row.status, row.error) == ("failed", "no text (no letter or digit)")


@pytest.mark.parametrize("text", ["7 8 9", "\u0967\u0968", "\u2163", "a\u200b", "\ufffd\ufffd x", "\u0e01\u0e33"])
def test_a_document_with_a_letter_or_digit_has_an_answer_at_every_effort(both, text):
    for effort in EFFORTS:
        (row,) = Scorer(both, effort=effort).score_texts([text])
        assert row.status in ("scored", "unknown")


def test_the_ngrams_answer_where_the_tokenizer_finds_nothing(both, monkeypatch):
    monkeypatch.setattr(Windower, "windows", lambda self, ids, number: [])
    (alone,) = Scorer(both, effort="fast").score_texts(DOCUMENTS[-1:])
    assert alone.status == "scored"
    for effort in ("auto", "full"):
        uncertain = replace(both, decision=replace(both.decision, exit_threshold=1.0))
        assert list(Scorer(uncertain, effort=effort).score_texts(DOCUMENTS[-1:])) == [alone]
    encoder_only = replace(both, ngrams=None, decision=Decision())
    (row,) = Scorer(encoder_only).score_texts(DOCUMENTS[-1:])
    assert (row.status, row.error) == ("failed", "no text (no tokens)")


def test_short_texts_get_less_certain_answers(both):
    short, long = Scorer(both, effort="fast").score_texts(["oar", prose("Ben", 300)])
    assert short.probability < long.probability


@pytest.mark.parametrize("default", EFFORTS)
def test_the_bundle_has_a_default_effort(both, tmp_path, default):
    copy = tmp_path / "copy"
    shutil.copytree(both.path, copy)
    edit_record(copy / "authorid.json", lambda record: record.update(effort={"default": default, "least_gain": 0.5}))
    measured = load_bundle(copy)
    assert measured.effort_rule == EffortRule(default, 0.5)
    assert measured.default_effort == Scorer(measured).effort == default
    assert Scorer(measured, effort="full").effort == "full"
    assert both.default_effort == Scorer(both).effort == "auto"  # as in all bundles before it was measured


def test_a_bundle_with_one_of_the_two_models_leaves_no_choice(both, bundle):
    assert Scorer(bundle).effort == Scorer(bundle, effort="auto").effort == "full"
    alone = replace(both, graphs={}, effort_rule=EffortRule("auto"))
    assert alone.default_effort == Scorer(alone).effort == "fast"


def test_the_encoder_reads_where_the_expected_gain_per_window_is_large_enough(both):
    """The gain is the squared ratio of the two highest probabilities, divided by the number of windows."""
    texts = [*DOCUMENTS, *(" ".join(DOCUMENTS[i::3]) for i in range(3))]
    even = replace(both, decision=replace(both.decision, ngram_weight=0.05))
    fast, full = (list(Scorer(even, effort=effort).score_texts(texts)) for effort in ("fast", "full"))
    gains = [
        (row.ranking[1][1] / row.ranking[0][1]) ** 2 / every.windows for row, every in zip(fast, full, strict=True)
    ]
    least = float(np.median(gains))
    scorer = Scorer(replace(even, effort_rule=EffortRule("auto", least)))
    for rows in (list(scorer.score_texts(texts)), scorer.predict(texts)):
        assert [row.expert for row in rows] == ["both" if gain >= least else "ngrams" for gain in gains]
    assert {row.expert for row in rows} == {"both", "ngrams"}
    explained = list(scorer.score_texts(texts, explain=True))
    assert all(json.loads(row.explanation)["author"] == row.ranking[0][0] for row in explained)


def test_the_limit_of_windows_bounds_what_every_effort_reads(both):
    text = " ".join(DOCUMENTS * 20)
    limits = {0: [], 9: []}
    for limit, rows in limits.items():
        for effort in ("auto", "full"):
            scorer = Scorer(
                replace(both, decision=replace(both.decision, ngram_weight=0.01)),
                EngineOptions(max_windows=limit),
                effort=effort,
            )
            rows += scorer.score_texts([text], evidence=True)
            assert scorer.describe()["max_windows"] == limit
    assert [row.windows == len(row.evidence) <= 9 for row in limits[9]] == [True, True]
    assert limits[9][1].windows == 9 < limits[0][1].windows
    assert Scorer(both, effort="fast").describe()["max_windows"] is None


def test_a_limited_document_has_the_same_bits_whatever_the_neighbours_and_threads(both):
    huge = " ".join(DOCUMENTS * 40)  # only passages of it are tokenized
    scorers = [Scorer(both, EngineOptions(workers=count, max_windows=5), effort="full") for count in (1, 2)]
    rows = [next(iter(scorers[0].score_texts([huge])))]
    for scorer in scorers:
        rows.append(list(scorer.score_texts([*DOCUMENTS, huge, *DOCUMENTS]))[len(DOCUMENTS)])
        rows.append(scorer.predict([huge, *DOCUMENTS])[0])
    assert len({(row.ranking, row.windows, row.tokens) for row in rows}) == 1
    assert (rows[0].windows, rows[0].tokens) == (5, 5 * both.window.length)
