"""Texts in 35 languages and in the encodings that they were stored in are read without a wrong character."""

from __future__ import annotations

import codecs

import pytest

from authorid.inputs.decoding import UndecodableError, decode
from bench.encoding_texts import ENCODINGS, TEXTS, encoded

CELLS = [(language, encoding) for language, encodings in ENCODINGS.items() for encoding in encodings]


@pytest.mark.parametrize("language, encoding", CELLS)
def test_every_language_is_read_in_each_of_its_encodings(language, encoding):
    data, text = encoded(TEXTS[language], encoding)
    assert decode(data)[0] == text


@pytest.mark.parametrize("language", TEXTS)
def test_the_text_keeps_its_letters_in_each_of_its_encodings(language):
    """What an encoding lacks is punctuation: otherwise the test above would compare little."""
    for encoding in ENCODINGS[language]:
        _, text = encoded(TEXTS[language], encoding)
        assert sum(map(str.isalpha, text)) >= 0.99 * sum(map(str.isalpha, TEXTS[language]))


@pytest.mark.parametrize("language, encoding", [cell for cell in CELLS if cell[0] in ("fr", "hu", "ru", "ja", "el")])
def test_an_encoding_is_detected_by_the_few_letters_in_a_long_english_document(language, encoding):
    data, text = encoded("The river runs, and the boat waits. " * 3_000 + "\n" + TEXTS[language], encoding)
    assert decode(data)[0] == text


@pytest.mark.parametrize(
    "language, encoding", [("de", "cp1252"), ("ru", "koi8-r"), ("ja", "cp932"), ("cs", "iso8859-2")]
)
def test_a_document_of_any_length_is_read_as_a_whole(language, encoding):
    data, text = encoded(TEXTS[language] * 300, encoding)
    assert decode(data) == (text, codecs.lookup(encoding).name)


@pytest.mark.parametrize("encoding", ["cp1250", "iso8859-2"])
def test_a_declaration_in_markup_counts(encoding):
    text = f'<html><meta charset="{encoding}"><p>žár</p></html>'
    assert decode(text.encode(encoding))[0] == text


@pytest.mark.parametrize("beginning", ["BMW fährt los", "MZ für alle", "ID3 für Anfänger", "BZh wäre möglich"])
def test_text_that_begins_like_a_type_of_file_is_text(beginning):
    text = beginning + " und hält erst an der nächsten Straße."
    assert decode(text.encode("cp1252")) == (text, "cp1252")


@pytest.mark.promise("binary")
@pytest.mark.parametrize(
    "data, reason",
    [
        (b"%PDF-1.4\n1 0 obj << /Length 9 >> stream\nBT (a) Tj ET\n", "not plain text (application/pdf)"),
        (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "not plain text (application/pdf)"),
        (rb"{\rtf1\ansi caf\'e9}", "not plain text (application/rtf)"),
        (b"%!PS-Adobe-3.0\nshowpage\n", "not plain text (application/postscript)"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "binary file (image/png)"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + bytes(range(200)), "binary file (image/jpeg)"),
        (b"PK\x03\x04" + b"\x14\xe9" * 40, "binary file (application/zip)"),
        (b"\x1f\x8b\x08\x08" + bytes(range(1, 256)), "binary file (application/gzip)"),
        (b"\x7fELF\x02\x01\x01" + bytes(60), "binary file (application/x-elf)"),
    ],
)
def test_a_file_that_is_not_text_fails_with_its_type(data, reason):
    with pytest.raises(UndecodableError) as raised:
        decode(data)
    assert str(raised.value) == reason


@pytest.mark.parametrize("low", [1, 0x20, 0x80])
@pytest.mark.parametrize("size", [1_000, 5_000])
def test_noise_is_not_text(low, size):
    state, data = 1, bytearray()
    while len(data) < size:
        state = state * 6364136223846793005 + 1442695040888963407 & (1 << 64) - 1
        if low <= state >> 56 != 0x7F:
            data.append(state >> 56)
    with pytest.raises(UndecodableError, match="binary file"):
        decode(bytes(data))
