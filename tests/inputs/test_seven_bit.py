"""Encodings that look like ASCII are recognized by their escapes, and ASCII that has such escapes stays ASCII."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.inputs.decoding import UndecodableError, decode
from bench.encoding_texts import TEXTS, encoded


@pytest.mark.promise("escapes")
@pytest.mark.parametrize(
    "language, encoding",
    [
        *(("ja", encoding) for encoding in ("iso2022_jp", "iso2022_jp_2", "iso2022_jp_2004", "iso2022_jp_ext")),
        *(("ko", "iso2022_kr"), ("zh-hans", "hz")),
        *((language, "utf-7") for language in TEXTS),
    ],
)
@pytest.mark.parametrize("head", ["", "Dear reader (a + b),\n"])
def test_text_in_a_seven_bit_encoding_is_decoded(language, encoding, head):
    data, text = encoded(head + TEXTS[language], encoding)
    assert data.isascii()
    assert decode(data)[0] == text


def iso2022_cn(text):
    """`text` in ISO-2022-CN, as far as GB 2312 has its characters."""
    lines = []
    for line in text.split("\n"):
        coded, shifted = b"\x1b$)A", False
        for character in line:
            if character.isascii() == shifted:
                coded, shifted = coded + (b"\x0f" if shifted else b"\x0e"), not shifted
            coded += bytes(byte & 0x7F for byte in character.encode("gb2312"))
        lines.append(coded + b"\x0f" * shifted)
    return b"\n".join(lines)


def test_iso2022_cn_is_decoded():
    text = TEXTS["zh-hans"][:60] + " (OK)\n" + TEXTS["zh-hans"][60:]
    assert decode(iso2022_cn(text)) == (text, "iso2022_cn")


def test_iso2022_cn_with_characters_that_cannot_be_decoded_fails():
    with pytest.raises(UndecodableError, match="CNS 11643"):
        decode(b"\x1b$)G\x0e" + b"D!D#" * 20 + b"\x0f\n")


@pytest.mark.parametrize(
    "encoding, removed", [("iso2022_jp", 1), ("iso2022_jp", 4), ("hz", 1), ("hz", 3), ("utf-7", 2)]
)
def test_a_cut_end_is_replaced(encoding, removed):
    language = "ja" if encoding == "iso2022_jp" else "zh-hans"
    data, text = encoded(TEXTS[language], encoding)
    found, name = decode(data[:-removed])
    assert found[:100] == text[:100]
    assert name.startswith(encoding)
    assert name.endswith("replaced)")


ASCII = [
    "Use +AGE- or +ADw- in an old header.",
    "Write to jane+news@example.com or to tom+ABC@example.org.",
    "C++, C++20, a+b, x += 1; i++ and +LAY, +100, +491234567, +ANY",
    "Google+ and Disney+ cost $5+ a month, A+ B+ C+.",
    "if (~{mask} & bits) { y = ~{USERNAME~}; z = ~{name~}; }",
    "A shell says ~{a,b}~ and a template ~{0}~}.",
    "log: \x1b$B is the escape of JIS",
    "\x1b[31mred\x1b[0m and \x1b(B plain",
    "+-----+-----+\n| a + | b+  |\n+-----+-----+",
    "-----BEGIN KEY-----\nMIIB+gYJKoZIhvcNAQcCoIIB6zCC\nAecCAQEx+DzANBglghkgBZQM+AgEFADALBgkqhkiG9w0BBwGg\n",
    "see https://example.com/?q=a+b+c&x=%2B and 1+1=2, 5+-1",
]


@pytest.mark.promise("escapes")
@pytest.mark.parametrize("text", ASCII)
def test_ascii_with_accidental_escapes_stays_ascii(text):
    assert decode(text.encode()) == (text, "utf-8")
    assert decode((text + "\n").encode() * 50) == ((text + "\n") * 50, "utf-8")


@given(st.lists(st.sampled_from([*"abcXYZ019 \n", "+", "-", "~{", "~}", "tag", "the ", "/"]), max_size=60).map("".join))
def test_lower_case_ascii_is_itself(text):
    text = text.lower()
    assert decode(text.encode()) == (text, "utf-8")


def test_a_single_accent_in_utf7_is_found_within_a_word():
    assert decode(b"We sat in the caf+AOk and talked.") == ("We sat in the café and talked.", "utf-7")


@pytest.mark.parametrize("encoding", ["iso2022_jp", "utf-7", "hz"])
def test_a_declared_seven_bit_encoding_is_tried_first(encoding):
    text = "ok 川 ok"
    assert decode(text.encode(encoding), encoding) == (text, encoding)
