"""``python -m bench conditions``: what it measures, and what its tables say."""

from __future__ import annotations

import json
from importlib.util import find_spec

import numpy as np
import pytest
from checkpoints import write_checkpoint, write_corpus

pytest.importorskip("scipy")
needs_keras = pytest.mark.skipif(find_spec("keras_hub") is None, reason="needs the extra train")


@pytest.fixture
def corpus(tmp_path):
    return write_corpus(tmp_path / "corpus", documents=20)


def test_conditions_are_drawn_from_the_documents_to_learn_from(part, corpus):
    conditions = part("conditions")
    read = conditions.load_corpus(corpus)
    training, tested = (np.array(ids) for ids in conditions.last_split(read, conditions.HELD_OUT))
    labels = np.array([document.label for document in read.documents])
    found = [(each.documents, each.words) for each in conditions._conditions(read, (50, 100, 200))]
    assert found == [(2, None), (5, None), (10, None), (None, 50), (None, 100), (None, 200), (None, None)]
    seen = conditions._Measured(read, [], np.zeros((len(labels), 1), np.float32), np.ones(len(labels), int))
    draws = [conditions._drawn(seen, training, 5, draw) for draw in range(3)]
    for chosen in draws:
        assert not set(chosen) & set(tested)
        assert np.bincount(labels[chosen]).tolist() == [5, 5, 5]
    assert len({tuple(chosen) for chosen in draws}) == 3


def test_the_tables_name_what_was_varied(part):
    row = {"authors": 3, "documents": None, "words": 50, "ngrams": 0.5, "encoder": 0.25, "both": 0.625, "weight": 0.1}
    long = [{"windows": most, "accuracy": 0.5, "documents": 6, "mean_windows": 40.3} for most in (1, 64, 0)]
    record = {"corpora": [{"name": "corpus", "rows": [row], "long": long}, {"name": "other", "rows": [row]}]}
    assert part("condition_report").condition_table(record).splitlines() == [
        "|corpus|authors|documents|words|n-grams|encoder|both|weight|",
        "|---|---:|---:|---:|---:|---:|---:|---:|",
        "|corpus|3|all|50|50.0|25.0|62.5|0.1|",
        "|other|3|all|50|50.0|25.0|62.5|0.1|",
        "",
        "|corpus|long documents|their windows|1|64|all|",
        "|---|---:|---:|---:|---:|---:|",
        "|corpus|6|40|50.0|50.0|50.0|",
    ]


@needs_keras
@pytest.mark.slow
def test_the_command_writes_a_row_for_every_condition_and_goes_on_from_its_cache(part, corpus, tmp_path, capsys):
    base = write_checkpoint(tmp_path / "base", "bert")
    arguments = ["conditions", corpus, "--base-model", base, "--cache", tmp_path / "cache", "--draws", 1, "--long"]
    for out in ("first", "second"):
        (tmp_path / out).mkdir()
        assert part("__main__").main([*map(str, arguments), "--out", str(tmp_path / out)]) == 0
    first, second = (json.loads((tmp_path / out / "conditions.json").read_text()) for out in ("first", "second"))
    assert first == second
    (found,) = first["corpora"]
    assert [(row["documents"], row["words"]) for row in found["rows"]] == [
        (2, None),
        (5, None),
        (10, None),
        (None, 50),
        (None, 100),
        (None, 200),
        (None, None),
    ]
    for row in found["rows"]:
        assert row["both"] >= row["ngrams"] - 0.05
        assert all(0 <= row[name] <= 1 for name in ("ngrams", "encoder", "both"))
    assert [each["windows"] for each in found["long"]] == [1, 2, 4, 8, 16, 32, 64, 0]
    assert capsys.readouterr().out.count("|corpus|") >= 14
