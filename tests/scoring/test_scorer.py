"""`Scorer` and the threads of a run: rows, order, statistics, errors, early ends."""

from __future__ import annotations

import gc
import itertools
import pkgutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import AUTHORS, make_bundle, prose

from authorid import EngineOptions, RunStats, Scorer
from authorid.errors import EngineError
from authorid.inputs.documents import ReadOptions


@pytest.fixture(scope="module")
def scorer(bundle):
    return Scorer(bundle)


@pytest.fixture
def corpus(tmp_path):
    for author in AUTHORS:
        for number in range(8):
            path = tmp_path / author / f"{number:02}.txt"
            path.parent.mkdir(exist_ok=True)
            path.write_text(prose(author, 5 + 40 * number, number))
    return tmp_path


def test_documents_are_attributed_to_their_authors_in_discovery_order(scorer, corpus):
    rows = list(scorer.score([corpus]))
    assert [row.path for row in rows] == sorted(str(path) for path in corpus.rglob("*.txt"))
    assert all(row.status == "scored" and row.author == row.path.split("/")[-2] for row in rows)


def test_the_fields_of_an_attribution_agree_with_one_another(scorer, corpus):
    (row,) = scorer.score([corpus / "Ada" / "07.txt"], evidence=True)
    assert next(author for author, _ in row.ranking) == "Ada"
    assert sum(probability for _, probability in row.ranking) == pytest.approx(1)
    assert row.margin == row.probability - row.runner_up_probability
    assert row.windows == len(row.evidence) > 1
    assert row.tokens == row.windows * 16  # 285 tokens of text in windows of 16
    assert row.encoding == "utf-8"


def test_every_input_gets_a_row_even_if_it_cannot_be_read(scorer, tmp_path):
    good = tmp_path / "good.txt"
    good.write_text(prose("Ben", 30))
    (tmp_path / "empty.txt").touch()
    (tmp_path / "blank.txt").write_text(" \n\t\n")
    (tmp_path / "binary.txt").write_bytes(b"\x7fELF\0\0\x01")
    rows = {row.path: row for row in scorer.score([tmp_path, tmp_path / "missing.txt"])}
    assert rows[str(good)].author == "Ben"
    errors = {path.rsplit("/", 1)[1]: row.error for path, row in rows.items() if row.status == "failed"}
    assert errors == {
        "empty.txt": "empty file",
        "blank.txt": "no text (only white space)",
        "binary.txt": "binary file (application/x-elf)",
        "missing.txt": "no such file or directory",
    }


def test_an_empty_directory_gives_no_rows(scorer, tmp_path):
    assert list(scorer.score([tmp_path])) == []


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    lengths=st.lists(st.integers(0, 120), min_size=1, max_size=30),
    workers=st.integers(1, 3),
    batch_tokens=st.sampled_from([1, 64, 1024]),
)
def test_answers_do_not_depend_on_batches_or_threads(bundle, lengths, workers, batch_tokens):
    texts = [prose(AUTHORS[n % 3], n, seed) for seed, n in enumerate(lengths)]
    engine = EngineOptions(workers=workers, batch_tokens=batch_tokens)
    together = list(Scorer(bundle, engine).score_texts(texts))
    alone = Scorer(bundle, EngineOptions(workers=1, batch_tokens=1))
    assert [int(row.path) for row in together] == list(range(len(texts)))
    for text, row in zip(texts, together, strict=True):
        (single,) = alone.score_texts([text])
        assert single.ranking == row.ranking


def test_statistics_agree_with_the_rows(scorer, corpus):
    (corpus / "Ada" / "empty").touch()
    stats = RunStats()
    rows = list(scorer.score([corpus], stats=stats))
    report = stats.report(2.0, scorer.describe())
    assert (report["documents"], report["scored"], report["failed"]) == (25, 24, 1)
    assert report["tokens"] == sum(row.tokens for row in rows)
    assert report["documents_per_second"] == 12.5
    assert report["padding_ratio"] == 0
    assert set(report["stage_seconds"]) == {"read", "tokenize", "infer", "write"}
    assert report["latency_ms"]["document"]["p50"] > 0
    assert report["model_sha256"] == scorer.bundle.sha256("int8")


def test_an_answer_below_the_threshold_is_unknown_with_a_candidate_and_a_ranking(tmp_path):
    scorer = Scorer(make_bundle(tmp_path / "strict", threshold=0.9))
    certain, uncertain = scorer.score_texts(["engine loom number engine", "the of and a"])
    assert (certain.status, certain.author) == ("scored", "Ada")
    assert (uncertain.status, uncertain.author) == ("unknown", None)
    assert uncertain.candidate == uncertain.ranking[0][0] and certain.candidate is None
    assert len(uncertain.ranking) == 3


def test_closing_the_iterator_stops_the_threads(scorer, corpus):
    before = threading.active_count()
    rows = scorer.score([corpus] * 200)
    next(rows)
    rows.close()
    assert threading.active_count() == before


def no_threads_remain() -> bool:
    deadline = time.monotonic() + 20
    while remain := any(thread.name.startswith("authorid-") for thread in threading.enumerate()):
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return not remain


def test_closing_the_iterator_while_its_paths_block_leaves_no_thread(scorer, corpus, monkeypatch):
    monkeypatch.setattr("authorid.scoring.scheduler._SHUTDOWN_TIMEOUT", 0.1)
    closed = threading.Event()

    def blocking():
        yield corpus / "Ada"
        closed.wait(20)
        yield corpus / "Ben"

    rows = scorer.score(blocking(), ReadOptions(timeout=5))
    next(rows)
    rows.close()
    closed.set()
    assert no_threads_remain()


@pytest.mark.parametrize(
    "function",
    [
        "authorid.scoring.run_inputs.tidy",
        "authorid.encoder.batching.Batcher._due",
        "authorid.encoder.engine.Engine.run",
    ],
)
def test_an_abandoned_iterator_may_be_collected_in_any_thread_of_its_run(bundle, monkeypatch, function):
    """In the reader thread, in an inference worker that holds the batcher's lock, and in one that holds none."""
    errors = []
    monkeypatch.setattr("sys.unraisablehook", lambda unraisable: errors.append(unraisable.exc_value))
    abandoned, collected = threading.Event(), threading.Event()
    inner = pkgutil.resolve_name(function)

    def collecting(*arguments):
        if abandoned.is_set() and not collected.is_set():
            collected.set()
            gc.collect()
        return inner(*arguments)

    scorer = Scorer(bundle, EngineOptions(workers=1))
    monkeypatch.setattr(function, collecting)
    gc.disable()
    try:
        holder = {"rows": scorer.score_texts(prose("Ada", 50, seed) for seed in itertools.count())}
        holder["itself"] = holder
        next(holder["rows"])
        del holder
        abandoned.set()
        assert collected.wait(20)
    finally:
        gc.enable()
    assert no_threads_remain()
    assert not scorer._active_runs
    assert errors == []


@pytest.mark.parametrize("name", ["authorid-input", "authorid-text-0", "authorid-inference-0"])
def test_if_one_thread_cannot_start_no_other_remains(scorer, corpus, monkeypatch, name):
    start = threading.Thread.start

    def start_all_but_one(thread):
        if thread.name == name:
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_all_but_one)
    with pytest.raises(EngineError, match="no more threads"):
        list(scorer.score([corpus] * 100))
    assert no_threads_remain()


@pytest.mark.promise("backpressure")
def test_a_slow_consumer_of_rows_slows_the_run_down(scorer, corpus):
    stats = RunStats()
    rows = scorer.score([corpus] * 1000, stats=stats)
    next(rows)
    time.sleep(0.5)
    in_flight_at_most = 4096 + 256
    windows_a_document = 10
    assert stats.slots < in_flight_at_most * windows_a_document * 16
    rows.close()


def test_an_error_in_a_thread_is_raised_to_the_caller(scorer, corpus):
    def documents():
        yield str(corpus / "Ada")
        raise RuntimeError("the list broke")

    with pytest.raises(RuntimeError, match="the list broke"):
        list(scorer.score(documents()))


def test_a_batch_that_fails_is_halved_until_only_the_failing_document_fails(bundle, monkeypatch):
    scorer = Scorer(bundle, EngineOptions(workers=1))
    river = scorer._cascade.encoder.windower.tokenizer.token_to_id("river")
    run = scorer.engine.run

    def fragile(ids):
        if (ids == river).any():
            raise MemoryError("out of memory")
        return run(ids)

    monkeypatch.setattr(scorer.engine, "run", fragile)
    rows = list(scorer.score_texts(["engine the loom", "river the boat", "market the share"]))
    assert [row.status for row in rows] == ["scored", "failed", "scored"]
    assert "out of memory" in rows[1].error


def test_graphs_of_other_exporters_run_one_window_at_a_time(tmp_path):
    scorer = Scorer(make_bundle(tmp_path / "foreign", emitted=False))
    sizes = []
    run = scorer.engine.run
    scorer.engine.run = lambda ids: sizes.append(len(ids)) or run(ids)
    list(scorer.score_texts([prose("Ada", 200)]))
    assert set(sizes) == {1}


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"workers": -1}, "workers is -1; it must be from 0 \\(as tuned\\) to 1024"),
        ({"workers": 1025}, "workers is 1025"),
        ({"threads": -1}, "threads is -1"),
        ({"threads": 100_000}, "threads is 100000"),
        ({"batch_tokens": -1}, "batch_tokens is -1"),
        ({"precision": "int4"}, "unknown precision 'int4'; choose one of: auto, "),
    ],
)
def test_invalid_engine_options_are_refused(wrong, message):
    with pytest.raises(ValueError, match=message):
        EngineOptions(**wrong)


def test_a_machine_of_more_cores_than_workers_may_be_gets_as_many_as_may_be(monkeypatch):
    monkeypatch.setattr("authorid.encoder.engine_options.available_cores", lambda: 5000)
    assert EngineOptions().resolved({"threads": 5000}).workers == 1024
    assert EngineOptions(workers=1).resolved().threads == 1024


@pytest.mark.parametrize("single", ["letters/", b"letters/", Path("letters")])
def test_a_single_path_or_text_instead_of_an_iterable_is_refused_at_once(scorer, single):
    with pytest.raises(TypeError, match=r"paths is a single path: write score\(\[.*letters"):
        scorer.score(single)
    with pytest.raises(TypeError, match=r"texts is a single text: write score_texts\(\[text\]\)"):
        scorer.score_texts(single)


@pytest.mark.parametrize("name", ["include", "exclude", "ignore", "skip"])
def test_a_single_string_instead_of_several_patterns_is_refused(name):
    with pytest.raises(TypeError, match=rf"{name} is a single string: write {name}=\('\*\.txt',\)"):
        ReadOptions(**{name: "*.txt"})


def test_an_item_that_is_not_a_string_gets_a_failed_row(scorer):
    rows = list(scorer.score_texts(["the engine", None, b"the oar", 3.5, "the market"]))
    assert [row.status for row in rows] == ["scored", "failed", "failed", "failed", "scored"]
    assert [row.error for row in rows[1:4]] == [
        f"not a text: {kind} instead of str" for kind in ("NoneType", "bytes", "float")
    ]


def test_read_options_select_the_files(scorer, corpus):
    rows = list(scorer.score([corpus], ReadOptions(include=("0[01].txt",), exclude=("Ben",))))
    assert [row.path[-10:] for row in rows] == ["Ada/00.txt", "Ada/01.txt", "Cyd/00.txt", "Cyd/01.txt"]


def test_documents_with_equal_shares_of_two_authors_get_equal_probabilities(scorer):
    (row,) = scorer.score_texts(["engine river " * 40])
    probabilities = dict(row.ranking)
    assert probabilities["Ada"] == pytest.approx(probabilities["Ben"])
    assert np.isclose(sum(probabilities.values()), 1)
