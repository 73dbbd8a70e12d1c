"""Documents in every format have the text that people read, and are recognised whatever their names are."""

from __future__ import annotations

import bz2
import gzip
import importlib.util
import lzma
import re
import sys

import pytest
from format_writers import NOTE, WRITERS, archive, suffix
from tiny import prose

from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.reading import read_documents

pytest.importorskip("lxml")
pytest.importorskip("pypdfium2")

LONG = (
    "The extraordinarily well-known miller's daughter walked along the river without interruption, and nobody saw her. "
)
PARAGRAPHS = [
    *(
        "It was a café in Genève, near the forêt; we ate crêpes & drank <tea> all evening.",
        LONG + prose("Ben", 4000, 5),
    ),
    *("“Who is there?” she asked. “It is I,” said Ben.", LONG * 3),
    "Yes. And then, at last, the boats came home.",
]


def plain(text):
    """`text` in one line, with a keyboard's quotes."""
    return re.sub(r"\s+", " ", text.replace("“", '"').replace("”", '"')).strip()


def read(directory, name, data, **options):
    (directory / name).write_bytes(data)
    return list(read_documents([directory / name], ReadOptions(**options)))


def paragraphs_for(reader):
    """PDF's own fonts have no curly quotes."""
    return [plain(paragraph) for paragraph in PARAGRAPHS] if reader == "pdf" else PARAGRAPHS


@pytest.mark.parametrize("named", ["with its ending", "as text", "without an ending"])
@pytest.mark.parametrize("reader", sorted(WRITERS))
def test_the_text_of_every_format_is_what_people_read(tmp_path, reader, named):
    name = {"with its ending": f"a{suffix(reader)}", "as text": "a.txt", "without an ending": "a"}[named]
    (document,) = read(tmp_path, name, WRITERS[reader](paragraphs_for(reader)))
    assert isinstance(document, Document), document
    assert plain(document.text) == plain("\n".join(PARAGRAPHS))
    assert document.reader == reader
    assert NOTE not in document.text
    assert document.ref.member is None


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@pytest.mark.parametrize("reader", sorted(WRITERS))
def test_a_compressed_document_has_the_same_text(tmp_path, reader, pack):
    data = WRITERS[reader](paragraphs_for(reader))
    (whole,) = read(tmp_path, "a", data)
    (packed,) = read(tmp_path, "b", pack(data))
    (twice,) = read(tmp_path, "c", pack(pack(data)))
    assert whole.text == packed.text == twice.text
    assert packed.reader == reader


def test_texts_that_talk_about_markup_stay_texts(tmp_path):
    for text in (
        *("<3 is a heart, and a < b > c is a sum", "<sigh> I do not know </sigh>, she said.\n" * 3, "< p > what"),
        *(
            "Use the tag <html> in pages.",
            "PK is a name",
            "%PDF is a format",
            "{curly} braces",
            "BZh is no compression",
        ),
        *("From Ada to Ben: hello", "From: Ada\nTo: Ben\n\nHello there", "<Enter Hamlet>\nTo be or not", "PAR1"),
        *("<!-- a comment -->\nand then text", "Received: one parcel. Message-ID: none."),
    ):
        (document,) = read(tmp_path, "a.txt", text.encode())
        assert isinstance(document, Document), text
        assert (document.text, document.reader) == (text, "text")


@pytest.mark.parametrize(
    ("data", "reader"),
    [
        *((b"<p>One two three.</p>\n<p>Four five six.</p>", "html"), (b"\xef\xbb\xbf \n<HTML><p>One.</HTML>", "html")),
        *((b"<!-- x --><!DOCTYPE html><p>One.", "html"), ("<html><p>Öne.</p></html>".encode("utf-16"), "html")),
        *(
            (b"<?xml version='1.0'?><book><p>One.</p></book>", "xml"),
            (b"<TEI.2><text><p>One.</p></text></TEI.2>", "tei"),
        ),
        (b'<!DOCTYPE TEI.2 SYSTEM "t.dtd" [<!ENTITY x "y">]>\n<TEI.2><text><p>One.</p></text></TEI.2>', "tei"),
        ("<?xml version='1.0' encoding='utf-16'?><TEI><text>Öne.</text></TEI>".encode("utf-16"), "tei"),
        (
            b"<?xml version='1.0'?>\n<!DOCTYPE html><html xmlns='y'><body><p>One &eacute;</p></body></html>",
            "html",
        ),
        (b"From ada@example.org Mon May  3 10:00:00 2021\nFrom: Ada\n\nOne.\n", "mbox"),
    ],
)
def test_markup_is_recognised_by_its_content(tmp_path, data, reader):
    (document,) = read(tmp_path, "a.txt", data)
    assert isinstance(document, Document), document
    assert document.reader == reader
    assert "<" not in document.text


def test_a_document_that_is_called_like_a_table_is_read_as_what_it_is(tmp_path):
    (whole,) = read(tmp_path, "a.html", WRITERS["html"](PARAGRAPHS))
    (other,) = read(tmp_path, "a.csv", WRITERS["html"](PARAGRAPHS))
    assert (other.text, other.reader, other.sha256) == (whole.text, "html", whole.sha256)
    assert other.sha256


def test_word_files_whose_main_part_has_a_number(tmp_path):
    data = archive({"word/document2.xml": "<w xmlns='w'><p><t>One river</t></p></w>"})
    assert [item.text for item in read(tmp_path, "a.docx", data)] == ["One river\n"]


def test_a_choice_in_tei_has_its_reading_text(tmp_path):
    body = "I <choice><orig>haue</orig><reg>have</reg></choice> <choice><abbr>Mr</abbr><expan>Mister</expan></choice>"
    body += " <abbr>Dr</abbr> <sic>teh</sic> some<lb/>thing"
    data = f"<TEI><text><body><p>{body}</p></body></text></TEI>"
    (document,) = read(tmp_path, "a.xml", data.encode())
    assert plain(document.text) == "I have Mister Dr teh some thing"


MAILBOX = b"""From ada@example.org Mon May  3 10:00:00 2021
From: Ada <ada@example.org>
Subject: one

The first message.
>From here on, it is quoted.

From ben@example.org Mon May  3 11:00:00 2021
From: Ben <ben@example.org>
Content-Type: text/html

<p>The second message.</p>

From cyd@example.org Mon May  3 12:00:00 2021
From: Cyd
Content-Type: application/pdf

%PDF
"""


def test_each_message_of_a_mailbox_is_a_document(tmp_path):
    first, second, third = read(tmp_path, "inbox.mbox", MAILBOX)
    assert [item.ref.member for item in (first, second, third)] == ["1", "2", "3"]
    assert "The first message.\nFrom here on" in first.text
    assert second.text.strip() == "The second message."
    assert isinstance(third, Failure)
    assert first.sha256 != second.sha256


@pytest.mark.parametrize(
    "rest",
    [
        *("> quoted\n> more", "On Monday Ben wrote:\n> quoted", "-----Original Message-----\nFrom: Ben\nquoted"),
        *("-- \nAda, Director of quoted", "From: Ben\nSent: Monday\nTo: Ada\nSubject: quoted\n\nquoted text"),
        *("Am Montag schrieb Ben\n<ben@example.org>:\n\n> quoted", "Begin forwarded message:\n\nquoted"),
        "---------- Forwarded message ---------\nquoted",
    ],
)
def test_only_what_the_sender_wrote_is_text(tmp_path, rest):
    data = f"From: Ada\nMessage-ID: <1>\n\nMy own words. I wrote: nothing.\n\nMore of them.\n\n{rest}\n"
    (document,) = read(tmp_path, "a.eml", data.encode())
    assert document.text.split() == ["My", "own", "words.", "I", "wrote:", "nothing.", "More", "of", "them."]


GUTENBERG = """The Project Gutenberg eBook of Letters

This eBook is for the use of anyone anywhere.

*** START OF THE PROJECT GUTENBERG EBOOK LETTERS ***

Produced by somebody and the
Online Distributed Proofreading Team

The first letter is here.

*** END OF THE PROJECT GUTENBERG EBOOK LETTERS ***

Updated editions will replace the previous one.
"""


@pytest.mark.parametrize("form", ["text", "html", "docx"])
def test_project_gutenbergs_licence_is_cut_and_the_row_shows_it(tmp_path, form):
    (document,) = read(tmp_path, "a", WRITERS[form](GUTENBERG.strip().split("\n\n")))
    assert document.text.strip() == "The first letter is here."
    assert document.reader == f"{form} (without Project Gutenberg's licence)"


def test_a_text_about_gutenberg_is_not_cut(tmp_path):
    text = "Gutenberg printed books. Project Gutenberg gives them away.\n" * 3
    (document,) = read(tmp_path, "a", text.encode())
    assert (document.text, document.reader) == (text, "text")


@pytest.mark.parametrize(
    ("module", "reader"),
    [*(("lxml.etree", name) for name in ("docx", "odt", "epub", "tei", "html")), ("pypdfium2", "pdf")],
)
def test_without_its_package_a_document_fails_with_the_line_to_install_it(tmp_path, monkeypatch, module, reader):
    find = importlib.util.find_spec
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr("authorid.errors.find_spec", lambda name: None if name == module else find(name))
    (item,) = read(tmp_path, "a.txt", WRITERS[reader](paragraphs_for(reader)))
    assert isinstance(item, Failure)
    assert "pip install 'authorid-toolkit[formats]'" in item.reason


def test_without_lxml_only_messages_in_html_fail(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "lxml.etree", None)
    first, second, third = read(tmp_path, "inbox.mbox", MAILBOX)
    assert isinstance(first, Document)
    assert "[formats]" in second.reason
    assert "no text" in third.reason


def test_without_zstandard_a_document_is_a_failure_with_the_line_to_install_it(tmp_path, monkeypatch):
    zstandard = pytest.importorskip("zstandard")
    data = zstandard.compress(b"The river and the boat.")
    assert read(tmp_path, "a.txt.zst", data)[0].text == "The river and the boat."
    monkeypatch.setitem(sys.modules, "zstandard", None)
    assert "pip install 'authorid-toolkit[zstd]'" in read(tmp_path, "a.txt.zst", data)[0].reason
