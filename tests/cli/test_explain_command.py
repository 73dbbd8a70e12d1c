from __future__ import annotations

import json
import re
import sys

import pytest
from fusion_bundle import make_fusion_bundle
from tiny import prose

from authorid.cli.app import main

ESCAPE = "\x1b]0;owned\x07\x1b[31m\u202e"


@pytest.fixture(scope="module")
def fusion(tmp_path_factory):
    return make_fusion_bundle(tmp_path_factory.mktemp("explain"))


@pytest.fixture
def explain(fusion, capfd, monkeypatch):
    def call(*arguments, model=fusion.path, command="explain"):
        monkeypatch.setattr(sys, "argv", ["authorid", command, *map(str, arguments), "--model", str(model)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return int(exit_info.value.code or 0), *capfd.readouterr()

    return call


@pytest.fixture
def letter(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text(prose("Ada", 120, seed=1))
    return path


def test_the_screen_shows_both_authors_with_brackets(explain, letter):
    code, out, err = explain(letter)
    assert (code, err) == (0, "")
    assert out.splitlines()[0] == f"{letter}: scored" or str(letter)[:40] in out
    assert len(re.findall(r"^(?:Ada|Ben|Cyd): n-gram score [+-]\d", out, re.MULTILINE)) == 2
    assert "[+" in out and "for" in out and "against" in out
    assert max(map(len, out.splitlines())) <= 100


def test_the_whole_text_is_shown_with_marks(explain, letter):
    _, out, _ = explain(letter, "--text")
    words = re.sub(r"\[[+-]|\]", "", out).split()
    assert " ".join(letter.read_text().split()) in " ".join(words)


def test_json_says_the_same(explain, letter, tmp_path):
    code, out, _ = explain(letter, "--author", "Cyd", "--json", "-", "--rolling")
    assert code == 0
    (record,) = json.loads(out)["documents"]
    assert record["path"] == str(letter)
    assert record["authors"][0]["author"] == "Cyd"
    assert record["rolling"]["segments"][0]["first_word"] == 1
    assert explain(letter, "--author", "Cyd", "--json", tmp_path / "file.json", "--rolling")[0] == 0
    assert json.loads((tmp_path / "file.json").read_text()) == json.loads(out)


def test_a_row_for_each_segment(explain, tmp_path):
    (tmp_path / "long.txt").write_text(prose("Ada", 400, seed=2) + prose("Ben", 400, seed=3))
    _, out, _ = explain(tmp_path / "long.txt", "--rolling")
    rows = re.findall(r"^ *(\d+)-(\d+) *\| *(\w+)", out, re.MULTILINE)
    assert [row[2] for row in rows] == ["Ada", "Ben"]
    assert abs(int(rows[0][1]) - 400) <= 50


@pytest.mark.parametrize("more", [(), ("--text",), ("--rolling",)])
def test_hostile_documents_and_names_show_no_control_characters(explain, tmp_path, more):
    path = tmp_path / f"a{ESCAPE[-6:]}.txt"
    path.write_text(prose("Ada", 60, seed=4) + f"{ESCAPE} [bold]engine[/bold] :smile: {ESCAPE}. " + prose("Ada", 60))
    code, out, err = explain(path, *more)
    assert code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u202e]", out + err)


def test_documents_that_fail_have_a_line_and_exit_code_3(explain, letter):
    (letter.parent / "damaged.txt").write_bytes(b"\x00\x01")
    code, out, err = explain(letter.parent)
    assert code == 3
    assert "damaged.txt" in err and "letter.txt: " in out


def test_an_unknown_author_is_wrong_usage(explain, letter):
    code, _, err = explain(letter, "--author", "Mallory")
    assert code == 2
    assert "knows no author 'Mallory'" in " ".join(err.split())


def test_a_model_without_n_grams_is_an_error(explain, letter, bundle):
    code, _, err = explain(letter, model=bundle.path)
    assert code == 1
    assert "no n-gram model" in err


@pytest.mark.parametrize("option", ["--explain", "--evidence"])
@pytest.mark.parametrize("arguments", [(), ("--out", "out.csv"), ("--out", "-", "--format", "tsv")])
def test_options_for_rows_are_wrong_usage_where_rows_have_no_room(explain, letter, option, arguments, monkeypatch):
    monkeypatch.chdir(letter.parent)
    code, _, err = explain(letter, option, *arguments, command="score")
    assert code == 2
    assert option in err and "JSONL" in err
    assert [path.name for path in letter.parent.iterdir()] == [letter.name]


def test_evidence_without_an_encoder_is_wrong_usage(explain, letter, fusion):
    for arguments, model in ((("--effort", "fast"), fusion.path), ((), fusion.path.parent / "run")):
        code, _, err = explain(
            letter, "--evidence", "--out", "-", "-f", "jsonl", *arguments, model=model, command="score"
        )
        assert code == 2
        assert "encoder does not run" in " ".join(err.split())


def test_rows_with_explanations_are_resumed_with_the_same_bytes(explain, letter):
    out = letter.parent / "out.jsonl"
    assert explain(letter, "--explain", "--out", out, command="score")[0] == 0
    (row,) = map(json.loads, out.read_text().splitlines())
    assert row["explanation"]["author"] == row["author"]
    assert row["explanation"]["ngrams"][0]["contribution"] > 0


def test_an_interrupted_run_with_explanations_ends_with_the_same_bytes(explain, letter):
    folder = letter.parent / "letters"
    folder.mkdir()
    for number in range(6):
        (folder / f"{number}.txt").write_text(prose("Ada", 20 + 9 * number, seed=number))
    whole, part = letter.parent / "whole.jsonl", letter.parent / "part.jsonl"
    (folder / "3.txt").write_bytes(b"\x00\x01")
    assert explain(folder, "--explain", "--out", whole, command="score")[0] == 3
    assert explain(folder, "--explain", "--out", part, "--fail-fast", command="score")[0] == 1
    code, _, err = explain(folder, "--explain", "--out", part, "--resume", command="score")
    assert code == 3 and "rows kept" in err
    assert part.read_bytes() == whole.read_bytes()
    assert explain(folder, "--out", part, "--force", "--fail-fast", command="score")[0] == 1
    code, _, err = explain(folder, "--explain", "--out", part, "--resume", command="score")
    assert code == 1 and "explain was False, now True" in err


def test_an_adapted_model_is_not_explained(explain, letter):
    code, _, err = explain(letter, "--explain", "--adapt", "--out", "-", "-f", "jsonl", command="score")
    assert code == 2
    assert "--explain" in err
