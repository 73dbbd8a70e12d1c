"""Options from `authorid.toml`: what it can set, what it cannot, and what is said about its errors."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from command import every_command

from authorid.cli import config_file
from authorid.cli.app import app


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    """An empty working directory with a document."""
    monkeypatch.chdir(tmp_path)
    Path("a.txt").write_text("The engine and the loom.\n")


def configure(text, name="authorid.toml"):
    Path(name).parent.mkdir(exist_ok=True, parents=True)
    Path(name).write_text(text)


def received(command, *arguments):
    """The parameters that a command line gives its command, and where each comes from."""
    context = every_command()[command].make_context(command, [str(argument) for argument in arguments])
    return {name: (value, context.get_parameter_source(name).name) for name, value in context.params.items()}


def refused(command, *arguments):
    with pytest.raises(click.UsageError) as error:
        received(command, *arguments)
    return error.value.format_message()


def test_a_file_reaches_the_run(score):
    configure('[score]\nformat = "jsonl"\ntop = 2\n')
    code, out, _ = score("a.txt", "--out", "-")
    assert code == 0
    assert len(json.loads(out)["top"]) == 2


def test_the_command_line_precedes_the_environment_and_that_the_file(monkeypatch):
    assert received("score", "a.txt")["effort"] == ("auto", "DEFAULT")
    configure('[score]\neffort = "full"\n')
    assert received("score", "a.txt")["effort"] == ("full", "DEFAULT_MAP")
    monkeypatch.setenv("AUTHORID_SCORE_EFFORT", "fast")
    assert received("score", "a.txt")["effort"] == ("fast", "ENVIRONMENT")
    assert received("score", "a.txt", "--effort", "auto")["effort"] == ("auto", "COMMANDLINE")


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("hidden = true", "hidden", True),
        ("hidden = false", "hidden", False),
        ('include = ["*.txt", "*.md"]', "include", ("*.txt", "*.md")),
        ('max-bytes = "16M"', "max_bytes", 16 << 20),
        ("max-bytes = 99", "max_bytes", 99),
        ("max_bytes = 99", "max_bytes", 99),
        ('max-false-attribution = "5%"', "max_false_attribution", 0.05),
        ("max-false-attribution = 0.25", "max_false_attribution", 0.25),
        ("max-false-attribution = 1", "max_false_attribution", 1.0),
        ("timeout = 2", "timeout", 2.0),
        ('model = "my-bundle"', "model", Path("my-bundle")),
        ('ignore-file = "sub/rules"', "ignore_file", Path("sub/rules")),
        ("verbose = true", "verbose", True),
    ],
)
def test_values_of_every_type(line, name, value):
    configure(f"[score]\n{line}\n")
    assert received("score", "a.txt")[name] == (value, "DEFAULT_MAP")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[skore]\n", "[skore]: no such command; there are score, list"),
        ("score = 1\n", "score: must be a table"),
        ("effort = 'fast'\n", "[effort]: no such command"),
        ("[models.lost]\n", "[models.lost]: no such command; there are list, show"),
        ("[score]\nefort = 'fast'\n", "[score] efort: no such option"),
        ("[score]\npaths = ['a']\n", "[score] paths: no such option"),
        ("[score]\nconfig = 'a'\n", "[score] config: no such option"),
        ("[score]\nhelp = true\n", "[score] help: no such option"),
        ("[score]\neffort = 'quick'\n", "[score] effort: 'quick' is not one of"),
        ("[score]\neffort = 1\n", "[score] effort: must be a string"),
        ("[score]\nhidden = 'yes'\n", "[score] hidden: must be true or false"),
        ("[score]\nhidden = 1\n", "[score] hidden: must be true or false"),
        ("[score]\ninclude = '*.txt'\n", "[score] include: must be a list of strings"),
        ("[score]\ninclude = [1]\n", "[score] include: must be a list of strings"),
        ("[score]\ntop = 2.5\n", "[score] top: must be a whole number"),
        ("[score]\ntop = true\n", "[score] top: must be a whole number"),
        ("[score]\ntop = 0\n", "[score] top: 0 is not in the range"),
        ("[score]\nmax-false-attribution = nan\n", "[score] max-false-attribution: nan is not a finite number"),
        ("[score]\nmax-false-attribution = 2\n", "[score] max-false-attribution: 2.0 is not in the range"),
        ("[score]\nmax-bytes = -1\n", "[score] max-bytes: -1 is not a size"),
        ("[score]\ntimeout = 1979-05-27\n", "[score] timeout: must be a number"),
        ("[score]\ntop = {a = 1}\n", "[score] top: must be a whole number"),
        ("[score\n", "not valid TOML"),
        ("[score]\ntop = 1\ntop = 2\n", "not valid TOML"),
        ("a = " + "[" * 100_000, "not valid TOML"),
        ("# " + "x" * (1 << 20), "larger than 1048576 bytes"),
    ],
)
def test_errors_name_the_file_and_the_key(text, problem):
    configure(text)
    message = refused("score", "a.txt")
    assert message.startswith("authorid.toml: ")
    assert problem in message
    assert CliRunner().invoke(app, ["score", "a.txt"]).exit_code == 2


def test_bytes_that_are_no_text():
    Path("authorid.toml").write_bytes(b"\xff\xfe")
    assert "authorid.toml: not valid TOML" in refused("score", "a.txt")


def test_an_error_does_not_break_the_terminal():
    configure('[score]\n"a\\u001b[31m\\nb" = 1\n')
    message = refused("score", "a.txt")
    assert "\x1b" not in message
    assert "\n" not in message


def test_pyproject_is_used_without_authorid_toml():
    configure('[tool.authorid.score]\neffort = "fast"\n', "pyproject.toml")
    assert received("score", "a.txt")["effort"] == ("fast", "DEFAULT_MAP")
    configure('[score]\neffort = "full"\n')
    assert received("score", "a.txt")["effort"] == ("full", "DEFAULT_MAP")


@pytest.mark.parametrize(
    "text",
    ["[tool.other]\nx = 1\n", "this is [not TOML", "[project]\nname = 'authorid'\n", "tool = 1\nx = 'authorid'\n"],
)
def test_a_pyproject_of_others_is_none_of_our_business(text):
    configure(text, "pyproject.toml")
    assert received("score", "a.txt")["effort"] == ("auto", "DEFAULT")


def test_an_error_in_pyproject():
    configure("[tool.authorid.score]\ntop = 'x'\n", "pyproject.toml")
    assert refused("score", "a.txt").startswith("pyproject.toml: [score] top: must be")
    configure("tool.authorid = 1\n", "pyproject.toml")
    assert refused("score", "a.txt").startswith("pyproject.toml: tool.authorid: must be a table")


def test_a_file_that_is_named_is_used_instead():
    configure('[score]\neffort = "full"\nhidden = true\n')
    configure('[score]\neffort = "fast"\nmodel = "b"\nout = "rows.csv"\nbase = 1\n', "sub/mine.toml")
    assert "mine.toml: [score] base: no such option" in refused("score", "a.txt", "--config", "sub/mine.toml")
    configure('[score]\neffort = "fast"\nmodel = "b"\nout = "rows.csv"\n', "sub/mine.toml")
    found = received("score", "--config", "sub/mine.toml", "a.txt")
    assert found["effort"] == ("fast", "DEFAULT_MAP")
    assert found["hidden"] == (False, "DEFAULT")
    assert found["model"] == (Path("sub/b"), "DEFAULT_MAP")
    assert found["out"] == (str(Path("sub/rows.csv")), "DEFAULT_MAP")
    assert "missing.toml: no such file" in refused("score", "a.txt", "--config", "missing.toml")


def test_a_stream_in_a_file_stays_a_stream():
    configure('[score]\nout = "-"\n', "sub/mine.toml")
    assert received("score", "--config", "sub/mine.toml", "a.txt")["out"][0] == "-"


def test_an_empty_file_switches_the_other_off(monkeypatch):
    configure('[score]\neffort = "full"\n')
    assert received("score", "a.txt", "--config", os.devnull)["effort"] == ("auto", "DEFAULT")
    monkeypatch.setenv("AUTHORID_SCORE_CONFIG", os.devnull)
    assert received("score", "a.txt")["effort"] == ("auto", "DEFAULT")


def test_a_file_of_the_parent_directory_is_not_used(monkeypatch):
    configure('[score]\neffort = "full"\n')
    Path("sub").mkdir()
    monkeypatch.chdir("sub")
    assert received("score", "a.txt")["effort"] == ("auto", "DEFAULT")


def test_subcommands_have_tables_of_their_own():
    configure('[data.c50]\nquiet = true\n[score]\neffort = "fast"\n')
    assert received("data c50", "DIR")["quiet"] == (True, "DEFAULT_MAP")
    assert received("models list")["json_file"][0] is None


def dangerous():
    """The options of all commands that write, replace or download something, by their help."""
    words = r"^(Write|Replace|Continue|Directory for|Download|Read weights from|BERT or)"
    return {
        (name, option.opts[0][2:] if option.opts[0].startswith("--") else option.opts[1][2:])
        for name, command in every_command().items()
        for option in command.params
        if isinstance(option, click.Option) and re.match(words, option.help or "")
    }


def test_a_file_that_only_lies_there_may_write_and_replace_nothing():
    found = dangerous()
    assert {("score", "out"), ("score", "force"), ("evaluate", "plots"), ("data c50", "url")} <= found
    assert {option for _, option in found} <= config_file._ONLY_WHEN_NAMED


@pytest.mark.parametrize(("command", "option"), sorted(dangerous()))
def test_what_writes_and_replaces_needs_a_file_that_is_named(command, option):
    found = next(one for one in every_command()[command].params if f"--{option}" in one.opts)
    value = "true" if found.is_flag else '"x"'
    configure(f"[{command.replace(' ', '.')}]\n{option} = {value}\n")
    parameters = [one for one in every_command()[command].params if one.required and one is not found]
    arguments = [word for each in parameters for word in ([each.opts[0]] if each.opts[0][0] == "-" else []) + ["x"]]
    arguments = arguments or ["x"] * (command == "score")
    assert f"{option}: only a file that you name may set this" in refused(command, *arguments)
    assert received(command, *arguments, "--config", "authorid.toml")[found.name][1] == "DEFAULT_MAP"


def test_a_hostile_directory_cannot_replace_results(score):
    configure('[score]\nforce = true\nout = "a.txt"\n')
    assert score("a.txt")[0] == 2
    assert Path("a.txt").read_text() == "The engine and the loom.\n"


def test_what_is_not_a_regular_file_is_ignored():
    Path("authorid.toml").mkdir()
    assert received("score", "a.txt")["effort"] == ("auto", "DEFAULT")


def test_options_that_have_no_effect_are_wrong_usage_only_on_the_command_line():
    configure("[train]\nepochs = 3\n")
    assert received("train", "corpus", "--no-encoder")["epochs"] == (3, "DEFAULT_MAP")


def test_help_works_whatever_the_file_contains():
    configure("[score\n")
    done = CliRunner().invoke(app, ["score", "--help"])
    assert done.exit_code == 0
    assert "--config FILE" in done.output


def test_the_file_in_use_is_shown_by_verbose_and_by_doctor(score):
    configure('[score]\nformat = "jsonl"\n')
    _, _, err = score("a.txt", "--out", "-", "-v")
    assert "options from authorid.toml" in err
    assert "--format: jsonl, from authorid.toml" in err
    _, _, err = score("a.txt", "--out", "-")
    assert "authorid.toml" not in err
    done = CliRunner().invoke(app, ["doctor", "--json", "-"])
    assert json.loads(done.stdout)["options"][0] == "authorid.toml"
