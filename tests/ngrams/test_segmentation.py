"""Where words begin in scripts without spaces."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.ngrams.segmentation import segment


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("漢字です。", "漢|字|で|す|。"),
        ("日本の1990年、AB型", "日|本|の|1990|年|、|AB|型"),
        ("ガ\u3099ｶﾞ", "ガ\u3099|ｶ|ﾞ"),
        ("ภาษาไทย ดี", "ภ|า|ษ|า|ไ|ท|ย ด|ี".replace("ด|ี", "ดี")),
        ("한국어를 썼다… 네", "한국어를 썼다|… 네"),
        ("قال: نعم، لا", "قال: نعم|، لا"),
        ("मैं था।", "मैं था|।"),
        ("\U00020000\U0002f800", "\U00020000|\U0002f800"),
        ("don't — stop", "don't — stop"),
        ("größer„ja“", "größer|„|ja|“"),
        ("plain, ASCII.", "plain, ASCII."),
        ("a\x1fb", "a b"),
        ("", ""),
    ],
)
def test_words_are_separated_by_script_and_category(text, words):
    assert segment(text) == words.replace("|", "\x1f")


@given(st.text())
def test_the_characters_stay_the_same_and_separators_are_never_beside_white_space(text):
    found = segment(text)
    plain = text.replace("\x1f", " ").encode("utf-8", "replace").decode()
    assert found.replace("\x1f", "") == plain
    for pair in ("\x1f\x1f", "\x1f ", " \x1f", "\x1f\n", "\n\x1f", "\x1f\t", "\t\x1f", "\x1f\r"):
        assert pair not in found
    assert not found.startswith("\x1f") and not found.endswith("\x1f")
