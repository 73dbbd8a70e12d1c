"""The command passes every option to the library, and refuses options that would have no effect."""

from __future__ import annotations

import os
from dataclasses import fields
from pathlib import Path

import pytest
from click.testing import CliRunner
from tiny import make_bundle

from authorid import export
from authorid.cli.app import app
from authorid.export import ExportOptions, ExportReport
from authorid.training import ngram_run

GIVEN = {
    "--quantize": (None, "quantize", True),
    "--no-fp32": (None, "keep_fp32", False),
    "--openvino": (None, "openvino", True),
    "--name": ("letters", "name", "letters"),
    "--encoder-weight": ("0.25", "encoder_weight", 0.25),
    "--text-column": ("body", "text_column", "body"),
    "--windows": (None, "windows", True),
    "--max-length": ("64", "max_length", 64),
    "--allow-pickle": (None, "allow_pickle", True),
    "--corpus": ("here", "corpus", Path("here")),
    "--verify-on": ("there", "verify_on", Path("there")),
    "--seed": ("7", "seed", 7),
    "--license": ("mit", "license_name", "mit"),
    "--force": (None, "force", True),
}
"""Options with a value, and the field of `ExportOptions` with the value it gets."""

LIBRARY_ONLY = {"calibration_windows", "verify_documents", "documents"}


def given(*without):
    return [text for name, (value, *_) in GIVEN.items() if name not in without for text in (name, value) if text]


@pytest.fixture
def calls(monkeypatch, tmp_path):
    calls = []

    def record(run, out, options, *, reporter):
        calls.append((run, out, options))
        return ExportReport(make_bundle(tmp_path / "made"), ())

    monkeypatch.setattr(export, "export_model", record)
    return calls


def test_every_option_is_passed_to_the_export_of_a_run(calls, tmp_path):
    done = CliRunner().invoke(app, ["export", "run", "--out", "bundle", *given()])
    assert done.exit_code == 0, done.output
    ((run, out, options),) = calls
    assert (run, out) == ("run", Path("bundle"))
    assert {name: getattr(options, name) for _, name, _ in GIVEN.values()} == {n: v for _, n, v in GIVEN.values()}
    assert options != ExportOptions()
    assert {name for _, name, _ in GIVEN.values()} | LIBRARY_ONLY == {field.name for field in fields(ExportOptions)}
    known = {option for parameter in app.commands["export"].params for option in parameter.opts}
    known -= {"--config", "--verbose", "--details", "-v"}  # of all commands
    assert known - set(GIVEN) == {"source", "--out", "-o", "--fp32", "--encoder", "--quiet", "-q"}


@pytest.fixture
def here(monkeypatch, tmp_path):
    """An empty working directory."""
    directory = tmp_path / "here"
    directory.mkdir()
    monkeypatch.chdir(directory)
    return directory


def write_run(path, age=0):
    path.mkdir(parents=True)
    (path / "run.json").write_text("{}")
    os.utime(path / "run.json", (1e9 - age, 1e9 - age))


def test_without_arguments_the_run_of_train_becomes_a_bundle_beside_it(calls, here):
    write_run(here / "run", age=100)
    write_run(here / "other")
    done = CliRunner().invoke(app, ["export", "--quantize"])
    assert done.exit_code == 0, done.output
    assert "exporting run to run-bundle" in done.output
    assert "next: authorid score DOCUMENTS --model run-bundle" in done.output
    ((source, out, options),) = calls
    assert (source, out, options.quantize) == ("run", Path("run-bundle"), True)


def test_without_a_directory_run_the_newest_run_is_exported(calls, here):
    write_run(here / "work" / "old", age=100)
    write_run(here / "work" / "new one")
    write_run(here / ".hidden", age=-100)
    done = CliRunner().invoke(app, ["export"])
    assert "exporting work/new one to work/new one-bundle" in done.output
    assert "--model 'work/new one-bundle'" in done.output
    assert calls[0][:2] == ("work/new one", Path("work/new one-bundle"))


def test_without_any_run_a_source_is_asked_for(calls, here):
    done = CliRunner().invoke(app, ["export", "--quantize"])
    assert (done.exit_code, calls) == (2, [])
    assert "name a SOURCE" in done.output


@pytest.mark.parametrize(
    ("source", "out"),
    [
        ("distilbert-base-uncased-finetuned-sst-2-english", "distilbert-base-uncased-finetuned-sst-2-english-bundle"),
        ("hf://somebody/reviews", "reviews-bundle"),
        ("models/reviews/", "models/reviews-bundle"),
        ("models/reviews/model.onnx", "models/reviews/model-bundle"),
    ],
)
def test_the_bundle_is_called_like_its_source(calls, here, source, out):
    (here / "models" / "reviews").mkdir(parents=True)
    (here / "models" / "reviews" / "model.onnx").touch()
    assert CliRunner().invoke(app, ["export", source]).exit_code == 0
    assert calls[0][:2] == (source, Path(out))


def test_options_for_a_bundle_of_n_grams_are_passed_to_its_export(monkeypatch, tmp_path):
    calls = []
    monkeypatch.setattr(ngram_run, "export_ngrams", lambda *paths, **options: calls.append((paths, options)))
    run = make_bundle(tmp_path / "run").path
    (tmp_path / "mine.toml").write_text("[export]\nquantize = true\n")  # has no effect here, and is no error
    arguments = ["--name", "letters", "--encoder", "other", "--encoder-weight", "0.25", "--force", "-v"]
    arguments += ["--config", str(tmp_path / "mine.toml")]
    done = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "bundle"), *arguments])
    assert done.exit_code == 0, done.output
    assert calls == [
        ((run, tmp_path / "bundle"), {"encoder": Path("other"), "weight": 0.25, "name": "letters", "force": True})
    ]


@pytest.mark.parametrize("option", sorted(GIVEN.keys() - {"--name", "--encoder-weight", "--force"}))
def test_an_option_without_effect_on_a_bundle_is_a_usage_error(tmp_path, option):
    run = make_bundle(tmp_path / "run").path
    value = [GIVEN[option][0]] if GIVEN[option][0] else []
    done = CliRunner().invoke(app, ["export", str(run), "--out", str(tmp_path / "bundle"), option, *value])
    assert done.exit_code == 2
    assert option in done.output
    assert not (tmp_path / "bundle").exists()
