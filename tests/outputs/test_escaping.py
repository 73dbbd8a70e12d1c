from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from result_records import PATHS

from authorid.outputs.escaping import cell, visible

ESCAPED = re.compile(r"\\(?:\\|x([0-9a-f]{2})|u([0-9a-f]{4})|U([0-9a-f]{8}))")


def original(shown):
    """The text that `cell` shows like this."""
    return ESCAPED.sub(original_character, shown.removeprefix("'"))


def original_character(escaped):
    byte, *longer = escaped.groups()
    if byte is not None:
        return chr(int(byte, 16)) if byte < "80" else chr(int(byte, 16) + 0xDC00)
    return next((chr(int(code, 16)) for code in longer if code is not None), "\\")


@pytest.mark.promise("exact-names")
@given(PATHS | st.text())
@example(" '=1;=2")
@example('x;"=1+1;y')
@example("\\x41")
def test_a_cell_can_be_read_back_exactly_so_that_different_names_stay_different(text):
    assert original(cell(text)) == text


def test_invisible_characters_are_written_as_escapes():
    assert visible("a\nb\x1b[31m\u202e\u200f\udcff\\\x85\ue000") == r"a\x0ab\x1b[31m\u202e\u200f\xff\\\u0085\ue000"
    assert visible("naïve Ærø 川 עברית") == "naïve Ærø 川 עברית"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "'quoted"])  # noqa: RUF001
def test_formulas_get_an_apostrophe(text):
    assert cell(text) == f"'{text}"


def test_leading_tabs_and_semicolons_hide_no_formula():
    assert cell("\t=1") == r"\x09=1"
    assert cell("\r=1") == r"\x0d=1"
    assert cell("a; =1;b") == r"a\x3b =1;b"
