"""A few wrong bytes do not ruin a document: they are replaced, counted and named."""

from __future__ import annotations

import contextlib
import time

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from authorid.inputs.content import Content
from authorid.inputs.damage import name_with_damage
from authorid.inputs.decoding import UndecodableError, decode
from authorid.inputs.documents import DocumentRef, ReadOptions
from authorid.inputs.readers.text import TextReader
from bench.encoding_texts import ENCODINGS, TEXTS, encoded

LEGACY = [(language, encoding) for language, encodings in ENCODINGS.items() for encoding in encodings]


def last_letter(text):
    return max(index for index, character in enumerate(text) if not character.isascii())


@pytest.mark.parametrize("language", TEXTS)
def test_utf8_is_read_up_to_a_character_that_is_cut(language):
    text = TEXTS[language]
    cut = last_letter(text)
    data = text[: cut + 1].encode()[:-1]
    wrong = len(text[cut].encode()) - 1
    assert decode(data) == (text[:cut] + "\ufffd" * wrong, name_with_damage("utf-8", wrong))


@pytest.mark.promise("damage")
@pytest.mark.parametrize("stray", [0x80, 0x92, 0xA0, 0xC3, 0xE9, 0xFF])
@pytest.mark.parametrize("language", TEXTS)
def test_a_stray_byte_in_utf8_is_replaced(language, stray):
    for index in range(10, len(TEXTS[language]), 37):
        before, after = TEXTS[language][:index] + " ", " " + TEXTS[language][index:]
        data = before.encode() + bytes([stray]) + after.encode()
        assert decode(data) == (f"{before}\ufffd{after}", "utf-8 (1 byte replaced)")


@pytest.mark.promise("damage")
@given(st.sampled_from(sorted(TEXTS)), st.lists(st.tuples(st.integers(0, 2_000), st.integers(128, 255)), max_size=3))
def test_other_characters_of_a_damaged_document_stay(language, damage):
    data = bytearray(TEXTS[language].encode() * 4)
    for place, byte in damage:
        data.insert(place % len(data), byte)
    text, encoding = decode(bytes(data))
    assert encoding.startswith("utf-8")
    wrong = text.count("\ufffd")
    assert encoding == name_with_damage("utf-8", wrong)
    assert wrong <= 4 * len(damage)  # a byte may break the character that it is in
    assert len(text) - wrong >= 4 * len(TEXTS[language]) - len(damage) * 2


@pytest.mark.parametrize("language, encoding", LEGACY)
@pytest.mark.parametrize("size", [20, 60, 10_000])
def test_other_encodings_are_not_taken_for_damaged_utf8(language, encoding, size):
    data, _ = encoded(TEXTS[language][:size], encoding)
    assert "utf-8 (" not in decode(data)[1]


def test_ascii_that_ends_within_a_quotation_mark_is_utf8():
    assert decode(b"It is late\xe2\x80") == ("It is late\ufffd\ufffd", "utf-8 (2 bytes replaced)")
    assert decode(b"We met at the caf\xe9")[1] != "utf-8 (1 byte replaced)"


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-8-sig"])
@pytest.mark.parametrize("language", ["de", "ja"])
def test_unicode_with_and_without_a_mark_is_read_up_to_a_character_that_is_cut(language, encoding):
    text = TEXTS[language]
    text = text[: last_letter(text) + 1]
    found, name = decode(text.encode(encoding)[:-1])
    assert found.rstrip("\ufffd") == text[:-1]
    assert name.startswith(f"{encoding} (")


@pytest.mark.parametrize(
    "language, encoding",
    [("ja", "cp932"), ("ja", "euc-jp"), ("ko", "cp949"), ("zh-hans", "gb18030"), ("zh-hant", "big5")],
)
def test_east_asian_encodings_are_read_up_to_a_character_that_is_cut(language, encoding):
    text = TEXTS[language].rstrip(".")
    data, text = encoded(text, encoding)
    assert decode(data[:-1])[0] == text[:-1] + "\ufffd"
    middle = len(text[:90].encode(encoding))
    found, name = decode(data[:middle] + b"\x81 " + data[middle:])
    assert (found[:90], found[-50:]) == (text[:90], text[-50:])
    assert name.endswith("replaced)")


def test_damage_is_named_in_the_document():
    data = (TEXTS["cs"] + " \x92").encode("utf-8").replace(b"\xc2\x92", b"\x92")
    (document,) = TextReader().read(Content.of_bytes(DocumentRef("a.txt"), "a.txt", data, ""), ReadOptions())
    assert document.encoding == "utf-8 (1 byte replaced)"


def test_a_declared_encoding_comes_before_replacement():
    data = "“naïve”, “déjà vu”, “über”".encode() + b"\x92"
    assert decode(data)[1] == "utf-8 (1 byte replaced)"
    assert decode(data, "latin-1")[1] == "iso8859-1"


@given(st.binary(min_size=1, max_size=300), st.sampled_from(sorted(TEXTS)))
def test_text_is_never_replaced_beyond_a_third(data, language):
    assume(b"\0" not in data)
    try:
        text, _ = decode(TEXTS[language][:40].encode() + data)
    except UndecodableError:
        return
    assert text.count("\ufffd") * 3 <= len(text.encode())


@pytest.mark.parametrize(
    "unit",
    [b"\xff", b"\x81", b"\xc3\xa9a\x92", b"\xed\xa0\x80", "мир ".encode("cp1251"), b"\x1b$)G", b"\x1b$B", b"+A", b"~{"],
)
def test_the_time_to_decode_does_not_depend_on_the_damage(unit):
    data = "Škoda, že prší. ".encode() * 5_000 + unit * (4_000_000 // len(unit))
    start = time.process_time()
    with contextlib.suppress(UndecodableError):
        decode(data)
    assert time.process_time() - start < 10
