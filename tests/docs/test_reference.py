"""docs/reference is what the code says: generated, complete and current."""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import click
import pytest
from command import every_command

import authorid

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "reference"
CLI = (REFERENCE / "cli.md").read_text("utf-8")
COMMANDS = every_command()


def load_generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_generated_pages_are_current():
    checked = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stderr


@pytest.mark.parametrize("page", ["cli.md", "python.md"])
def test_a_page_that_is_not_current_is_found(page, tmp_path, monkeypatch):
    generator = load_generator()
    monkeypatch.setattr(generator, "PAGES", tmp_path)
    monkeypatch.setattr(generator, "PARTS", {page: generator.PARTS[page]})
    monkeypatch.setattr(sys, "argv", ["generate.py", "--check"])
    stale = re.sub(r"^(- `|::: ).*\n", "", (REFERENCE / page).read_text("utf-8"), count=1, flags=re.MULTILINE)
    (tmp_path / page).write_text(stale, "utf-8")
    with pytest.raises(SystemExit, match=rf"not current: {page}"):
        generator.main()
    assert (tmp_path / page).read_text("utf-8") == stale
    monkeypatch.setattr(sys, "argv", ["generate.py"])
    generator.main()
    assert (tmp_path / page).read_text("utf-8") == (REFERENCE / page).read_text("utf-8")


def test_a_key_without_a_description_is_an_error():
    with pytest.raises(SystemExit, match="b, c"):
        load_generator().described(["a", "b"], {"a": "First.", "c": "Third."})


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_is_documented_and_no_other(name):
    section = CLI.split(f"## authorid {name}\n")[1].split("\n## authorid ")[0]
    documented = set(
        re.findall(r"`(--[a-z][a-z0-9-]*)`", "".join(re.findall(r"^- `-.*?: |^As \[of .*", section, re.MULTILINE)))
    )
    visible = [
        option for option in COMMANDS[name].params if option.expose_value and not getattr(option, "hidden", False)
    ]
    # The page describes --config once, for all commands.
    names = {name for option in visible for name in (*option.opts, *option.secondary_opts)}
    assert documented == {name for name in names if name.startswith("--")}


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_command_and_every_option_has_a_help_text(name):
    assert COMMANDS[name].help
    for option in COMMANDS[name].params:
        if isinstance(option, click.Option) and not option.hidden:
            assert option.help and option.help.endswith((".", "]")), f"authorid {name} {option.opts}"


@pytest.mark.parametrize("name", [name for name in authorid.__all__ if name != "__version__"])
def test_every_exported_name_is_in_the_python_page(name):
    assert f"\n::: authorid.{name}\n" in (REFERENCE / "python.md").read_text("utf-8")
    assert getattr(authorid, name).__doc__


def test_every_option_of_the_benchmark_is_in_its_page():
    helped = subprocess.run(
        [sys.executable, "-m", "bench", "--help"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    options = set(re.findall(r"--[a-z]+", helped.stdout)) - {"--help"}
    assert len(options) > 10
    page = (ROOT / "docs" / "research" / "benchmarks.md").read_text("utf-8").split("## `python -m bench`")[1]
    assert {option for option in options if f"`{option}" not in page and f"bench {option}" not in page} == set()


def test_the_examples_of_the_python_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("The bank said on Monday that it would sell its shares.\n")
    page = (REFERENCE / "python.md").read_text("utf-8")
    scoring, explaining, training = re.findall(r"^```python$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    exec(scoring, {})
    assert "letters/one.txt" in capsys.readouterr().out
    pytest.importorskip("scipy")
    texts = [f"In letter {number} I wrote of ships, and of the weather at home." for number in range(40)]
    exec(explaining, {"known_texts": texts[:2], "questioned_text": texts[2], "other_texts": texts[3:]})
    assert "NgramContribution(" in capsys.readouterr().out
    compile(training, "python.md", "exec")  # takes a corpus and a checkpoint: see tests/training


def test_the_example_of_the_page_about_scaling_out_runs(tmp_path):
    page = (ROOT / "docs" / "guide" / "scale-out.md").read_text("utf-8")
    found = re.findall(r"^```python$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    (example,) = [block for block in found if "__main__" in block]  # the others need a cluster
    (tmp_path / "example.py").write_text(example)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "example.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    assert len(done.stdout.splitlines()) == 2
