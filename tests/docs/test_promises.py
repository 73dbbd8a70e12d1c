"""Every promise of the reliability page has a test with its name, and every such test a promise."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]
PAGE = (TESTS.parent / "docs" / "explanation" / "reliability.md").read_text("utf-8")
PROMISES = re.findall(r"^- `([a-z-]+)`: ", PAGE, re.MULTILINE)


def kept() -> set[str]:
    """The promises that tests are marked with."""
    names = set()
    for path in TESTS.rglob("test_*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.promise":
                names |= {ast.literal_eval(argument) for argument in node.args}
    return names


def test_promises_have_names_of_their_own():
    assert PROMISES
    assert Counter(PROMISES).most_common(1)[0][1] == 1


def test_every_promise_is_kept_by_a_test():
    assert not set(PROMISES) - kept()


def test_no_test_keeps_a_promise_that_nobody_made():
    assert not kept() - set(PROMISES)
