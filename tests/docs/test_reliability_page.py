from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
PAGE = (TESTS.parent / "docs" / "reliability.md").read_text("utf-8")
SOURCES = [path.read_text("utf-8") for path in TESTS.rglob("test_*.py")]


@pytest.mark.parametrize("name", sorted(set(re.findall(r"::(test_\w+)", PAGE))))
def test_every_promise_names_a_test_that_exists(name):
    assert any(f"\ndef {name}(" in source for source in SOURCES)


@pytest.mark.parametrize("file", sorted(set(re.findall(r"`((?:attacks/)?test_\w+\.py)", PAGE))))
def test_every_promise_names_a_file_that_exists(file):
    assert (TESTS / file).is_file()
