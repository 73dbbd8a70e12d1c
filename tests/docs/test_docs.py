"""What users can see is documented, and what is documented exists."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import click
import pytest

import authorid
from authorid import Scorer
from authorid.cli.app import app
from authorid.encoder.engine_options import DEFAULT_BATCH_TOKENS
from authorid.models import default_bundle

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = app.commands
REFERENCE = (ROOT / "docs" / "commands.md").read_text("utf-8")


def section(command: str) -> str:
    match = re.search(rf"^## authorid {command}$(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert match, f"docs/commands.md has no section '## authorid {command}'"
    return match.group(1)


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_every_option_of_every_command_is_documented(name):
    text = section(name)
    for parameter in COMMANDS[name].params:
        if getattr(parameter, "hidden", False):
            continue
        for option in (*parameter.opts, *parameter.secondary_opts):
            if option.startswith("--") and option != "--help":
                assert f"`{option}" in text, f"authorid {name} {option} is not in docs/commands.md"


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_no_documented_option_is_gone(name):
    known = {opt for p in COMMANDS[name].params for opt in (*p.opts, *p.secondary_opts)}
    table = [line for line in section(name).splitlines() if line.startswith("| `--")]
    assert table
    for line in table:
        for option in re.findall(r"`(--[a-z][a-z0-9-]*)", line.split("|")[1]):
            assert option in known, f"docs/commands.md documents authorid {name} {option}, which does not exist"


def test_no_documented_command_is_gone():
    assert set(re.findall(r"^## authorid (\S+)$", REFERENCE, re.MULTILINE)) == set(COMMANDS)


@pytest.mark.parametrize("name", [name for name in authorid.__all__ if name != "__version__"])
def test_every_exported_name_is_in_the_library_page(name):
    assert f"`{name}" in (ROOT / "docs" / "library.md").read_text("utf-8")
    assert getattr(authorid, name).__doc__


def test_the_examples_of_the_library_page_run(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "one.txt").write_text("The bank said on Monday that it would sell its shares.\n")
    page = (ROOT / "docs" / "library.md").read_text("utf-8")
    scoring, writing, training = re.findall(r"^```python$(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    names: dict[str, object] = {}
    exec(scoring, names)
    assert "letters/one.txt" in capsys.readouterr().out
    exec(writing, names)
    header, row = (tmp_path / "results.csv").read_text("utf-8").splitlines()
    assert header.startswith("path,status,author,") and row.startswith("letters/one.txt,scored,")
    compile(training, "library.md", "exec")  # takes a corpus and a checkpoint: see tests/training


def test_every_extra_for_users_is_in_the_readme():
    extras = set(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"])
    told = set(re.findall(r"^\| `authorid\[(\w+)\]`", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    assert told == extras - {"test", "dev"}


def anchors(page: Path) -> set[str]:
    """What links can point at in a page: its headings, in lower case, words joined by hyphens."""
    headings = re.findall(r"^#+ (.*)$", page.read_text("utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_links_between_pages_lead_somewhere():
    for page in (*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md"), *(ROOT / "models").glob("*.md")):
        for target, place in re.findall(r"\]\(([^)#:]*)(?:#([^)]*))?\)", page.read_text("utf-8")):
            there = page.parent / target if target else page
            assert there.exists(), f"{page.name} links to {target}"
            assert not place or place in anchors(there), f"{page.name} links to {target}#{place}"


def test_the_version_is_said_once_and_the_same():
    assert f'version = "{authorid.__version__}"' in (ROOT / "pyproject.toml").read_text("utf-8")


def test_every_help_text_fits_its_command():
    for name, command in COMMANDS.items():
        assert isinstance(command, click.Command)
        assert command.help, f"authorid {name} has no help"


def test_every_module_has_its_place_in_the_house():
    page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    sections = dict(re.findall(r"^## (.*?)$(.*?)(?=^## |\Z)", page, re.MULTILINE | re.DOTALL))
    rooms = {
        "How a document becomes a row": ("authorid", "authorid/results"),
        "How a corpus becomes a bundle": ("authorid/training", "export"),
        "The race": ("bench",),
    }
    for title, own in rooms.items():
        modules = {path.name for room in own for path in (ROOT / room).glob("*.py")} - {"__init__.py", "__main__.py"}
        assert set(re.findall(r"`(\w+\.py)`", sections[title])) - {"__main__.py"} == modules


def test_every_module_of_the_runtime_is_bound_by_the_import_contract():
    """A module that the list leaves out could import training, and nobody would notice."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["importlinter"]["contracts"]
    (contract,) = (one for one in contracts if one.get("forbidden_modules") == ["authorid.training", "authorid.export"])
    modules = {f"authorid.{path.stem}" for path in (ROOT / "authorid").glob("*.py")} | {"authorid.outputs"}
    above = {f"authorid.{name}" for name in ("__init__", "__main__", "cli")}
    assert set(contract["source_modules"]) == modules - above


def test_the_size_of_a_batch_is_the_one_that_the_help_tells():
    (option,) = (one for one in COMMANDS["score"].params if "--batch-tokens" in one.opts)
    assert f"or {DEFAULT_BATCH_TOKENS['cpu']} (openvino: {DEFAULT_BATCH_TOKENS['openvino']})" in option.help


def test_the_readme_has_what_the_embedded_model_says_of_the_examples():
    page = (ROOT / "README.md").read_text("utf-8")
    rows = re.findall(r"\|examples/(\S+) *\| (\w+) *\| (\w+) *\| +([\d.]+)% *\| (\S+) *\| +([\d.]+)%\|", page)
    scored = {Path(row.path).name: row for row in Scorer.load(default_bundle()).score([str(ROOT / "examples")])}
    assert {name for name, *_ in rows} == set(scored)
    for name, status, author, share, second, its_share in rows:
        found = scored[name]
        assert (found.status, [who for who, _ in found.ranking[:2]]) == (status, [author, second])
        shares = [100 * probability for _, probability in found.ranking[:2]]
        assert shares == pytest.approx([float(share), float(its_share)], abs=0.2)
