"""Models whose classes are labels: one for each document, several, or a number."""

from __future__ import annotations

import csv
import io
import json
import math

import pytest
from json_records import edit_record
from tiny import make_bundle, make_graph, make_tokenizer

from authorid import Scorer
from authorid.errors import BundleLacksError

TEXTS = {"both.txt": "engine river", "none.txt": "the of and a", "ada.txt": " ".join(["engine"] * 20 + ["the"] * 40)}
"""The first two fit into one window of four and of six tokens."""


def logistic(logit):
    return 1 / (1 + math.exp(-logit))


@pytest.fixture
def letters(tmp_path):
    root = tmp_path / "letters"
    root.mkdir()
    for name, text in TEXTS.items():
        (root / name).write_text(text)
    return root


@pytest.fixture
def emotions(tmp_path):
    """A model for which a document may have several of three labels; a word of a label has the logit 8, others -1."""
    return make_bundle(tmp_path / "emotions", names=("joy", "fear", "=1"), classes="labels", rule="sigmoid", rest=-1.0)


@pytest.fixture
def price(tmp_path):
    return make_bundle(tmp_path / "price", names=("price",), classes="labels", rule="identity", rest=-4.0)


def test_each_label_of_several_has_a_probability_of_its_own(emotions):
    both, none, joy = Scorer(emotions).score_texts(TEXTS.values(), evidence=True)
    assert both.ranking == (("joy", pytest.approx(logistic(1.25))), ("fear", both.probability), ("=1", logistic(-1.0)))
    assert none.probability == pytest.approx(logistic(-1)) and none.status == "scored"
    logits = [math.log(p / (1 - p)) for p in joy.evidence]
    assert len(logits) == joy.windows > 2
    assert joy.probability == pytest.approx(logistic(sum(logits) / len(logits)))


def test_labels_below_the_threshold_are_unknown(tmp_path):
    bundle = make_bundle(tmp_path / "b", classes="labels", rule="sigmoid", rest=-1.0, threshold=0.5)
    rows = list(Scorer(bundle).score_texts(["engine river", "the of and a"]))
    assert [(row.status, row.reason) for row in rows] == [
        *(("scored", None), ("unknown", "probability below the threshold"))
    ]


def test_a_number_is_the_mean_of_the_windows_and_never_unknown(price):
    both, none, ada = Scorer(price).score_texts(TEXTS.values(), evidence=True)
    assert (both.author, both.probability) == ("price", (8 - 4 * 3) / 4)
    assert (none.status, none.probability, none.evidence) == ("scored", -4.0, (-4.0,))
    assert (none.runner_up, none.runner_up_probability, none.margin) == (None, None, None)
    assert ada.probability == pytest.approx(sum(ada.evidence) / ada.windows) and ada.windows > 2


def test_numbers_of_several_outputs_are_ranked(tmp_path):
    bundle = make_bundle(tmp_path / "b", names=("x", "y", "z"), classes="labels", rule="identity", rest=-1.0)
    (row,) = Scorer(bundle).score_texts(["river"])
    assert row.ranking == (("y", 2.0), ("x", -1.0), ("z", -1.0))
    assert (row.runner_up, row.margin) == ("x", 3.0)


def test_logits_that_are_no_numbers_fail_for_every_rule(tmp_path):
    for rule in ("sigmoid", "identity"):
        graph = make_graph(make_tokenizer(), authors=1, rest=math.inf)
        bundle = make_bundle(tmp_path / rule, names=("x",), classes="labels", rule=rule, graph=graph)
        edit_record(bundle.path / "authorid.json", lambda record: record.update(golden=[]))
        (row,) = Scorer.load(bundle.path).score_texts(["river"])
        assert (row.status, row.error) == ("failed", "the model failed on this document: its answer is not a number")


def test_columns_are_named_for_labels(score, emotions, letters):
    code, out, err = score(letters, "--out", "-", "--details", model=emotions.path)
    rows = list(csv.DictReader(io.StringIO(out)))
    assert code == 0
    assert not {"author", "value"} & rows[0].keys()
    assert list(rows[0])[-1] == "labels"
    assert [row["labels"] for row in rows] == ["joy", "joy; fear", ""]
    assert [row["label"] for row in rows] == ["joy", "joy", "joy"]
    assert "Documents per most probable label" in " ".join(err.split())
    assert "author" not in err.lower().replace("authorid", "")
    (heading,) = [line for line in err.splitlines() if "runner-up" in line]
    assert [cell.strip() for cell in heading.strip("|").split("|")] == [
        *("document", "status", "label", "prob.", "runner-up", "prob.", "labels")
    ]


def test_jsonl_rows_name_labels_and_list_them(score, emotions, letters):
    _, out, _ = score(letters, "--out", "-", "--format", "jsonl", "--top", "2", model=emotions.path)
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["labels"] for row in rows] == [["joy"], ["joy", "fear"], []]
    assert rows[1]["top"] == [
        {"label": "joy", "probability": rows[1]["probability"]},
        {"label": "fear", "probability": rows[1]["runner_up_probability"]},
    ]
    assert "author" not in rows[0]


@pytest.mark.parametrize("kind", ["emotions", "price"])
def test_labels_and_values_are_the_same_in_every_format(score, request, kind, letters, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    model = request.getfixturevalue(kind).path
    for form in ("csv", "tsv", "jsonl", "parquet"):
        evidence = ["--evidence"] if form in ("jsonl", "parquet") else []
        assert score(letters, "--out", tmp_path / f"out.{form}", *evidence, model=model)[0] == 0
    rows = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert parquet.read_table(tmp_path / "out.parquet").to_pylist() == [
        {**row, "path_b64": None, "explanation": None} for row in rows
    ]
    assert {("labels" in row, "value" in row) for row in rows} == {(kind == "emotions", kind == "price")}
    comma, tab = (
        list(csv.DictReader(io.StringIO((tmp_path / f"out.{form}").read_text()), delimiter=delimiter))
        for form, delimiter in (("csv", ","), ("tsv", "\t"))
    )
    assert comma == tab
    assert [row["label"] for row in comma] == [row["label"] for row in rows]


def test_values_are_no_percentages(score, price, letters, tmp_path):
    code, _, err = score(letters, "--out", tmp_path / "out.csv", model=price.path)
    assert code == 0
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out.csv").read_text())))
    assert [(row["label"], row["value"]) for row in rows[1:]] == [("price", "-1"), ("price", "-4")]
    assert {(row["runner_up"], row["runner_up_value"], row["margin"]) for row in rows} == {("", "", "")}
    assert "labels" not in rows[0] and "probability" not in rows[0]
    table = err.split("Latency")[0]
    assert "value" in table and "%" not in table and "prob." not in table and "runner-up" not in table


def test_a_run_with_one_class_is_resumed_to_the_same_bytes(score, price, letters, tmp_path):
    assert score(letters, "--out", tmp_path / "whole.jsonl", "--evidence", model=price.path)[0] == 0
    (letters / "bad.txt").touch()
    out = ("--out", tmp_path / "out.jsonl", "--evidence")
    assert score(letters, *out, "--fail-fast", model=price.path)[0] == 1
    (letters / "bad.txt").unlink()
    code, _, err = score(letters, *out, "--resume", model=price.path)
    assert code == 0 and "resumed: 1 rows kept" in err
    assert (tmp_path / "out.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_evaluate_refuses_what_does_not_choose_one_class(emotions, price, letters):
    from authorid.training.evaluate import evaluate

    with pytest.raises(BundleLacksError, match="chooses one class for each document; this one gives any number of lab"):
        evaluate(emotions.path, letters)
    with pytest.raises(BundleLacksError, match="this one gives a value"):
        evaluate(price.path, letters)


def test_n_grams_do_not_join_an_encoder_that_does_not_choose_one_class(emotions, tmp_path):
    pytest.importorskip("scipy")
    from fusion_bundle import make_fusion_bundle

    from authorid.errors import OutputError
    from authorid.training.ngram_run import export_ngrams

    make_fusion_bundle(tmp_path)
    with pytest.raises(OutputError, match="n-grams do not join an encoder whose rule is sigmoid"):
        export_ngrams(tmp_path / "run", tmp_path / "new", encoder=emotions.path)
