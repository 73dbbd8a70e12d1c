from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.inputs.decoding import UndecodableError, decode, tidy

TEXTS = st.text(st.characters(exclude_categories=["Cs", "Cc", "Cn"]), min_size=1, max_size=200)


@given(TEXTS)
def test_valid_utf8_is_decoded_as_utf8(text):
    assert decode(text.encode("utf-8"))[0] in (text, text.removeprefix("\ufeff"))


@given(TEXTS, st.sampled_from(["utf-8-sig", "utf-16", "utf-32"]))
def test_a_byte_order_mark_decides_the_encoding(text, encoding):
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.promise("text-or-refused")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # unicode_escape has opinions on backslashes
@given(st.binary(max_size=400), st.sampled_from([None, "latin-1", "shift_jis", "unicode_escape", "utf-7", "idna"]))
def test_any_bytes_are_refused_or_become_text_that_utf8_can_encode(data, declared):
    try:
        text, encoding = decode(data, declared)
    except UndecodableError:
        return
    assert "\0" not in text
    text.encode("utf-8")
    assert encoding


@pytest.mark.parametrize("encoding", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-32-be"])
@pytest.mark.parametrize(
    "text", ["The river runs.\nThe boat waits.", "Река течёт, лодка ждёт.", "昨日の夕方、\n川へ行きました。 ok"]
)
def test_utf16_and_utf32_need_no_mark_if_one_interpretation_fits(encoding, text):
    assert decode(text.encode(encoding)) == (text, encoding)


@pytest.mark.promise("binary")
@pytest.mark.parametrize("data", [b"\x7fELF\2\1\1\0\0\0\0\0", b"a\0b\0", bytes(64), b"PK\3\4\0\0\0\0", b"\0", b"ab\0c"])
def test_nul_bytes_that_no_encoding_explains_are_binary(data):
    with pytest.raises(UndecodableError, match="binary file"):
        decode(data)


def test_a_declared_encoding_is_tried_after_utf8_and_before_detection():
    assert decode("naïve".encode("cp850"), "cp850") == ("naïve", "cp850")
    assert decode("naïve".encode(), "cp850") == ("naïve", "utf-8")
    assert decode("川へ".encode("iso2022_jp"), "iso2022_jp") == ("川へ", "iso2022_jp")


@given(TEXTS)
def test_normalizing_unifies_line_endings_and_normal_forms(text):
    expected = tidy(text)
    assert unicodedata.is_normalized("NFC", expected)
    assert tidy(unicodedata.normalize("NFD", text)) == expected
    assert tidy(text.replace("\n", "\r\n")) == expected
    assert tidy(expected) == expected


@given(st.randoms(use_true_random=False), st.integers(100, 900))
def test_normalizing_by_segments_equals_normalizing_at_once(random, size):
    text = "".join(random.choices("a é각\u0301\u0316\u1161\u11a8ক\u09be\n", k=size))
    longest = max(len(run) for run in "".join(c if unicodedata.category(c)[0] == "M" else " " for c in text).split(" "))
    if longest < 30:
        assert tidy(text) == unicodedata.normalize("NFC", text)
