"""The report of a run: which documents it explains, what it may replace, and a run that was interrupted."""

from __future__ import annotations

import json
import shutil

import pytest
from click.testing import CliRunner
from fusion_bundle import make_fusion_bundle
from report_pages import data
from tiny import make_bundle, prose

pytest.importorskip("scipy")
from authorid.cli.app import app
from authorid.report import run_report
from authorid.report.evidence import shown
from authorid.scoring.explanation import Explanation
from authorid.scoring.scorer import Scorer


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return make_fusion_bundle(tmp_path_factory.mktemp("model")).path


@pytest.fixture
def documents(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").mkdir()
    for number in range(6):
        (tmp_path / "docs" / f"{number}.txt").write_text(prose("Ada", 40, seed=number))
    (tmp_path / "docs" / "3.txt").write_bytes(bytes(range(256)) * 20)
    return tmp_path / "docs"


def score(*arguments):
    return CliRunner().invoke(app, ["score", *(str(argument) for argument in arguments)])


def test_every_readable_document_has_evidence_that_adds_up(documents, model, tmp_path):
    done = score("docs", "--model", model, "--report", "r.html")
    assert done.exit_code == 3
    assert "report: r.html" in done.output
    evidence = data(tmp_path / "r.html", "evidence")
    assert set(evidence) == {"0", "1", "2", "4", "5"}
    text = "".join(words for _, words in evidence["0"]["text"])
    assert text == (documents / "0.txt").read_text()
    assert any(mark > 0 for mark, _ in evidence["0"]["text"])
    total, ngrams, encoder = evidence["0"]["odds"]
    assert total == pytest.approx(ngrams + encoder, abs=0.011)
    assert len(data(tmp_path / "r.html", "about")["map"]) == 3


def test_the_evidence_is_that_of_explain(documents, model, tmp_path):
    score("docs", "--model", model, "--report", "r.html", "--effort", "full")
    evidence = data(tmp_path / "r.html", "evidence")
    explanations = [
        found for found in Scorer.load(model, effort="full").explain(["docs"]) if isinstance(found, Explanation)
    ]
    for number, found in zip((0, 1, 2, 4, 5), explanations, strict=True):
        odds = found.log_odds(*found.compared())
        assert evidence[str(number)]["odds"] == [round(odds.total, 2), round(odds.ngrams, 2), round(odds.encoder, 2)]
        assert [found.authors[one] for one in evidence[str(number)]["authors"]] == list(found.compared())


def test_long_documents_are_not_explained(documents, model, tmp_path, monkeypatch):
    monkeypatch.setattr(run_report, "_LONGEST", 100)
    (documents / "0.txt").write_text("the engine")
    score("docs", "--model", model, "--report", "r.html")
    assert set(data(tmp_path / "r.html", "evidence")) == {"0"}


def test_only_the_first_documents_are_explained(documents, model, tmp_path, monkeypatch):
    monkeypatch.setattr(run_report, "EXPLAINED", 2)
    score("docs", "--model", model, "--report", "r.html")
    assert set(data(tmp_path / "r.html", "evidence")) == {"0", "1"}
    assert len(data(tmp_path / "r.html", "rows")) == 6


def test_explanations_of_records_follow_those_with_a_text(documents, model, tmp_path, monkeypatch):
    monkeypatch.setattr(run_report, "EXPLAINED", 2)
    score("docs", "--model", model, "--report", "r.html", "--out", "out.jsonl", "--explain")
    evidence = data(tmp_path / "r.html", "evidence")
    assert set(evidence) == {"0", "1", "2", "4", "5"}
    row = json.loads((tmp_path / "out.jsonl").read_text().splitlines()[5])
    assert [one[3] for one in evidence["5"]["ngrams"]] == [one["contribution"] for one in row["explanation"]["ngrams"]]
    assert evidence["5"]["authors"] == [0]


def test_a_document_that_changed_after_its_row_is_not_explained(documents, model, tmp_path, monkeypatch):
    explain = run_report.RunReport.explain

    def change(report, *arguments):
        (documents / "0.txt").write_text(prose("Ben", 40, seed=9))
        explain(report, *arguments)

    monkeypatch.setattr(run_report.RunReport, "explain", change)
    score("docs", "--model", model, "--report", "r.html")
    assert set(data(tmp_path / "r.html", "evidence")) == {"1", "2", "4", "5"}


def test_long_texts_are_cut_and_attributed_part_by_part(documents, model, tmp_path):
    shutil.rmtree(documents)
    documents.mkdir()
    parts = [prose(author, 900, seed=number) for number, author in enumerate(("Ada", "Cyd"))]
    (documents / "both.txt").write_text(" ".join(parts))
    score("docs", "--model", model, "--report", "r.html", "--effort", "fast")
    (found,) = data(tmp_path / "r.html", "evidence").values()
    assert found["cut"] is True
    assert sum(len(words) for _, words in found["text"]) <= 4000
    assert [author for _, _, author, _ in found["parts"]] == [0, 2]
    assert found["parts"][0][1] == pytest.approx(900, abs=60)


def test_a_resumed_run_reports_all_rows(documents, model, tmp_path):
    arguments = ("docs", "--model", model, "--out", "out.csv", "--report", "r.html")
    assert score(*arguments, "--fail-fast").exit_code == 1
    assert not (tmp_path / "r.html").exists()
    assert score(*arguments, "--resume").exit_code == 3
    resumed = data(tmp_path / "r.html", "rows")
    assert score(*arguments, "--force").exit_code == 3
    assert resumed == data(tmp_path / "r.html", "rows")
    assert len(resumed) == 6


def test_the_report_is_no_document(documents, model, tmp_path):
    for _ in range(2):
        score("docs", "--model", model, "--report", "docs/r.txt")
    assert len(data(documents / "r.txt", "rows")) == 6


@pytest.mark.promise("stats-file")
@pytest.mark.parametrize(
    ("options", "code", "problem"),
    [
        (["--out", "r.csv", "--report", "./r.csv"], 2, "would replace the results"),
        (["--out", "r.csv", "--report", "r.csv.journal"], 2, "the run itself needs a file of this name"),
        (["--stats", "r.html", "--report", "r.html"], 2, "would replace the statistics"),
        (["--report", "-"], 2, "name a file"),
        (["--report", "none/r.html"], 1, "no such file or directory"),
    ],
)
def test_a_report_that_cannot_be_written_is_refused_before_the_run(documents, model, tmp_path, options, code, problem):
    done = score("docs", "--model", model, *options)
    assert done.exit_code == code
    assert problem in " ".join(f"{done.output} {done.exception}".split())
    assert sorted(path.name for path in tmp_path.iterdir() if path.name != "cache") == ["docs"]


def test_a_model_without_ngrams_has_rows_and_nothing_else(documents, bundle, tmp_path):
    score("docs", "--model", bundle.path, "--report", "r.html")
    about = data(tmp_path / "r.html", "about")
    assert (about["map"], about["tree"], data(tmp_path / "r.html", "evidence")) == (None, None, {})
    assert len(data(tmp_path / "r.html", "rows")) == 6


def test_names_keep_what_can_be_seen_and_show_what_cannot():
    assert shown("a\tb\r\nc\u202ed\ud800\\ é\n") == "a b\nc\\u202ed\ufffd\\ é\n"


def test_documents_that_the_model_learned_from_are_named(documents, tmp_path):
    for author, word in (("Ada", 0), ("Ben", 50)):
        (tmp_path / "known" / author).mkdir(parents=True)
        for number in range(4):
            (tmp_path / "known" / author / f"{number}.txt").write_text(prose(author, 80, seed=word + number))
    shutil.copy(tmp_path / "known" / "Ada" / "0.txt", documents / "again.txt")
    done = score("docs", "--known", "known", "--report", "r.html")
    assert done.exit_code == 3, done.output
    (warning,) = data(tmp_path / "r.html", "about")["warnings"]
    assert "learned from" in warning
    assert warning.endswith("docs/again.txt")


def test_labels_and_values_are_reported_as_such(documents, tmp_path):
    for rule, measure in (("sigmoid", "probability"), ("identity", "value")):
        model = make_bundle(tmp_path.parent / rule, classes="labels", rule=rule, rest=-1.0).path
        assert score("docs", "--model", model, "--report", "r.html", "--out", f"{rule}.jsonl").exit_code == 3
        about, rows = (data(tmp_path / "r.html", name) for name in ("about", "rows"))
        assert (about["noun"], about["measure"], about["map"]) == ("label", measure, None)
        results = [json.loads(line) for line in (tmp_path / f"{rule}.jsonl").read_text().splitlines()]
        assert [row[2][0] for row in rows if row[2]] == [
            about["authors"].index(one["label"]) for one in results if one["label"]
        ]
        if rule == "sigmoid":
            assert [[about["authors"][label] for label in row[9]] for row in rows] == [one["labels"] for one in results]
