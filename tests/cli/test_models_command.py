"""`authorid models list` and `show`, also where names and manifests are hostile."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny import AUTHORS, make_bundle

from authorid.cli.app import app

posix_names = pytest.mark.skipif(os.name == "nt", reason="Windows has no such file names, and few links")


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AUTHORID_CACHE", str(tmp_path / ".cache"))


def call(*arguments):
    return CliRunner().invoke(app, ["models", *map(str, arguments)])


def listed():
    done = call("list", "--json", "-")
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["models"]


def test_the_included_model_is_always_there():
    (model,) = listed()
    assert (model["name"], model["place"], model["parts"], model["classes"]) == (
        "reuters50",
        "included",
        "n-grams + encoder",
        50,
    )
    done = call("list")
    assert (done.exit_code, done.stderr) == (0, "")
    assert "reuters50" in done.stdout


def test_bundles_of_the_working_directory_and_of_the_cache(bundle):
    shutil.copytree(bundle.path, "zoe")
    shutil.copytree(bundle.path, "adam")
    shutil.copytree(bundle.path, ".hidden")
    shutil.copytree(bundle.path, ".cache/fitted/0123")
    Path("corpus").mkdir()
    found = [(model["place"], Path(model["path"]).name, model["classes"]) for model in listed()]
    assert found == [
        ("included", "reuters50", 50),
        ("working directory", "adam", len(AUTHORS)),
        ("working directory", "zoe", len(AUTHORS)),
        ("cache", "0123", len(AUTHORS)),
    ]


@posix_names
@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        ("", "cannot be read"),
        ("[1]", "cannot be read: not a JSON object"),
        ("[" * 100_000, "cannot be read"),
        ('{"format": NaN}', "cannot be read"),
        ("{}", "config.json is not a regular file"),
        ("link", "authorid.json is not a regular file"),
    ],
)
def test_a_damaged_bundle_is_in_the_list_with_its_problem(manifest, problem):
    Path("bad").mkdir()
    if manifest == "link":
        Path("other.json").write_text("{}")
        Path("bad/authorid.json").symlink_to("../other.json")
    else:
        Path("bad/authorid.json").write_text(manifest)
    included, bad = listed()
    assert included["problem"] is None
    assert problem in bad["problem"]
    done = call("list")
    assert "problem" in done.stdout
    assert done.exit_code == 0


@posix_names
@pytest.mark.parametrize("provenance", ["null", "[]", '{"name": {"a": 1}}', '{"name": "\\u001b[31m\\nred"}', "7"])
def test_hostile_manifests_break_neither_the_list_nor_the_terminal(bundle, provenance):
    shutil.copytree(bundle.path, "b\x1b[31m\nad")
    file = Path("b\x1b[31m\nad/authorid.json")
    record = json.loads(file.read_text())
    record["provenance"] = json.loads(provenance)
    file.write_text(json.dumps(record))
    assert len(listed()) == 2
    done = call("list")
    assert done.exit_code == 0
    assert "\x1b" not in done.stdout
    assert len(done.stdout.splitlines()) == 7  # the title, the frame with its heading, and a line for each model


def test_show_verifies_and_describes(bundle):
    done = call("show", bundle.path, "--json", "-")
    assert done.exit_code == 0, done.output
    card = json.loads(done.stdout)
    assert card["names"] == list(AUTHORS)
    assert card["efforts"] == ["full"] if not bundle.ngrams else ["fast", "full", "auto"]
    assert {file["name"] for file in card["files"]} == {"authorid.json", *bundle.files}
    assert card["bytes"] == sum((bundle.path / file["name"]).stat().st_size for file in card["files"])
    for file in card["files"]:
        assert bundle.files.get(file["name"], file["sha256"]) == file["sha256"]


@pytest.mark.parametrize("arguments", [(), ("reuters50",)])
def test_the_included_model_by_default_and_by_name(arguments):
    done = call("show", *arguments)
    assert (done.exit_code, done.stderr) == (0, "")
    for text in ("182,539", "all-MiniLM-L6-v2", "AaronPressman", "C50train", "fast, full, auto", "0.808", "SHA-256"):
        assert text in done.stdout


def test_a_directory_precedes_a_name(bundle):
    shutil.copytree(bundle.path, "reuters50")
    assert json.loads(call("show", "reuters50", "--json", "-").stdout)["names"] == list(AUTHORS)


def test_a_damaged_bundle_is_not_shown(bundle):
    shutil.copytree(bundle.path, "bad")
    with Path("bad/config.json").open("a") as stream:
        stream.write(" ")
    done = call("show", "bad")
    assert done.exit_code == 1
    assert "its SHA-256 is" in str(done.exception)
    assert "there is nothing at that path" in str(call("show", "nothing").exception)


def test_hostile_provenance_and_checks(tmp_path):
    bundle = make_bundle(tmp_path / "model")
    record = json.loads((bundle.path / "authorid.json").read_text())
    record.pop("digest", None)
    for parity in ({}, {"checks": 1}, {"checks": [1, {"check": "\x1b[31m"}]}):
        record.update(format=4, parity=parity, provenance={"corpus": "x", "fusion": 3})
        (bundle.path / "authorid.json").write_text(json.dumps(record))
        done = call("show", bundle.path)
        assert done.exit_code == 0, done.exception
        assert "\x1b" not in done.stdout
