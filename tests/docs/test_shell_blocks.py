"""Every shell command in README and docs exists; those that are quick are run."""

from __future__ import annotations

import gzip
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import warnings
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib.util import find_spec
from pathlib import Path
from unittest.mock import patch

import click
import pytest
from command import every_command
from remote import MISSING, client_environment, moto_server

from authorid.cli.app import app

ROOT = Path(__file__).resolve().parents[2]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "models/README.md")),
    *sorted(page for page in (ROOT / "docs").rglob("*.md") if "research" not in page.parts),
]
BLOCKS = [
    pytest.param(block, id=f"{page.relative_to(ROOT)}-{number}")
    for page in PAGES
    for number, block in enumerate(re.findall(r"^```sh\n(.*?)^```$", page.read_text("utf-8"), re.MULTILINE | re.DOTALL))
]
SLOW = re.compile(
    r"\b(pip|pytest|git|ruff|mypy|mkdocs|python)\b|\.ci/run|authorid (export|tune|bench|data)|--base-model|all-MiniLM|"
    r"--runner"
)
"""Blocks that install, need what is not there, or take long: their commands are parsed, and not run."""


def commands(block: str) -> list[list[str]]:
    """The arguments of every call of authorid in a block."""
    calls = []
    for line in block.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\||;", line):
            words = shlex.split(part.split(" < ")[0], comments=True)
            if words and words[0] == "authorid":
                calls.append(words[1:])
    return calls


@pytest.mark.parametrize("block", BLOCKS)
def test_commands_and_options_exist(block):
    for words in commands(block):
        if words == ["--version"]:
            continue
        known = every_command()
        depth = 1 if words[0] in known else 2
        name = " ".join(words[:depth])
        known[name].make_context(f"authorid {name}", words[depth:], parent=click.Context(app))


def test_an_option_that_does_not_exist_is_found():
    with pytest.raises(click.UsageError):
        test_commands_and_options_exist("authorid score letters --no-such-option\n")


def test_options_that_the_text_names_exist():
    known = {
        opt for command in every_command().values() for p in command.params for opt in (*p.opts, *p.secondary_opts)
    }
    known |= {"--version", "--help"}
    for page in PAGES:
        text = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.MULTILINE | re.DOTALL)
        named = {
            name for code in re.findall(r"`([^`\n]+)`", text) for name in re.findall(r"(?<!\S)--[a-z][a-z0-9-]+", code)
        }
        of_others = {"--quick", "--peers"}
        assert named <= known | of_others, page.relative_to(ROOT)


WORDS = {
    "Austen": ["walk", "dance", "garden", "sister", "letter", "visit", "marry", "sensible", "ball", "carriage"],
    "Byron": ["storm", "ocean", "ruin", "shadow", "glory", "tomb", "mountain", "exile", "sword", "night"],
}


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """An environment in which `authorid` is this checkout."""
    command = tmp_path_factory.mktemp("bin") / "authorid"
    command.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m authorid "$@"\n')
    command.chmod(0o755)
    path = os.pathsep.join([str(command.parent), os.environ["PATH"]])
    python_path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    return {**os.environ, "PATH": path, "PYTHONPATH": python_path}


def run(block: str, directory: Path, environment: dict[str, str]) -> None:
    command = ["bash", "-euo", "pipefail", "-c", block]
    done = subprocess.run(command, cwd=directory, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory, environment: dict[str, str]) -> Path:
    """A directory with what the pages name: examples, letters, a corpus, held-out documents and a model."""
    desk = tmp_path_factory.mktemp("desk")
    shutil.copytree(ROOT / "examples", desk / "examples")
    for author, words in WORDS.items():
        for directory, numbers in (("corpus", range(12)), ("held-out", range(12, 15))):
            (desk / directory / author).mkdir(parents=True)
            for number in numbers:
                chosen = ((words[(number + step * step) % 10], words[step % 10]) for step in range(60))
                text = " ".join(f"the {one} and a {other}," for one, other in chosen)
                (desk / directory / author / f"letter-{number:03}.txt").write_text(f"{number} {text}\n")
    (desk / "letters").mkdir()
    for number in range(3):
        (desk / "letters" / f"{number}.txt").write_text(f"We walk to the garden and write letter {number}.\n")
    rows = [json.dumps({"id": f"r{number}", "body": f"A good boat, and review {number}."}) for number in range(3)]
    (desk / "reviews.jsonl.gz").write_bytes(gzip.compress("\n".join(rows).encode()))
    if find_spec("scipy") is not None:
        run("authorid train corpus --no-encoder --out model --quiet", desk, environment)
    return desk


@pytest.mark.parametrize(
    "block", [block for block in BLOCKS if commands(block.values[0]) and not SLOW.search(block.values[0])]
)
def test_quick_blocks_run(block, desk, environment, tmp_path):
    trains = "authorid train" in block
    if (trains or " model " in block) and find_spec("scipy") is None:
        pytest.skip("not installed: scipy")
    shutil.copytree(desk, tmp_path / "desk")
    if trains:
        shutil.rmtree(tmp_path / "desk" / "model")
    with ExitStack() as stack:
        if "s3://" in block:
            environment = {
                **environment,
                **stack.enter_context(letters_in_a_bucket(desk)),
                "AUTHORID_STATE": str(tmp_path),
            }
        run(block, tmp_path / "desk", environment)


@contextmanager
def letters_in_a_bucket(desk: Path) -> Iterator[dict[str, str]]:
    """Environment variables with which S3 is on this machine, and has the letters in the bucket ``bucket``."""
    if MISSING or find_spec("moto") is None or find_spec("pyarrow") is None:
        pytest.skip("not installed: s3fs, moto or pyarrow")
    import boto3

    with moto_server() as url, patch.dict(os.environ, client_environment(url)), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        client = boto3.client("s3", endpoint_url=url)
        client.create_bucket(Bucket="bucket")
        for letter in (desk / "letters").iterdir():
            client.upload_file(str(letter), "bucket", f"letters/{letter.name}")
        yield client_environment(url)
