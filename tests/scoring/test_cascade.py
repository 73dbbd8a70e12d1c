"""Two experts together: who is asked, and that answers stay the same."""

from __future__ import annotations

import itertools
import json
import threading
import time
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
from tiny import AUTHORS, make_bundle, prose

from authorid.bundle.decision import Decision
from authorid.bundle.manifest import BundleCorruptError, load_bundle
from authorid.encoder.batching import Batcher
from authorid.encoder.engine import EngineOptions
from authorid.encoder.windows import Window
from authorid.errors import BundleLacksError, OutputError
from authorid.inputs.documents import Document, DocumentRef
from authorid.ngrams.model import NgramModel
from authorid.scoring.cascade import Cascade, Pending
from authorid.scoring.scorer import Scorer, _Stream

pytest.importorskip("scipy")
from authorid import training
from authorid.scoring.attribution import log_softmax, ngram_evidence, posterior
from authorid.training.corpus import load_corpus
from authorid.training.fusion import learn, stack
from authorid.training.ngram_fit import NgramOptions
from authorid.training.ngram_run import export_ngrams, train_ngrams
from authorid.training.open_set import auroc


def write_corpus(root, documents=5, words=80):
    for number, author in enumerate(AUTHORS):
        (root / author).mkdir(parents=True)
        for i in range(documents):
            (root / author / f"{i}.txt").write_text(prose(author, words, seed=100 * number + i))
    return root


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle of both experts for the three authors."""
    root = tmp_path_factory.mktemp("both")
    told = []
    train_ngrams(write_corpus(root / "corpus"), root / "run", NgramOptions(bits=14), told=told.append)
    assert any(message.startswith("warning: fewer than 10 documents") for message in told)
    make_bundle(root / "encoder")
    return export_ngrams(root / "run", root / "bundle", encoder=root / "encoder", weight=0.5)


@pytest.fixture(scope="module")
def documents():
    return [prose(AUTHORS[i % 3], 3 + 7 * i, seed=i) for i in range(30)]


def bits(rows):
    return [(row.path, row.status, row.ranking, row.known_author_score) for row in rows]


def test_n_grams_beside_another_encoder_are_told_of_in_the_card_once(tmp_path, both):
    again = export_ngrams(both.path.parent / "run", tmp_path / "again", encoder=both.path, weight=0.25)
    card = (again.path / "README.md").read_text("utf-8")
    assert card.count("## N-grams beside the encoder") == 1
    assert "have the weight 0.25" in card and "have the weight 0.5" not in card
    assert again.decision.encoder_weight == 0.25
    assert export_ngrams(again.path, tmp_path / "other", weight=0.75).decision.encoder_weight == 0.75


def test_a_weight_without_an_encoder_is_refused(tmp_path, both):
    with pytest.raises(OutputError, match="encoder"):
        export_ngrams(both.path.parent / "run", tmp_path / "bundle", weight=0.5)
    assert not (tmp_path / "bundle").exists()


def test_a_run_without_encoder_is_a_bundle(tmp_path, documents):
    bundle = train_ngrams(write_corpus(tmp_path / "corpus"), tmp_path / "run", NgramOptions(bits=14))
    assert load_bundle(tmp_path / "run").graphs == {}
    rows = list(Scorer(bundle).score_texts(documents))
    assert [row.author for row in rows[3:]] == [AUTHORS[i % 3] for i in range(3, 30)]
    assert all(row.windows == 0 for row in rows)
    again = train_ngrams(write_corpus(tmp_path / "c2"), tmp_path / "run", NgramOptions(bits=14), force=True)
    assert bits(Scorer(again).score_texts(documents)) == bits(rows)


@pytest.mark.parametrize(
    "train", [train_ngrams, partial(training.train, options=training.TrainingOptions(base_model="none"))]
)
def test_a_run_that_could_not_be_written_is_refused_before_anything_is_read(tmp_path, train):
    (tmp_path / "file").write_text("")
    with pytest.raises(OutputError, match="cannot write there"):
        train(tmp_path / "no corpus", tmp_path / "file" / "run")


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_out_of_memory_in_the_ngrams_costs_one_document(both, documents, effort, monkeypatch):
    scorer = Scorer(both, effort=effort)
    expected = list(scorer.score_texts(documents))
    read = NgramModel.read

    def greedy(self, texts):
        if documents[4] in texts:
            raise MemoryError("no room")
        return read(self, texts)

    monkeypatch.setattr(NgramModel, "read", greedy)
    rows = list(scorer.score_texts(documents))
    assert rows[4].error == "the n-grams failed on this document: no room"
    assert bits(rows[:4] + rows[5:]) == bits(expected[:4] + expected[5:])


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_neighbours_change_nothing(both, documents, effort):
    scorer = Scorer(both, effort=effort)
    together = list(scorer.score_texts(documents))
    alone = [row for text in documents for row in scorer.score_texts([text])]
    assert [row.ranking for row in together] == [row.ranking for row in alone]


def test_the_encoder_sees_as_much_as_the_effort_says(both, documents):
    windows = {
        effort: [row.windows for row in Scorer(both, effort=effort).score_texts(documents)]
        for effort in ("fast", "auto", "full")
    }
    assert set(windows["fast"]) == {0}
    assert min(windows["full"]) >= 1
    assert all(some <= every for some, every in zip(windows["auto"], windows["full"], strict=True))


def test_rounds_stop_when_the_posterior_has_settled(both):
    text = " ".join(prose(AUTHORS[0], 200, seed=i) for i in range(5))
    unsure = replace(both, decision=replace(both.decision, exit_threshold=1.0, ngram_weight=0.01))
    full = next(iter(Scorer(unsure, effort="full").score_texts([text])))
    auto = next(iter(Scorer(unsure, effort="auto").score_texts([text])))
    assert 2 <= auto.windows < full.windows
    assert auto.author == full.author


def test_the_next_round_is_asked_for_where_two_authors_are_nearly_even(both):
    experts = Cascade(None, None, None, replace(both.decision, exit_threshold=1.0), "auto")
    calm, leading, even = [0.49, 0.33, 0.18], [0.5, 0.32, 0.18], [0.42, 0.4, 0.18]

    def asks(before, now):
        waiting = [Window(0, i, np.zeros(3, np.int32)) for i in range(4)]
        pending = Pending(0, Document(DocumentRef("a"), "", "utf-8", ""), 0.0, last=np.array(before), waiting=waiting)
        pending.seen = np.array([True, True, False, False, False, False])
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Cascade, "posterior", lambda self, pending: np.array(now))
            return len(experts.ask_more(pending))

    assert asks(calm, leading) == 0  # settled
    assert asks(even, [0.41, 0.41, 0.18]) == 2  # as many as it has seen
    assert asks(calm, [0.55, 0.27, 0.18]) == 2  # it still moves
    assert asks([0.33, 0.49, 0.18], leading) == 2  # another author


def test_many_documents_in_rounds_do_not_block(both):
    unsure = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    texts = [prose(AUTHORS[i % 3], 300, seed=i) for i in range(400)]
    assert len(list(Scorer(unsure, effort="auto").score_texts(texts))) == 400


@pytest.mark.promise("broken-thread")
def test_a_worker_that_breaks_is_heard_of_while_rounds_wait_for_room(both, monkeypatch):
    """The only worker goes when the pool has room for one window: later rounds must not wait for more."""
    monkeypatch.setattr("authorid.scoring.scorer.Batcher", partial(Batcher, capacity=1))
    get, calls = Batcher.get, itertools.count()

    def broken(batcher):
        if next(calls) == 60:
            time.sleep(0.1)  # the answers before have come, and rounds follow
            raise MemoryError("no room")
        return get(batcher)

    monkeypatch.setattr(Batcher, "get", broken)
    unsure = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    outcome = []

    def score():
        try:
            list(Scorer(unsure, EngineOptions(workers=1)).score_texts(prose(AUTHORS[i % 3], 900, i) for i in range(50)))
        except MemoryError as error:
            outcome.append(str(error))

    thread = threading.Thread(target=score, daemon=True)
    thread.start()
    thread.join(timeout=20)
    assert outcome == ["no room"]


@pytest.mark.promise("backpressure")
def test_unsure_documents_do_not_pile_up_while_nobody_takes_rows(both, monkeypatch):
    monkeypatch.setattr("authorid.scoring.scorer.Batcher", partial(Batcher, begun=200))
    monkeypatch.setattr("authorid.scoring.scorer._CHUNKS", (2, 2))
    unsure = replace(both, decision=replace(both.decision, exit_threshold=1.0))
    scorer = Scorer(unsure)
    texts = [prose(AUTHORS[i % 3], 700, i) for i in range(400)]  # 50 windows each
    taken = itertools.count()
    rows = scorer.score_texts(text for text in texts if next(taken) >= 0)
    first = next(rows)
    time.sleep(1)
    # Four or five are begun; two starters have two each, four wait for them, and the feeder has one.
    assert next(taken) < 30
    assert bits([first, *rows]) == bits(Scorer(unsure).score_texts(texts))


def test_a_document_of_more_windows_than_may_be_begun_passes(both, monkeypatch):
    texts = [prose(AUTHORS[i % 3], 700, i) for i in range(6)]
    expected = bits(Scorer(both, effort="full").score_texts(texts))
    monkeypatch.setattr("authorid.scoring.scorer.Batcher", partial(Batcher, begun=1))
    assert bits(Scorer(both, effort="full").score_texts(texts)) == expected


def test_an_encoder_without_a_say_is_not_asked(both, documents):
    mute = replace(both, decision=replace(both.decision, encoder_weight=0.0))
    scorer = Scorer(mute, effort="auto")
    assert scorer.engine is None
    assert [row.windows for row in scorer.score_texts(documents)] == [0] * len(documents)


def test_fast_needs_ngrams(bundle):
    with pytest.raises(BundleLacksError, match="no n-gram expert"):
        Scorer(bundle, effort="fast")
    with pytest.raises(BundleLacksError, match="unknown authors"):
        Scorer(bundle, max_false_attribution=0.05)


def test_unknown_rows_keep_their_candidates(both, documents):
    scorer = Scorer(both, max_false_attribution=0.0)
    rows = list(scorer.score_texts(documents))
    assert {row.status for row in rows} == {"unknown"}
    assert all(len(row.ranking) == 3 for row in rows)
    everybody = Scorer(both, max_false_attribution=1.0)
    assert {row.status for row in everybody.score_texts(documents)} == {"scored"}


def test_short_texts_get_flat_answers(both):
    short, long = Scorer(both, effort="fast").score_texts(["oar", prose("Ben", 300)])
    assert short.probability < long.probability


def test_the_rule_is_what_it_says():
    decision = Decision("fusion", temperature=2.0, ngram_weight=3.0, encoder_weight=0.5, half_length=100.0, spread=1.5)
    scores, logits = np.array([0.5, -0.2, -0.9]), np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    centred = (scores - scores.mean()) / scores.std() ** 1.5
    logs = (logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))).mean(axis=0)
    expected = np.exp((3.0 * 300 / 400 * centred + 0.5 * logs) / 2)
    np.testing.assert_allclose(posterior(logits, decision, scores, 300), expected / expected.sum())
    np.testing.assert_allclose(posterior(None, decision, scores, 0), 1 / 3)
    alone = np.exp(3.0 * 300 / 400 * centred)  # the temperature is that of both together
    np.testing.assert_allclose(posterior(None, decision, scores, 300), alone / alone.sum())


def test_a_manifest_that_does_not_fit_is_refused(both, tmp_path):
    import shutil

    for change in ({"ngrams": None}, {"ngrams": "../x.safetensors"}, {"ngrams": "config.json"}):
        copy = tmp_path / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(both.path, copy)
        record = json.loads((copy / "authorid.json").read_text())
        (copy / "authorid.json").write_text(json.dumps({**record, **change}))
        with pytest.raises(BundleCorruptError):
            load_bundle(copy)


def test_strictness_follows_the_share():
    decision = Decision("fusion", false_attribution_thresholds=((0.05, 0.9), (0.1, 0.8)))
    assert decision.with_false_attribution(0.07).known_author_threshold == 0.9
    assert decision.with_false_attribution(0.2).known_author_threshold == 0.8
    assert decision.with_false_attribution(0.01).known_author_threshold > 1e300


def test_stacking_gives_noise_no_weight():
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 5, 400)
    good = np.eye(5)[truth] + rng.normal(0, 0.5, (400, 5))
    noise = rng.normal(0, 1, (400, 5))
    base = Decision("fusion", ngram_weight=2.0)
    sizes = np.full(400, 3000)
    assert stack(good, noise, sizes, truth, base).encoder_weight <= 0.05
    assert stack(good, 2 * np.eye(5)[truth] + noise, sizes, truth, base).encoder_weight > 0.3


def test_the_temperature_is_what_the_encoder_changes_about_that_of_the_ngrams():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 3000)
    ngrams, encoder = (np.eye(5)[truth] + rng.normal(0, 1, (3000, 5)) for _ in range(2))
    found = stack(ngrams, encoder, np.full(3000, 3000), truth, Decision("fusion", ngram_weight=1.0))
    assert found.encoder_weight > 0
    alone = ngram_evidence(ngrams, np.full(3000, 3000), found)

    def likeliest(evidence):
        heats = np.geomspace(0.4, 4, 1000)
        return heats[np.argmax([log_softmax(evidence / heat)[range(3000), truth].mean() for heat in heats])]

    ratio = likeliest(alone + found.encoder_weight * encoder) / likeliest(alone)
    assert found.temperature == pytest.approx(ratio, rel=0.01)


def test_an_encoder_that_costs_right_answers_is_not_listened_to():
    truth = np.arange(300) % 5
    right = np.where(np.arange(300) % 10 < 8, truth, (truth + 1) % 5)  # 80 %, with little between the two
    ngrams = 3 * np.eye(5)[truth] + 3.2 * np.eye(5)[right]
    doubtful = 0.5 * np.eye(5)[truth] + 4 * np.eye(5)[(truth + 1) % 5] * (np.arange(300) % 3 == 0)[:, None]
    found = stack(ngrams, doubtful, np.full(300, 3000), truth, Decision("fusion", ngram_weight=1.0))
    assert found.encoder_weight == 0


def test_auto_asks_where_the_encoder_changes_answers():
    rng = np.random.default_rng(1)
    truth = rng.integers(0, 5, 500)
    ngrams = np.eye(5)[truth] + rng.normal(0, 0.7, (500, 5))
    encoder = np.eye(5)[truth] + rng.normal(0, 0.7, (500, 5))
    base = Decision("fusion", ngram_weight=2.0)
    found = stack(ngrams, encoder, np.full(500, 3000), truth, base)
    assert found.encoder_weight > 0.3
    logits = encoder[:, None, :]
    alone = np.array([posterior(None, found, row, 3000) for row in ngrams])
    both = np.array([posterior(log_softmax(one), found, row, 3000) for one, row in zip(logits, ngrams, strict=True)])
    unasked = alone.max(axis=1) >= found.exit_threshold
    assert 0.05 < unasked.mean() < 1
    assert (both.argmax(axis=1) != alone.argmax(axis=1))[unasked].sum() <= 1


def test_auroc_counts_ties_half():
    assert auroc(np.array([1.0, 2.0]), np.array([0.0, 0.5])) == 1.0
    assert auroc(np.array([1.0]), np.array([1.0])) == 0.5


def test_names_without_numbers_are_split_by_subject(tmp_path):
    root = write_corpus(tmp_path / "corpus", documents=6)
    for path in list(root.rglob("*.txt")):
        path.rename(path.with_name("abcdef"[int(path.stem)] + ".txt"))
    experts = learn(load_corpus(root), NgramOptions(bits=14))
    assert experts.report["split"] == "by subject"


@pytest.mark.parametrize("documents", [1, 2])
def test_the_tiniest_corpora_warn_and_work(tmp_path, documents):
    experts = learn(load_corpus(write_corpus(tmp_path / "corpus", documents=documents)), NgramOptions(bits=14))
    assert experts.warnings
    assert int(experts.expert.scores(prose("Cyd", 90, seed=9)).argmax()) == 2


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_answers_do_not_depend_on_how_many_look_at_them(both, documents, effort):
    one, two = (Scorer(both, EngineOptions(workers=workers), effort=effort) for workers in (1, 2))
    texts = documents * 9  # several chunks for everybody
    assert bits(one.score_texts(texts)) == bits(two.score_texts(texts))
    if effort == "fast":
        assert [scorer.describe()["workers"] for scorer in (one, two)] == [1, 2]


@pytest.mark.promise("prompt-rows")
@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_a_row_does_not_wait_for_the_next_input(both, effort):
    asked = threading.Event()

    def slowly():
        for number in range(3):
            yield prose(AUTHORS[number], 60, seed=number)
            assert asked.wait(timeout=20)
            asked.clear()

    rows = Scorer(both, effort=effort).score_texts(slowly())
    for number in range(3):
        assert next(rows).path == str(number)  # the next text comes only now
        asked.set()
    assert list(rows) == []


def test_what_breaks_while_documents_are_looked_at_reaches_the_caller(both, documents, monkeypatch):
    def broken(self, chunk):
        raise RuntimeError("out of order")

    monkeypatch.setattr(_Stream, "_begin", broken)
    with pytest.raises(RuntimeError, match="out of order"):
        list(Scorer(both, effort="fast").score_texts(documents * 9))
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("authorid-")]
