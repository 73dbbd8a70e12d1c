"""`Scorer.predict`: the answers of a run with threads, without threads; and scorers that travel between processes."""

from __future__ import annotations

import copy
import multiprocessing
import os
import pickle
import shutil
import subprocess
import sys
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from fusion_bundle import DOCUMENTS, make_fusion_bundle
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import AUTHORS, make_bundle, prose

import authorid.errors
from authorid import EngineOptions, Scorer
from authorid.bundle.manifest import load_bundle
from authorid.encoder.providers import available
from authorid.errors import AuthoridError, BundleCorruptError, BundleNotFoundError, MissingExtraError
from authorid.models import default_bundle
from authorid.ngrams.model import NgramModel

ROOT = Path(__file__).resolve().parents[2]

BAD = [None, b"the oar", 3.5, "", " \n\t", "...", ["the oar"]]
"""Items that have no text; each is a failed row."""


@pytest.fixture(scope="module")
def both(tmp_path_factory):
    """A bundle with an n-gram model and an encoder for the three authors."""
    pytest.importorskip("scipy")
    return make_fusion_bundle(tmp_path_factory.mktemp("both"))


@pytest.fixture(scope="module")
def uncertain(both):
    """The same bundle, where every document goes to the encoder and none is decided early."""
    return replace(both, decision=replace(both.decision, exit_threshold=1.0))


def same_answers(scorer: Scorer, texts: list[object]) -> None:
    expected = list(scorer.score_texts(texts, evidence=True))
    assert scorer.predict(texts, evidence=True) == expected
    assert [row.path for row in expected] == [str(number) for number in range(len(texts))]


@pytest.mark.parametrize("effort", ["fast", "auto", "full"])
def test_answers_are_those_of_a_run_with_threads(both, uncertain, effort):
    texts = [*DOCUMENTS, *BAD, *DOCUMENTS]
    for bundle in (both, uncertain):
        same_answers(Scorer(bundle, effort=effort), texts)


@pytest.mark.parametrize(
    "options",
    [
        EngineOptions(workers=3, threads=1),
        EngineOptions(workers=1, threads=2, batch_tokens=64),
        EngineOptions(batch_tokens=1),
    ],
)
def test_answers_are_the_same_however_the_engine_runs(bundle, options):
    same_answers(Scorer(bundle, options), [*DOCUMENTS, *BAD])


def test_answers_are_the_same_for_a_bundle_that_truncates(bundle):
    truncating = replace(bundle, window=replace(bundle.window, truncate=True))
    same_answers(Scorer(truncating), DOCUMENTS)
    assert {row.windows for row in Scorer(truncating).predict(DOCUMENTS)} == {1}


def test_answers_are_the_same_for_graphs_of_other_exporters(tmp_path):
    same_answers(Scorer(make_bundle(tmp_path / "foreign", emitted=False)), DOCUMENTS[:9])


@pytest.mark.parametrize(("rule", "names"), [("sigmoid", ("joy", "fear", "anger")), ("identity", ("price",))])
def test_answers_are_the_same_for_several_labels_and_for_numbers(tmp_path, rule, names):
    scorer = Scorer(make_bundle(tmp_path / "labels", names=names, classes="labels", rule=rule))
    same_answers(scorer, [*DOCUMENTS, *BAD])
    assert pickled(scorer).predict(DOCUMENTS) == scorer.predict(DOCUMENTS)


def test_answers_are_the_same_where_typography_is_folded(bundle):
    folding = replace(bundle, typography="folded")
    texts = ["the engine\u2019s \u201cloom\u201d", "\u200b\u200d", "oar\u00a0\u2014 boat\u2026", "\ufb01 market"]
    same_answers(Scorer(folding), texts)


def test_answers_are_the_same_after_adapting(both, tmp_path):
    for number, text in enumerate(DOCUMENTS):
        (tmp_path / f"{number:02}.txt").write_text(text)
    scorer = Scorer(both)
    assert scorer.adapt([tmp_path]) is not None
    same_answers(scorer, DOCUMENTS)
    assert all(row.adapted for row in scorer.predict(DOCUMENTS))


@pytest.mark.skipif(not available("openvino"), reason="OpenVINO is not installed, or does not run on this processor")
def test_answers_are_the_same_on_openvino():
    scorer = Scorer.load(options=EngineOptions(provider="openvino"), effort="full")
    same_answers(scorer, [prose(AUTHORS[n % 3], 40 * n, seed=n) for n in range(12)])


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(0, 120), min_size=1, max_size=30),
    order=st.randoms(use_true_random=False),
)
def test_an_answer_does_not_depend_on_the_other_texts(bundle, lengths, order):
    texts = [prose(AUTHORS[n % 3], n, seed) for seed, n in enumerate(lengths)]
    order.shuffle(texts)
    scorer = Scorer(bundle)
    for text, row in zip(texts, scorer.predict(texts), strict=True):
        (alone,) = scorer.predict([text])
        assert replace(alone, ref=row.ref) == row


def test_a_bad_item_is_a_failed_row(bundle):
    good, *rows, last = Scorer(bundle).predict(["the engine", *BAD, "the oar"])
    assert (good.author, last.author) == ("Ada", "Ben")
    assert {row.status for row in rows} == {"failed"}
    assert [row.error for row in rows] == [
        "not a text: NoneType instead of str",
        "not a text: bytes instead of str",
        "not a text: float instead of str",
        "no text (only white space)",
        "no text (only white space)",
        "no text (no letter or digit)",
        "not a text: list instead of str",
    ]
    assert Scorer(bundle).predict([]) == []


@pytest.mark.parametrize("single", ["letters/", b"letters/", Path("letters"), np.str_("letters")])
def test_a_single_text_is_refused(bundle, single):
    with pytest.raises(TypeError, match=r"texts is a single text: write predict\(\[text\]\)"):
        Scorer(bundle).predict(single)


# Threads and memory ----------------------------------------------------------------------------------------------


def test_no_thread_is_started_by_anything():
    """Counted by the kernel, so that threads of onnxruntime and of the tokenizer count, too."""
    code = """
import os
from authorid import EngineOptions, Scorer
before = len(os.listdir("/proc/self/task"))
scorer = Scorer.load(options=EngineOptions(provider="cpu", workers=3, threads=1), effort="full")
rows = scorer.predict(["The bank said on Monday that it would sell its shares. " * n for n in range(1, 20)])
assert all(row.windows for row in rows)
print(before, len(os.listdir("/proc/self/task")))
"""
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1"}  # which would start as many as there are cores
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == ["1", "1"]


def test_several_threads_may_predict_at_once(uncertain):
    scorer = Scorer(uncertain, effort="auto")
    expected = scorer.predict(DOCUMENTS)
    together = threading.Barrier(4)

    def predict(start: int) -> bool:
        together.wait()
        return all(
            [row.ranking for row in scorer.predict(DOCUMENTS[start:])] == [row.ranking for row in expected[start:]]
            for _ in range(5)
        )

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(predict, range(4)))


def test_windows_of_equal_length_share_batches(bundle, monkeypatch):
    scorer = Scorer(bundle, EngineOptions(batch_tokens=64))
    shapes = []
    run = scorer.engine.run
    monkeypatch.setattr(scorer.engine, "run", lambda ids: shapes.append(ids.shape) or run(ids))
    scorer.predict([prose("Ada", 14, seed) for seed in range(10)] + ["the engine"] * 5)
    assert shapes == [(5, 4), (4, 16), (4, 16), (2, 16)]


@pytest.mark.parametrize(("words", "most"), [(5, 1024), (60_000, 5)])
def test_a_long_iterable_is_scored_in_groups(bundle, monkeypatch, words, most):
    """A group ends with the text that does not fit into it."""
    scorer = Scorer(bundle)
    taken, taken_at_batches = 0, []
    run = scorer.engine.run
    monkeypatch.setattr(scorer.engine, "run", lambda ids: taken_at_batches.append(taken) or run(ids))

    def texts():
        nonlocal taken
        for number in range(3 * most):
            taken += 1
            yield prose(AUTHORS[number % 3], words, number)

    assert {row.status for row in scorer.predict(texts())} == {"scored"}
    assert max(np.diff([0, *taken_at_batches])) <= most + 1


def test_what_the_iterable_raises_is_raised(bundle):
    def texts():
        yield "the engine"
        raise RuntimeError("the table broke")

    with pytest.raises(RuntimeError, match="the table broke"):
        Scorer(bundle).predict(texts())


# Faults ----------------------------------------------------------------------------------------------------------


def test_a_document_that_a_model_fails_on_fails_alone(uncertain, monkeypatch):
    scorer = Scorer(uncertain, effort="full")
    expected = scorer.predict(DOCUMENTS)
    oar = scorer._cascade.encoder.windower.tokenizer.token_to_id("oar")
    run, score_texts, token_ids = scorer.engine.run, NgramModel.score_texts, scorer._cascade.encoder.windower.token_ids

    class PanicException(BaseException):
        """As the tokenizer, which is written in Rust, raises it."""

    def engine(ids):
        if (ids == oar).any():
            raise MemoryError("no room for oars")
        return run(ids)

    def ngrams(self, texts, *more):
        if DOCUMENTS[3] in texts:
            raise MemoryError("no room for n-grams")
        return score_texts(self, texts, *more)

    def tokenizer(texts):
        if DOCUMENTS[6] in texts:
            raise PanicException("not a char boundary")
        return token_ids(texts)

    monkeypatch.setattr(scorer.engine, "run", engine)
    monkeypatch.setattr(NgramModel, "score_texts", ngrams)
    monkeypatch.setattr(scorer._cascade.encoder.windower, "token_ids", tokenizer)
    rows = scorer.predict(DOCUMENTS)
    assert rows[3].error == "the n-grams failed on this document: no room for n-grams"
    assert rows[6].error == "the tokenizer failed on this document: not a char boundary"
    for number, row in enumerate(rows):
        if number not in (3, 6):
            error = "the model failed on this document: no room for oars" if "oar" in DOCUMENTS[number] else None
            assert row == expected[number] if error is None else row.error == error


@pytest.mark.parametrize("interrupt", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_an_interrupt_in_the_tokenizer_is_not_the_failure_of_a_document(bundle, monkeypatch, interrupt):
    scorer = Scorer(bundle)

    def interrupted(*_, **__):
        raise interrupt

    monkeypatch.setattr(scorer._cascade.encoder.windower, "token_ids", interrupted)
    with pytest.raises(interrupt):
        scorer.predict(["the engine"])


# Items that yield texts ------------------------------------------------------------------------------------------


def authors(rows):
    return [row.author for row in rows]


def test_texts_from_pyarrow(bundle):
    pa = pytest.importorskip("pyarrow")
    scorer = Scorer(bundle)
    texts = pa.array(["the engine", None, "the oar"])
    invalid = pa.Array.from_buffers(
        pa.string(), 2, [None, pa.py_buffer(np.array([0, 3, 10], dtype=np.int32)), pa.py_buffer(b"\xff\xfe\xfdthe oar")]
    )
    for array in (texts, texts.cast(pa.large_string()), texts.dictionary_encode(), pa.chunked_array([texts])):
        rows = scorer.predict(array)
        assert authors(rows) == ["Ada", None, "Ben"]
        assert rows[1].error == "not a text: NoneType instead of str"
        assert list(scorer.score_texts(array)) == rows
    damaged, whole = scorer.predict(invalid)
    assert whole.author == "Ben"
    assert damaged.error.startswith("not a text: 'utf-8' codec can't decode")
    assert [row.error for row in scorer.predict(pa.array([b"x", b"y"]))] == ["not a text: bytes instead of str"] * 2


def test_texts_from_numpy_and_generators(bundle):
    scorer = Scorer(bundle)
    assert authors(scorer.predict(np.array(["the engine", "the oar"]))) == ["Ada", "Ben"]
    assert authors(scorer.predict(np.array(["the engine", None], dtype=object))) == ["Ada", None]
    assert authors(scorer.predict(text for text in ("the market", "the oar"))) == ["Cyd", "Ben"]


@pytest.mark.parametrize("dtype", ["object", "string[python]", "string[pyarrow]", "str"])
def test_texts_from_pandas(bundle, dtype):
    pd = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    series = pd.Series(["the engine", None, "the oar"], dtype=dtype)
    assert authors(Scorer(bundle).predict(series)) == ["Ada", None, "Ben"]


# Pickling --------------------------------------------------------------------------------------------------------


def test_a_spawned_process_gives_the_same_rows(both, tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    scorer = Scorer(both, EngineOptions(workers=1), effort="full", any_text=True)
    expected = scorer.predict([*DOCUMENTS, None], evidence=True)
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
        rows = pool.submit(scorer.predict, [*DOCUMENTS, None], evidence=True).result(timeout=120)
    assert rows == expected


def pickled(scorer: Scorer) -> Scorer:
    return pickle.loads(pickle.dumps(scorer))


@pytest.mark.parametrize("how", [pickled, copy.deepcopy, copy.copy, "cloudpickle"])
def test_a_copy_has_the_arguments_of_the_original(both, how):
    if how == "cloudpickle":
        cloudpickle = pytest.importorskip("cloudpickle")
        how = lambda scorer: pickle.loads(cloudpickle.dumps(lambda: scorer))()  # noqa: E731
    scorer = Scorer.load(both.path, EngineOptions(workers=2, batch_tokens=99), effort="full", any_text=True)
    copied = how(scorer)
    assert copied is not scorer
    assert copied.describe() == scorer.describe()
    assert (copied.effort, copied.decision, copied.bundle) == (scorer.effort, scorer.decision, scorer.bundle)
    assert copied.predict(DOCUMENTS) == scorer.predict(DOCUMENTS)


def test_thresholds_are_kept():
    strict = Scorer.load(effort="fast", max_false_attribution=0.01)
    assert strict.decision != Scorer.load(effort="fast").decision
    assert pickled(strict).decision == strict.decision


def test_a_scorer_that_adapted_stays_adapted(both, tmp_path):
    for number, text in enumerate(DOCUMENTS):
        (tmp_path / f"{number:02}.txt").write_text(text)
    scorer = Scorer(both)
    scorer.adapt([tmp_path], equal_shares=True)
    copied = pickled(scorer)
    assert copied.describe()["adaptation"] == scorer.describe()["adaptation"] is not None
    assert copied.predict(DOCUMENTS) == scorer.predict(DOCUMENTS) != Scorer(both).predict(DOCUMENTS)


def test_a_relative_path_still_leads_to_the_model_elsewhere(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(bundle.path.parent)
    content = pickle.dumps(Scorer.load(bundle.path.name))
    monkeypatch.chdir(tmp_path)
    assert authors(pickle.loads(content).predict(["the oar"])) == ["Ben"]


def test_the_embedded_model_is_found_where_the_package_is(tmp_path, monkeypatch):
    """And not where it was on the machine that pickled the scorer."""
    content = pickle.dumps(Scorer.load(effort="fast"))
    elsewhere = shutil.copytree(default_bundle(), tmp_path / "reuters50")
    monkeypatch.setattr("authorid.models.default_bundle", lambda: elsewhere)
    assert pickle.loads(content).bundle.path == elsewhere


def test_another_model_at_the_path_is_refused(tmp_path):
    content = pickle.dumps(Scorer(make_bundle(tmp_path / "model")))
    make_bundle(tmp_path / "model", threshold=0.9, overwrite=True)
    with pytest.raises(BundleCorruptError, match="model: not the model of the scorer that was pickled"):
        pickle.loads(content)
    shutil.rmtree(tmp_path / "model")
    with pytest.raises(BundleNotFoundError, match="there is nothing at that path"):
        pickle.loads(content)


@pytest.mark.parametrize("name", [name for name in authorid.errors.__all__ if name.endswith("Error")])
def test_errors_can_leave_a_process(name):
    kind = getattr(authorid.errors, name)
    error = kind("scipy", "fit") if kind is MissingExtraError else kind("no such file")
    assert issubclass(kind, AuthoridError)
    copied = pickle.loads(pickle.dumps(error))
    assert (type(copied), str(copied), vars(copied)) == (kind, str(error), vars(error))


def test_a_model_that_was_loaded_is_pickled_by_its_path(bundle):
    content = pickle.dumps(Scorer(load_bundle(bundle.path)))
    assert len(content) < 1000
