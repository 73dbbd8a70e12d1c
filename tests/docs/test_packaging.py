"""What is installed: all packages, under the name of the distribution that messages and pages use."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from authorid.errors import MissingExtraError

ROOT = Path(__file__).resolve().parents[2]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_every_package_is_installed():
    homes = {"authorid": ROOT / "authorid", "authorid.export": ROOT / "export", "authorid.models": ROOT / "models"}
    packages = {
        ".".join([package, *file.parent.relative_to(home).parts])
        for package, home in homes.items()
        for file in home.rglob("__init__.py")
        if not {"export", "models"} & set(file.parent.relative_to(home).parts)
    }
    assert set(PYPROJECT["tool"]["setuptools"]["packages"]) == packages


@pytest.mark.parametrize("extra", ["fit", "plots", "train", "openvino"])
def test_a_missing_extra_is_named_with_the_distribution(extra):
    distribution = PYPROJECT["project"]["name"]
    assert extra in PYPROJECT["project"]["optional-dependencies"]
    assert f"pip install '{distribution}[{extra}]'" in str(MissingExtraError("something", extra))


@pytest.mark.parametrize("version, hint", [((3, 13), False), ((3, 14), True)])
def test_where_tensorflow_has_no_release_the_message_adds_that(monkeypatch, version, hint):
    monkeypatch.setattr("authorid.errors.sys.version_info", version)
    assert ("Python 3.13 or older" in str(MissingExtraError("keras", "train"))) is hint
    assert "Python 3.13" not in str(MissingExtraError("scipy", "fit"))


def test_no_page_and_no_message_installs_the_other_project():
    """The package called authorid on the index is not ours."""
    files = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "models").rglob("*.md")]
    files += [file for home in ("authorid", "export", "bench") for file in (ROOT / home).rglob("*.py")]
    other = re.compile(r"pip install (?:-\w )?[\x22']?authorid(?![-\w])|pypi\.org/project/authorid/")
    for file in files:
        assert not other.search(file.read_text("utf-8")), file
