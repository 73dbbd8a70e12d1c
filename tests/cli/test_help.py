"""The help of every command: common options first, advanced ones in the last section, and examples that work."""

from __future__ import annotations

import re
import shlex

import click
import pytest
from click.testing import CliRunner
from command import every_command

from authorid.cli.app import app
from authorid.cli.help_examples import EXAMPLES
from authorid.cli.options import AdvancedOption

COMMANDS = every_command()


def shown(name):
    return CliRunner().invoke(app, [*name.split(), "--help"], terminal_width=80).output


def test_every_command_has_examples():
    assert list(EXAMPLES) == list(COMMANDS)
    assert all(2 <= len(examples) <= 4 for examples in EXAMPLES.values())


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_are_the_end_of_the_help_and_are_not_wrapped(name):
    lines = shown(name).rstrip("\n").splitlines()
    assert lines[-len(EXAMPLES[name]) - 1 :] == ["Examples:", *(f"  {example}" for example in EXAMPLES[name])]
    assert all(len(line) <= 80 for line in lines)


@pytest.mark.parametrize("example", [example for examples in EXAMPLES.values() for example in examples])
def test_every_example_is_a_command_line_that_is_accepted(example, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    program, *words = shlex.split(example)
    assert program == "authorid"
    name = words[0] if words[0] in COMMANDS else " ".join(words[:2])
    context = COMMANDS[name].make_context(name, words[len(name.split()) :], parent=click.Context(app))
    assert context.command is COMMANDS[name]


@pytest.mark.parametrize("name", COMMANDS)
def test_advanced_options_come_last(name):
    headings = re.findall(r"^(\w.*):$", shown(name), re.MULTILINE)
    assert headings[-2:] == ["Advanced options", "Examples"]
    advanced = shown(name).split("Advanced options:\n")[1]
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            described = re.search(rf"^  (?:-\w, )?{option.opts[-1]}(?=[ ,\n])", advanced, re.MULTILINE) is not None
            assert described == isinstance(option, AdvancedOption), option.opts


def test_what_people_need_first_is_not_advanced():
    common = {"out", "form", "resume", "force", "stats", "model", "effort", "include", "quiet", "verbose"}
    names = {option.name for option in COMMANDS["score"].params if not isinstance(option, AdvancedOption)}
    assert common <= names


@pytest.mark.parametrize("group", ["models", "data"])
def test_a_group_alone_shows_its_commands(group):
    done = CliRunner().invoke(app, [group])
    assert "Commands:" in done.output
    for option in ("-h", "--help"):
        done = CliRunner().invoke(app, [group, option])
        assert done.exit_code == 0
        assert all(
            command.help.splitlines()[0][:30] in done.output for command in app.commands[group].commands.values()
        )
