"""What people expect of any command: short options, completion, the environment, a self-description for reports."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from click.testing import CliRunner
from command import command, environment, run

from authorid import __version__
from authorid.cli import doctor_command
from authorid.cli.app import app
from authorid.errors import EngineError
from authorid.scoring.scorer import Scorer


@pytest.mark.parametrize("arguments", [(), ("score",), ("export",)])
def test_short_help_is_help(arguments):
    short, long = (CliRunner().invoke(app, [*arguments, option]) for option in ("-h", "--help"))
    assert (short.exit_code, short.output) == (0, long.output)


def test_short_version_is_version():
    assert CliRunner().invoke(app, ["-V"]).output == f"authorid {__version__}\n"


def complete(words, tmp_path, shell="bash_complete"):
    given = {"_AUTHORID_COMPLETE": shell, "COMP_WORDS": " ".join(words), "COMP_CWORD": str(len(words) - 1)}
    done = subprocess.run(
        command(), env={**environment(tmp_path), **given}, capture_output=True, text=True, timeout=60, check=False
    )
    return done.stdout


def test_shells_can_complete_commands_and_options(tmp_path):
    assert "_authorid_completion" in complete([], tmp_path, "bash_source")
    assert "compdef" in complete([], tmp_path, "zsh_source")
    assert complete(["authorid", "sc"], tmp_path) == "plain,score\n"
    assert complete(["authorid", "export", "--allow"], tmp_path) == "plain,--allow-pickle\n"
    assert "plain,int8" in complete(["authorid", "score", "--precision", "i"], tmp_path)


def test_options_can_come_from_the_environment(score, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("The engine and the loom.\n")
    monkeypatch.setenv("AUTHORID_SCORE_FORMAT", "jsonl")
    code, out, _ = score(tmp_path / "a.txt", "--out", "-")
    assert code == 0
    assert json.loads(out)["status"] == "scored"
    assert score(tmp_path / "a.txt", "--out", "-", "--format", "csv")[1].startswith("path,")


def test_doctor_describes_the_machine_and_runs_the_included_model(tmp_path):
    done = run("doctor", "--json", tmp_path / "found.json", env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["authorid"] == __version__
    assert found["cores"] >= 1
    assert "cpu" in found["providers"]
    assert found["included model"].endswith("works")
    assert found["problems"] == []
    assert "processor" in done.stdout


def test_doctor_reports_what_does_not_work(monkeypatch):
    def broken(*_, **__):
        raise EngineError("no kernels for this processor")

    monkeypatch.setattr(Scorer, "load", broken)
    done = CliRunner().invoke(app, ["doctor"])
    assert done.exit_code == 1
    assert "no kernels for this processor" in done.output
    found, problems = doctor_command._examine()
    assert (found["included model"], problems) == ("does not work", ["no kernels for this processor"])


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_doctor_says_when_the_cache_cannot_be_written(tmp_path):
    (tmp_path / "cache").mkdir(mode=0o500)
    assert "cannot be written" in doctor_command._describe_cache(tmp_path / "cache")
