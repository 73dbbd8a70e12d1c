from __future__ import annotations

import json
import sys

import pytest
from tiny import AUTHORS, prose

from authorid.cli.app import main

pytest.importorskip("scipy")


@pytest.fixture
def verify(capfd, monkeypatch):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["authorid", "verify", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_info:
            main()
        return int(exit_info.value.code or 0), *capfd.readouterr()

    return call


@pytest.fixture
def folders(tmp_path):
    for name in ("known", "questioned", "imposters"):
        (tmp_path / name).mkdir()
    for number in range(30):
        (tmp_path / "imposters" / f"{number}.txt").write_text(prose(AUTHORS[1 + number % 2], 80, seed=number))
    for number in range(2):
        (tmp_path / "known" / f"{number}.txt").write_text(prose(AUTHORS[0], 80, seed=100 + number))
    (tmp_path / "questioned" / "own.txt").write_text(prose(AUTHORS[0], 80, seed=200))
    (tmp_path / "questioned" / "other.txt").write_text(prose(AUTHORS[1], 80, seed=201))
    return tmp_path


def test_each_questioned_document_has_an_answer(verify, folders):
    arguments = (folders / "known", folders / "questioned", "--imposters", folders / "imposters")
    code, out, err = verify(*arguments, "--json", "-")
    assert (code, err) == (0, "")
    other, own = json.loads(out)["documents"]
    assert own["path"].endswith("own.txt") and own["score"] > 0.9 > 0.5 > other["score"]
    assert list(own["known_z"]) == [str(folders / "known" / f"{number}.txt") for number in range(2)]
    code, out, _ = verify(*arguments, "--json", folders / "answers.json")
    assert code == 0
    assert json.loads((folders / "answers.json").read_text())["documents"] == [other, own]
    assert f"{own['score']:.1%}" in out and "2 x 1" in out


def test_a_single_file_on_each_side(verify, folders):
    code, out, _ = verify(
        folders / "known" / "0.txt", folders / "questioned" / "own.txt", "--imposters", folders / "imposters"
    )
    assert code == 0 and "1 x 1" in out


def test_documents_that_fail_are_named(verify, folders):
    (folders / "questioned" / "damaged.txt").write_bytes(b"\x00\x01")
    (folders / "imposters" / "damaged.txt").write_bytes(b"\x00\x01")
    code, out, err = verify(
        folders / "known", folders / "questioned", "--imposters", folders / "imposters", "--json", "-"
    )
    assert code == 3
    assert [record["status"] for record in json.loads(out)["documents"]] == ["failed", "scored", "scored"]
    assert err.count("damaged.txt") == 2 and "left out" in err


def test_too_few_imposters_and_no_known_text_are_errors_of_one_line(verify, folders):
    code, _, err = verify(folders / "known", folders / "questioned", "--imposters", folders / "questioned")
    assert code == 1 and err.count("\n") == 1 and "at least 20 are needed" in err
    (folders / "empty").mkdir()
    code, _, err = verify(folders / "empty", folders / "questioned", "--imposters", folders / "imposters")
    assert code == 1 and "there is no known text" in err


def test_imposters_are_required(verify, folders):
    code, _, err = verify(folders / "known", folders / "questioned")
    assert code == 2 and "--imposters" in err
