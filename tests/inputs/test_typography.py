# ruff: noqa: RUF001
"""Folding: the typography of a word processor, a web page or a PDF becomes that of a keyboard."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.inputs.decoding import tidy
from authorid.inputs.typography import _table, fold_typography

PLAIN = "\"It's fine,\" she said -- a well-known office... in effect, 'so far'."


@pytest.mark.parametrize(
    "text",
    [
        "“It’s fine,” she said — a well‑known office… in effect, ‘so far’.",
        "«It´s fine,» she said ― a well‐known oﬃce... in eﬀect, ‹so far›.",
        "„Itʼs\u00a0fine,‟\u202fshe\u3000said -- a\u2009well\u00ad-known of\u200bfice... in ef\u2060fect, ‚so far‛.",
        "\ufeff\"It's fine,\" she said -- a well-known office... in effect, 'so far'.\ufeff",
        "＂Ｉｔ＇ｓ ｆｉｎｅ，＂ ｓｈｅ ｓａｉｄ －－ "
        "ａ ｗｅｌｌ－ｋｎｏｗｎ ｏｆｆｉｃｅ．．． ｉｎ ｅｆｆｅｃｔ， ＇ｓｏ ｆａｒ＇．",
    ],
)
def test_typography_becomes_that_of_a_keyboard(text):
    assert fold_typography(tidy(text)) == PLAIN


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("ｶﾞｷﾞ、ﾊﾟ｡", "ガギ、パ。"),
        ("ﻻ ﷲ", "لا الله"),
        ("一。二！三？", "一。二!三?"),
        ("︵﹐︱", "(,--"),
        ("e\u200b\u0301", "é"),
        ("naïve œuvre – ½ ² ™ 「言」 の 5 €", "naïve œuvre - ½ ² ™ 「言」 の 5 €"),
    ],
)
def test_what_an_author_chose_stays(text, folded):
    assert fold_typography(tidy(text)) == folded


def test_every_form_is_final_and_normalized():
    for code, form in _table().items():
        folded = fold_typography(tidy(chr(code)))
        assert folded == unicodedata.normalize("NFC", form) == fold_typography(folded), hex(code)


any_typography = st.text(st.one_of(st.sampled_from([chr(code) for code in _table()]), st.characters()), max_size=200)


@given(any_typography)
def test_folding_twice_changes_nothing_more(text):
    folded = fold_typography(tidy(text))
    assert folded == fold_typography(folded) == tidy(folded)
    assert not any(ord(character) in _table() for character in folded)


@given(st.text(st.characters(max_codepoint=127)))
def test_ascii_is_not_touched(text):
    assert fold_typography(text) is text


@pytest.mark.parametrize("character", ["ﾞ", "ﷻ", "\u200b", "“", "…", "e\u0301\u200b"])
def test_hostile_texts_take_linear_time(character):
    started = time.perf_counter()
    fold_typography(character * 200_000)
    assert time.perf_counter() - started < 10
