"""`ScoreBatch`: a row for each row, whatever the batch is made of and whatever it holds."""

from __future__ import annotations

import pickle
import subprocess
import sys

import numpy as np
import pytest
from tiny import AUTHORS, make_bundle, prose

from authorid import Scorer
from authorid.outputs import open_writer
from authorid.ray import ScoreBatch

TEXTS = [prose("Ada", 30, seed=1), None, "", prose("Ben", 30, seed=2), "  ", prose("Cyd", 30, seed=3)]
STATUS = ["scored", "failed", "failed", "scored", "failed", "scored"]
NAMES = ["Ada", None, None, "Ben", None, "Cyd"]


@pytest.fixture(scope="module")
def score_batch(bundle):
    return ScoreBatch(bundle.path, "body")


def test_columns_have_the_types_and_values_of_a_parquet_file(bundle, score_batch, tmp_path):
    arrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    batch = arrow.table({"id": range(len(TEXTS)), "body": arrow.array(TEXTS, arrow.string())})
    found = score_batch(batch)
    with open_writer(str(tmp_path / "rows.parquet"), "parquet", answers=bundle.answers) as write:
        for row in Scorer.load(bundle.path).predict(TEXTS):
            write(row)
    expected = parquet.read_table(tmp_path / "rows.parquet")
    assert found.select(["id", "body"]).equals(batch)
    added = found.column_names[2:]
    assert {"status", "author", "probability", "candidate", "runner_up", "margin", "error", "windows"} <= {*added}
    assert found.select(added).cast(expected.select(added).schema).equals(expected.select(added))
    assert [found.schema.field(name).type for name in added] == [expected.schema.field(name).type for name in added]
    assert (found["status"].to_pylist(), found["author"].to_pylist()) == (STATUS, NAMES)


@pytest.mark.parametrize("kind", ["string", "large_string", "binary", "dictionary", "chunked", "record batch"])
def test_any_arrow_column(score_batch, kind):
    arrow = pytest.importorskip("pyarrow")
    texts = [*TEXTS, "engine of the loom"]
    column = arrow.array(texts, arrow.string())
    batch = {
        "large_string": lambda: arrow.table({"body": column.cast("large_string")}),
        "binary": lambda: arrow.table({"body": column.cast("binary")}),
        "dictionary": lambda: arrow.table({"body": column.dictionary_encode()}),
        "chunked": lambda: arrow.table({"body": arrow.chunked_array([column[:2], column[2:]])}),
        "record batch": lambda: arrow.RecordBatch.from_pydict({"body": column}),
    }.get(kind, lambda: arrow.table({"body": column}))()
    found = score_batch(batch)
    assert found.num_rows == len(texts)
    if kind == "binary":
        assert {*found["status"].to_pylist()} == {"failed"}
        assert found["error"][0].as_py() == "not a text: bytes instead of str"
    else:
        assert found["author"].to_pylist() == [*NAMES, "Ada"]


def test_a_frame_keeps_its_index_and_survives_what_is_no_text(score_batch):
    pandas = pytest.importorskip("pandas")
    texts = [*TEXTS, float("nan"), 7, pandas.NA, "lone \ud800", b"bytes"]
    index = [5, 5, *range(len(texts) - 2)]
    frame = pandas.DataFrame({"body": texts, "id": range(len(texts))}, index=index, dtype=object)
    found = score_batch(frame)
    assert list(found.index) == index
    assert list(found["id"]) == list(range(len(texts)))
    assert list(found["status"])[:9] == [*STATUS, "failed", "failed", "failed"]
    assert list(found["author"])[:6] == NAMES
    assert found["probability"].dtype == "float64"
    assert found["windows"].dtype == "int64"
    assert found["error"].iloc[-1] == "not a text: bytes instead of str"
    assert "status" not in frame, "the batch itself is left alone"


def test_arrays(score_batch):
    found = score_batch({"body": np.array(TEXTS, dtype=object), "id": np.arange(len(TEXTS))})
    assert all(type(column) is np.ndarray and column.shape == (len(TEXTS),) for column in found.values())
    assert (list(found["status"]), list(found["author"])) == (STATUS, NAMES)
    assert np.isnan(found["probability"][1])


def test_an_empty_batch_has_the_same_columns(score_batch):
    arrow = pytest.importorskip("pyarrow")
    batch = arrow.table({"body": arrow.array(TEXTS, arrow.string())})
    assert score_batch(batch.slice(0, 0)).schema == score_batch(batch).schema


def test_an_iterator_of_frames_as_spark_passes_it(bundle):
    """`mapInPandas` calls a pickled copy with an iterator, and takes an iterator of frames."""
    pandas = pytest.importorskip("pandas")
    copy = pickle.loads(pickle.dumps(ScoreBatch(bundle.path, "body", prefix="by_")))
    frames = [pandas.DataFrame({"body": TEXTS[:2]}), pandas.DataFrame({"body": TEXTS[2:]})]
    asked = []
    found = copy(asked.append(len(frame)) or frame for frame in frames)
    assert next(found)["by_author"].to_list() == NAMES[:2]
    assert asked == [2], "one frame at a time"
    rest = next(found)
    assert rest["by_author"].to_list() == NAMES[2:]
    assert next(found, None) is None
    declared = [field.split()[0].strip("`") for field in copy.spark_columns.split(", ")]
    assert ["body", *declared] == list(rest)
    kinds = {"string": "object", "double": "float64", "bigint": "int64"}
    types = [kinds[field.split()[1]] for field in copy.spark_columns.split(", ")]
    assert types == [str(rest[name].dtype) for name in declared]


def test_labels_are_a_list(tmp_path):
    arrow = pytest.importorskip("pyarrow")
    model = make_bundle(tmp_path / "labels", classes="labels", rule="sigmoid", names=AUTHORS)
    score = ScoreBatch(model.path)
    found = score(arrow.table({"text": ["engine number loom", None]}))
    assert found["labels"].type == arrow.list_(arrow.string())
    assert "label" in found.column_names
    assert "author" not in found.column_names
    assert "`labels` array<string>" in score.spark_columns


def test_wrong_batches(bundle, score_batch):
    with pytest.raises(KeyError, match="no column 'body'; it has 'text'"):
        score_batch({"text": np.array(["a"])})
    with pytest.raises(ValueError, match="has a column 'author' already: choose a prefix"):
        score_batch({"body": np.array(["a"]), "author": np.array(["x"])})
    found = ScoreBatch(bundle.path, "body", prefix="by_")({"body": np.array(["a"]), "author": np.array(["x"])})
    assert {"author", "by_author", "by_status"} <= {*found}
    with pytest.raises(TypeError, match="not list"):
        score_batch(["a text"])


def test_neither_ray_nor_spark_is_imported():
    code = "import sys, authorid.ray as module; print({'ray', 'pyspark', 'pyarrow', 'pandas'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize(("given", "threads"), [("3", 3), ("", 1), ("many", 1)])
def test_threads_are_those_of_the_worker(bundle, monkeypatch, given, threads):
    monkeypatch.setenv("OMP_NUM_THREADS", given)
    score = ScoreBatch(bundle.path)
    score({"text": np.array(["the engine"])})
    assert (score._scorer.engine.workers, score._scorer.engine.threads) == (1, threads)
