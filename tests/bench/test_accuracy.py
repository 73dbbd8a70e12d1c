"""``python -m bench accuracy``: what it measures, and the baselines on examples that can be computed by hand."""

from __future__ import annotations

import json
import random
import sys
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[2]
NEEDED = ("sklearn", "scipy", "matplotlib")
needs_all = pytest.mark.skipif(
    any(find_spec(name) is None for name in NEEDED), reason=f"needs {', '.join(NEEDED)}: `pip install scikit-learn`"
)
SYSTEMS = ["authorid", "LinearSVC", "Burrows's Delta", "Cosine Delta"]
CONSONANTS = "bdfgklmnprst"


def write_corpus(root, authors: int = 6, documents: int = 8):
    """Short texts; every author has common words that all use, and some that the others do not."""
    for author in range(authors):
        own = [f"{CONSONANTS[author]}{vowel}{end}" for vowel in "aeiou" for end in ("la", "ne", "rom")]
        for number in range(documents):
            chooser = random.Random(100 * author + number)
            words = chooser.choices(["the", "of", "and", "to", "in", "that", "was", "it"], k=40)
            words += chooser.choices(own, k=30)
            chooser.shuffle(words)
            path = root / f"author-{author}" / f"{number}.txt"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(" ".join(words) + ".\n", "utf-8")
    return root


@needs_all
def test_the_command_writes_rows_for_every_system_and_twice_the_same(part, tmp_path, capsys):
    corpus = write_corpus(tmp_path / "corpus")
    outs = [tmp_path / "first", tmp_path / "second"]
    for out in outs:
        assert part("__main__").main(["accuracy", str(corpus), "--out", str(out), "--quick"]) == 0
    first, second = ({path.name: path.read_bytes() for path in out.iterdir()} for out in outs)
    assert set(first) == {"quick-accuracy.json", "quick-accuracy.md", "quick-accuracy.svg"}
    assert first == second
    written = capsys.readouterr()
    assert written.out == 2 * first["quick-accuracy.md"].decode()
    record = json.loads(first["quick-accuracy.json"])
    check_record(record)
    steps = 4 * len({(row["authors"], row["documents"], row["words"]) for row in record["rows"]})
    assert len(written.err.splitlines()) == 2 * steps
    assert f"\n{steps} of {steps}: " in written.err


def check_record(record):
    assert set(record) == {"schema", "kind", "corpus", "machine", "systems", "rows"}
    assert (record["schema"], record["kind"]) == (1, "authorid accuracy bench")
    assert record["corpus"].keys() == {"name", "digest", "authors", "tested"}
    assert (record["corpus"]["name"], record["corpus"]["authors"]) == ("corpus", 5)
    assert record["machine"].keys() == {"cpu", "cores", "versions"}
    assert record["machine"]["versions"].keys() >= {"python", "authorid", "numpy", "scikit-learn"}
    assert record["systems"] == SYSTEMS
    rows = [(row["curve"], row["authors"], row["documents"], row["words"], row["training"]) for row in record["rows"]]
    assert rows == [
        ("documents", 5, 2, None, 10),
        ("documents", 5, 5, None, 25),
        ("words", 5, None, 50, 25),
        ("authors", 3, 5, None, 15),
        ("authors", 5, 5, None, 25),
        ("whole", 5, None, None, 25),
    ]
    for row in record["rows"]:
        assert row["tested"] == 3 * row["authors"]  # the last 3 of 8
        assert list(row["systems"]) == SYSTEMS
        for system, figures in row["systems"].items():
            assert figures.keys() == {"accuracy", "interval", "macro_f1"} | ({"ece"} if system == "authorid" else set())
            low, high = figures["interval"]
            assert 0 <= low <= figures["accuracy"] <= high <= 1
    whole = record["rows"][-1]["systems"]
    assert whole["LinearSVC"]["accuracy"] == whole["Cosine Delta"]["accuracy"] == 1.0


@needs_all
def test_another_corpus_can_be_tested(part, tmp_path, capsys):
    corpus, test = write_corpus(tmp_path / "corpus", 3, 4), write_corpus(tmp_path / "other", 3, 2)
    assert part("accuracy").main([str(corpus), "--test", str(test), "--out", str(tmp_path / "out"), "--quick"]) == 0
    record = json.loads((tmp_path / "out" / "quick-accuracy.json").read_text("utf-8"))
    assert record["corpus"]["tested"] == "other"
    assert "3 authors, 12 training documents, 6 tested (other)" in capsys.readouterr().out
    # Nobody has 5 documents.
    assert [row["documents"] for row in record["rows"] if row["curve"] == "documents"] == [2]


def test_rows_that_a_corpus_cannot_fill_are_left_out(part, tmp_path):
    pytest.importorskip("scipy", reason="reading a corpus for training needs scipy")
    accuracy = part("accuracy")
    texts = accuracy._read(write_corpus(tmp_path / "corpus", 12, 10), None)
    assert (len(texts.training), len(texts.tested)) == (72, 48)
    rows = [(curve, str(cell)) for curve, cell in accuracy._rows(texts, accuracy.FULL)]
    assert rows == [
        ("documents", "12 authors, 2 documents an author, whole texts"),
        ("documents", "12 authors, 5 documents an author, whole texts"),
        ("words", "12 authors, all documents, 50 words a text"),
        ("authors", "10 authors, 10 documents an author, whole texts"),
        ("whole", "12 authors, all documents, whole texts"),
    ]


def test_a_larger_draw_contains_the_smaller_one(part, tmp_path):
    pytest.importorskip("scipy", reason="reading a corpus for training needs scipy")
    accuracy = part("accuracy")
    texts = accuracy._read(write_corpus(tmp_path / "corpus"), None)
    small, large = (accuracy._choose(texts, accuracy._Cell(*size)) for size in ((2, 2, 7), (4, 3, 9)))
    assert {text.path for text in small.training} < {text.path for text in large.training}
    assert [len(own) for own in large.documents().values()] == [3, 3, 3, 3]
    assert {text.author for text in small.tested} == set(small.authors) < set(large.authors)
    assert {len(text.text.split()) for text in (*small.training, *small.tested)} == {7}
    assert not {text.path for text in texts.tested} & {text.path for text in texts.training}


def test_texts_are_cut_behind_a_word_and_keep_their_spaces(part):
    accuracy = part("accuracy")
    text = accuracy._Text("a/1.txt", "a", "  One,\n\ntwo  three ")
    assert accuracy._shorten(text, 2).text == "  One,\n\ntwo"
    assert accuracy._shorten(text, 9).text == "  One,\n\ntwo  three"
    assert accuracy._shorten(text, None) is text


def test_without_scikit_learn_there_is_one_line_and_nothing_is_computed(part, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    assert part("__main__").main(["accuracy", str(tmp_path / "none"), "--out", str(tmp_path / "out")]) == 1
    written = capsys.readouterr()
    assert written.err == ("error: LinearSVC needs scikit-learn, which is not installed: pip install scikit-learn\n")
    assert not written.out and not (tmp_path / "out").exists()


def test_the_published_tables_are_those_of_the_record(part):
    results = ROOT / "bench" / "results"
    record = json.loads((results / "accuracy.json").read_text("utf-8"))
    assert part("accuracy_report").accuracy_tables(record) == (results / "accuracy.md").read_text("utf-8")


@needs_all
def test_without_a_corpus_there_is_one_line(part, monkeypatch, capsys):
    accuracy = part("accuracy")
    monkeypatch.setattr(accuracy, "find_c50", lambda root: None)
    assert accuracy.main([]) == 1
    assert capsys.readouterr().err.startswith("error: no corpus: name one, or set AUTHORID_C50")


def test_the_help_names_the_command(part, capsys):
    with pytest.raises(SystemExit):
        part("__main__").main(["--help"])
    assert "python -m bench accuracy --help" in " ".join(capsys.readouterr().out.split())


def test_z_scores_by_hand(part):
    # Shares of "a": 1 and 1/2 for author 0, 1/2 and 0 for author 1; mean 1/2, variance 1/8. "b" has the rest.
    texts = ["a a a a", "A b. b a", "a a b b", "b b 7 b b"]
    known, tested = part("accuracy_baselines")._z_scores(texts, np.array([0, 0, 1, 1]), ["a a a b", "c"], 500)
    half = 0.5**0.5
    assert known == pytest.approx(np.array([[half, -half], [-half, half]]))
    # 3/4 and 1/4 are a quarter from the mean; a text without these words is half below it in both.
    assert tested == pytest.approx(np.array([[half, -half], [-2 * half, -2 * half]]))


def test_deltas_by_hand(part):
    baselines = part("accuracy_baselines")
    # Shares of "a": 0, 5/10 and 7/10; their mean is 4/10.
    texts = [f"{'a ' * number}{'b ' * (10 - number)}" for number in (0, 5, 7)]
    labels = np.arange(3)
    # 3/10 is nearest to 5/10, but on the same side of the mean as 0.
    tested = [f"{'a ' * 3}{'b ' * 7}", texts[0], f"{'a ' * 9}b"]
    assert baselines.burrows_delta(texts, labels, tested).tolist() == [1, 0, 2]
    assert baselines.cosine_delta(texts, labels, tested[:2]).tolist() == [0, 0]


def test_delta_takes_the_commonest_words_only(part):
    baselines = part("accuracy_baselines")
    # "the" is commonest: 2/4 for author 0, 3/4 for author 1. "x" would decide for author 0.
    texts, labels = ["the the x x", "the the the z"], np.array([0, 1])
    tested = ["the the the x", "the the z z"]
    assert baselines.burrows_delta(texts, labels, tested, commonest=1).tolist() == [1, 0]
    assert baselines.burrows_delta(texts, labels, ["the x x x"]).tolist() == [0]


def test_linear_svc_tells_two_vocabularies_apart(part):
    pytest.importorskip("sklearn", reason="the baseline LinearSVC needs scikit-learn")
    texts = ["red green red", "green red green", "salt pepper salt", "pepper salt pepper"]
    answers = part("accuracy_baselines").linear_svc(texts, np.array([0, 0, 1, 1]), ["pepper and salt", "red or green"])
    assert answers.tolist() == [1, 0]
