"""What people expect of any command: short options, completion, the environment, a self-description for reports."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

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


def test_doctor_looks_for_every_extra():
    project = tomllib.loads((Path(__file__).resolve().parents[2] / "pyproject.toml").read_text("utf-8"))["project"]
    assert set(doctor_command._EXTRAS) == set(project["optional-dependencies"]) - {"test", "docs", "dev"}


def test_a_description_in_a_file_is_whole(monkeypatch):
    for number in range(30):
        monkeypatch.setenv(f"AUTHORID_SCORE_OPTION_{number}", "1")
    assert "AUTHORID_SCORE_OPTION_9" in CliRunner().invoke(app, ["doctor"]).stdout


def test_quiet_and_verbose_exclude_each_other(score, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("The engine and the loom.\n")
    code, _, err = score(tmp_path, "-q", "-v")
    assert code == 2
    assert "--quiet and --verbose exclude each other" in err
    monkeypatch.setenv("AUTHORID_SCORE_QUIET", "1")
    assert "Scoring: " in score(tmp_path, "-v")[2]  # the command line decides
    monkeypatch.setenv("AUTHORID_SCORE_VERBOSE", "1")
    assert score(tmp_path)[2] == ""


def test_verbose_shows_reasons_durations_and_where_options_come_from(score, tmp_path, monkeypatch):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a.txt").write_text("The engine and the loom.\n")
    (docs / "b\x1b[31m\n.txt").touch()
    monkeypatch.setenv("AUTHORID_SCORE_TOP", "2")
    code, _, err = score(docs, "-v")
    assert code == 3
    assert "--top: 2, from AUTHORID_SCORE_TOP" in err
    assert re.search(r"^Loading \S+: \d+\.\d s$", err, re.MULTILINE)
    assert re.search(r"^Scoring: \d+\.\d s$", err, re.MULTILINE)
    (reason,) = [line for line in err.splitlines() if line.startswith("failed: ")]
    assert reason.endswith("b\\x1b[31m\\x0a.txt: empty file")
    assert "\x1b" not in err
    assert "failed: " not in score(docs)[2]


def test_verbose_shows_the_traceback_of_a_run_that_broke_off(score, tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_text("The engine and the loom.\n")

    def broken(*_, **__):
        raise ZeroDivisionError("surprise")
        yield

    monkeypatch.setattr(Scorer, "score", broken)
    code, _, err = score(tmp_path, "-v")
    assert code == 1
    assert "the run broke off: ZeroDivisionError: surprise" in err
    assert "Traceback" in err
    assert "Traceback" not in score(tmp_path)[2]


@pytest.mark.parametrize("out", ["-", "/dev/stdout"])
def test_statistics_on_standard_output_and_results_there_too_are_wrong_usage(score, tmp_path, out):
    code, _, err = score(tmp_path, "--out", out, "--stats", "-")
    assert code == 2
    assert "--stats" in err
    assert "the results go to standard output" in " ".join(err.split())


def test_statistics_on_standard_output(score, tmp_path):
    (tmp_path / "a.txt").write_text("The engine and the loom.\n")
    for out in ([], ["--out", tmp_path / "out.csv"]):
        code, out_text, _ = score(tmp_path / "a.txt", *out, "--stats", "-")
        assert code == 0
        assert json.loads(out_text)["documents"] == 1
    assert not Path("-").exists()


def test_bash_completes_options_in_a_real_shell(tmp_path):
    """The line that the reference gives for ~/.bashrc."""
    if shutil.which("bash") is None:
        pytest.skip("no bash")
    run_main = "from authorid.__main__ import main; main()"
    (tmp_path / "authorid").write_text(f"#!/bin/sh\nexec {sys.executable} -c '{run_main}' \"$@\"\n")
    (tmp_path / "authorid").chmod(0o755)
    script = (
        'eval "$(_AUTHORID_COMPLETE=bash_source authorid)"; '
        'COMP_WORDS=(authorid score --max-f); COMP_CWORD=2; _authorid_completion authorid; echo "${COMPREPLY[@]}"'
    )
    given = {**environment(tmp_path), "PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", "-c", script], env=given, cwd=Path(__file__).parents[2], capture_output=True, text=True, check=False
    )
    assert done.stdout == "--max-false-attribution\n", done.stderr
