"""Bombs, nesting, truncated files and random bytes in every format: a row each, within bounds of time and memory."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import struct
import subprocess
import sys
import time
import zipfile
import zlib

import pytest
from format_writers import WRITERS, archive, docx, odt, suffix, tei
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tiny import prose

from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.readers import READERS
from authorid.inputs.reading import read_documents, read_stream

pytest.importorskip("lxml")
pytest.importorskip("pypdfium2")
pytest.importorskip("pyarrow")

MEGABYTE = 1 << 20
SUFFIXES = [suffix for reader in READERS for suffix in reader.suffixes]
COMPRESSIONS = ["", ".gz", ".bz2", ".xz", ".zst"]
PARAGRAPHS = [prose("Ben", 80, number) for number in range(5)]


def read(path, **options):
    return list(read_documents([path], ReadOptions(**options)))


def read_bytes(data, name="a", **options):
    return list(read_stream(io.BytesIO(data), name, ReadOptions(**options)))


SCRIPT = """
import resource, sys, time
from authorid.inputs.documents import ReadOptions
from authorid.inputs.reading import read_documents
list(read_documents([sys.argv[2]]))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.process_time()
items = list(read_documents([sys.argv[1]]))
print(len(items), time.process_time() - started, (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
print(repr(getattr(items[-1], "reason", items[-1].ref)))
"""


def measured(tmp_path, name, data, small):
    """Read a file in a process of its own: how many items, its seconds, its megabytes and the last reason."""
    (tmp_path / name).write_bytes(data)
    (tmp_path / f"small-{name}").write_bytes(small)
    arguments = [sys.executable, "-c", SCRIPT, str(tmp_path / name), str(tmp_path / f"small-{name}")]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=True)
    numbers, reason = done.stdout.splitlines()
    items, seconds, megabytes = numbers.split()
    return int(items), float(seconds), int(megabytes), reason


LAUGHS = (
    b'<?xml version="1.0"?><!DOCTYPE TEI [<!ENTITY a0 "lol">'
    + b"".join(b'<!ENTITY a%d "%b">' % (n, b"&a%d;" % (n - 1) * 10) for n in range(1, 12))
    + b"]><TEI><text><body><p>&a11;</p></body></text></TEI>"
)
QUADRATIC = b'<?xml version="1.0"?><!DOCTYPE TEI [<!ENTITY a "' + b"x" * 100_000 + b'">]><TEI><text>' + b"&a;" * 100_000
RTF_DEEP = b"{\\rtf1" + b"{" * (15 * MEGABYTE)
XML_DEEP = b"<TEI><text><body>" + b"<p>" * 5_000_000
HTML_DEEP = b"<html><body>" + b"<div>" * 3_000_000
HTML_OPEN = b"<html>" + b"<" * (6 * MEGABYTE)
MAIL = b"From: Ada\nMessage-ID: <1>\n"
MAIL_PARTS = MAIL + b'Content-Type: multipart/mixed; boundary="b"\n\n' + b"--b\n\nx\n" * 500_000
MAIL_DEEP = MAIL + b"".join(
    b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(100_000)
)
MAIL_FIELD = MAIL + b'Content-Type: text/plain; a="' + b";a" * (7 * MEGABYTE) + b"\n\nhello"
MAIL_LINES = MAIL + b"\n" + b"On " * (5 * MEGABYTE)
MAIL_QUOTES = MAIL + b"\n" + b"a wrote\n" * (MEGABYTE)


def zipped_bomb(name, start, end=b"", size=40):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as file:
        if name == "content.xml":
            file.writestr("mimetype", "application/vnd.oasis.opendocument.text", zipfile.ZIP_STORED)
        with file.open(name, "w") as part:
            part.write(start)
            for _ in range(size):
                part.write(b"<x>aaaa</x>" * 95_000)
            part.write(end)
    return buffer.getvalue()


def many_parts():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for number in range(60_000):
            file.writestr(f"word/{number}", "")
    return buffer.getvalue()


def pdf_of(stream, pages=1):
    """A PDF whose pages share a content `stream`, compressed."""
    packed = zlib.compress(stream, 9)
    kids = b" ".join(b"%d 0 R" % (number + 5) for number in range(pages))
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%b]/Count %d>>" % (kids, pages),
        b"<</Length %d/Filter/FlateDecode>>stream\n%b\nendstream" % (len(packed), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    page = b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 3 0 R/Resources<</Font<</F 4 0 R>>>>>>"
    data = b"%PDF-1.4\n"
    offsets = []
    for number, body in enumerate([*objects, *[page] * pages], 1):
        offsets.append(len(data))
        data += b"%d 0 obj\n%b\nendobj\n" % (number, body)
    table = b"".join(b"%010d 00000 n \n" % offset for offset in offsets)
    return data + b"xref\n0 %d\n0000000000 65535 f \n%btrailer\n<</Root 1 0 R/Size %d>>\nstartxref\n%d\n%%%%EOF" % (
        *(len(offsets) + 1, table, len(offsets) + 1, len(data)),
    )


def gzip_bomb():
    return gzip.compress(bytes(300 * MEGABYTE), 9)


def xz_bomb():
    return lzma.compress(bytes(300 * MEGABYTE), preset=0)


BOMBS = {
    "laughs.xml": (lambda: LAUGHS, "amplification|not well-formed|characters of text"),
    "quadratic.xml": (lambda: QUADRATIC, "amplification|not well-formed|characters of text"),
    "deep.xml": (lambda: XML_DEEP, "nested"),
    "deep.html": (lambda: HTML_DEEP, "nested"),
    "open.html": (lambda: HTML_OPEN, ""),
    "deep.rtf": (lambda: RTF_DEEP, "nested"),
    "words.rtf": (lambda: b"{\\rtf1" + b"\\b" * (7 * MEGABYTE), "control words"),
    "hex.rtf": (lambda: b"{\\rtf1 " + b"\\'e9" * 2_900_000, ""),
    "spaces.html": (lambda: b"<html>" + b"<b> </b>" * 1_400_000 + b"text", ""),
    "wrote.eml": (lambda: MAIL + b"\n" + (b"wrote " * 50 + b"\n") * 50_000, ""),
    "bombed.docx": (lambda: zipped_bomb("word/document.xml", b"<w:d xmlns:w='w'>"), "elements"),
    "bombed.odt": (lambda: zipped_bomb("content.xml", b"<d>"), "elements"),
    "parts.docx": (many_parts, "parts"),
    "parts.eml": (lambda: MAIL_PARTS, "parts"),
    "deep.eml": (lambda: MAIL_DEEP, "parts that hold"),
    "field.eml": (lambda: MAIL_FIELD, "field"),
    "lines.eml": (lambda: MAIL_LINES, ""),
    "quotes.eml": (lambda: MAIL_QUOTES, ""),
    "zeros.txt.gz": (gzip_bomb, "larger than"),
    "zeros.docx.xz": (xz_bomb, "no ZIP archive"),
    "deep.jsonl": (lambda: b'{"text": ' + b"[" * (10 * MEGABYTE), "nested too deeply|not JSON|in one row"),
    "line.jsonl": (lambda: b'{"text": "a"}\n{"text": "' + b"x" * (64 * MEGABYTE), "in one row"),
    "quote.csv": (lambda: b'text\n"' + b"an endless row\n" * (4 * MEGABYTE), "in one row|not readable"),
    "pages.pdf": (lambda: pdf_of(b"BT /F 9 Tf (hello) Tj ET", 30_000), "pages"),
    "stream.pdf": (lambda: pdf_of(b"BT /F 9 Tf " + b"(hello world) Tj " * (2 * MEGABYTE) + b"ET"), "PDF|--max-bytes"),
}


@pytest.mark.promise("bounded-formats")
@pytest.mark.parametrize("name", sorted(BOMBS))
def test_a_bomb_is_a_failure_within_bounds(tmp_path, name):
    make, reason = BOMBS[name]
    data = make()
    small = WRITERS.get(name.rpartition(".")[2], WRITERS["text"])(PARAGRAPHS)
    items, seconds, megabytes, found = measured(tmp_path, name, data, small)
    assert items >= 1
    assert seconds < 20
    assert megabytes < 400
    if reason:
        assert any(part in found for part in reason.split("|")), found


@pytest.mark.promise("bounded-formats")
def test_a_document_in_itself_ends(tmp_path):
    data = b"The river and the boat. " * 100
    for _ in range(10):
        data = gzip.compress(data)
    (item,) = read_bytes(data, "a.gz")
    assert "compressed more than 3 times" in item.reason


@pytest.mark.promise("no-network", "bounded-formats")
@pytest.mark.parametrize("reference", ["file:///etc/hostname", "http://localhost:9/x", "/etc/hostname"])
def test_xml_loads_nothing_from_elsewhere(tmp_path, reference):
    secret = tmp_path / "secret"
    secret.write_text("SECRET")
    for uri in (reference, secret.as_uri(), str(secret)):
        start = f'<!DOCTYPE TEI [<!ENTITY e SYSTEM "{uri}"><!ENTITY % p SYSTEM "{uri}">%p;]>'
        body = "<text><body><p>before &e; after</p></body></text>"
        include = f'<x:include xmlns:x="http://www.w3.org/2001/XInclude" href="{uri}" parse="text"/>'
        for data in (f"<?xml version='1.0'?>{start}<TEI>{body}</TEI>", f"<TEI><text>one {include}</text></TEI>"):
            (item,) = read_bytes(data.encode(), "a.xml")
            assert "SECRET" not in getattr(item, "text", "")


@pytest.mark.promise("one-row", "bounded-formats")
@pytest.mark.parametrize("reader", sorted(WRITERS))
def test_a_document_cut_anywhere_or_damaged_is_one_row(tmp_path, reader):
    data = WRITERS[reader](PARAGRAPHS)
    chance = random.Random(3)
    sizes = [chance.randrange(1, len(data)) for _ in range(6 if reader == "pdf" else 60)]
    for size in sizes:
        assert len(read_bytes(data[:size], f"a{suffix(reader)}")) == 1
        damaged = bytearray(data)
        for _ in range(9):
            damaged[chance.randrange(len(data))] = chance.randrange(256)
        assert len(read_bytes(bytes(damaged), "a")) >= 1


@pytest.mark.promise("one-row", "text-or-refused")
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(min_size=1, max_size=300), ending=st.sampled_from(SUFFIXES), pack=st.sampled_from(COMPRESSIONS))
def test_random_bytes_with_any_ending_are_at_least_one_row(tmp_path, data, ending, pack):
    if ending == ".pdf" and data[:1] > b"\x40":
        data = b"%PDF-1.4\n" + data
    path = tmp_path / f"a{ending}{pack}"
    path.write_bytes(data)
    items = read(path)
    assert items
    for item in items:
        assert isinstance(item, Document | Failure)
        assert item.ref.source == str(path)
        if isinstance(item, Document):
            assert "\0" not in item.text
            item.text.encode("utf-8")


MAGIC = {
    **{".gz": b"\x1f\x8b\x08", ".bz2": b"BZh91AY&SY", ".xz": b"\xfd7zXZ\0", ".zst": b"\x28\xb5\x2f\xfd"},
    **{".zip": b"PK\3\4word/", ".rtf": b"{\\rtf1 ", ".parquet": b"PAR1\x15", ".xml": b"<?xml version='1.0'?><TEI>"},
    **{".html": b"<html>", ".mbox": b"From a@b Mon May  3 10:00:00 2021\nFrom: a\n", ".eml": MAIL},
}


@pytest.mark.promise("one-row", "text-or-refused")
@settings(max_examples=300, deadline=None)
@given(rest=st.binary(max_size=200) | st.text(max_size=100).map(str.encode), start=st.sampled_from(sorted(MAGIC)))
def test_anything_after_the_beginning_of_a_format_is_at_least_one_row(rest, start):
    items = read_bytes(MAGIC[start] + rest)
    assert items
    assert all(isinstance(item, Document | Failure) for item in items)


@pytest.mark.promise("one-row", "bounded-formats")
@settings(max_examples=100, deadline=None)
@given(data=st.binary(min_size=1, max_size=400), position=st.floats(0, 1))
def test_a_damaged_parquet_table_is_rows_and_failures(tmp_path_factory, data, position):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    buffer = io.BytesIO()
    parquet.write_table(pyarrow.table({"text": ["the river", "and the boat"] * 50}), buffer)
    whole = bytearray(buffer.getvalue())
    at = int(position * len(whole))
    whole[at : at + len(data) // 40] = data[: len(data) // 40]
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    path.write_bytes(bytes(whole))
    assert read(path)


@pytest.mark.promise("one-row")
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_compressed_file_cut_anywhere_is_one_row_and_a_table_keeps_its_rows(tmp_path, pack):
    rows = "".join(json.dumps({"text": f"{number} {prose('Ben', 30, number)}"}) + "\n" for number in range(2000))
    packed = pack(rows.encode())
    ending = {gzip.compress: ".gz", bz2.compress: ".bz2", lzma.compress: ".xz"}[pack]
    (tmp_path / f"t.jsonl{ending}").write_bytes(packed[: len(packed) * 2 // 3])
    items = read(tmp_path / f"t.jsonl{ending}")
    assert isinstance(items[-1], Failure)
    assert "damaged" in items[-1].reason
    for size in range(1, 60):
        assert len(read_bytes(packed[:size], f"a.txt{ending}")) == 1


@pytest.mark.promise("harmless-names")
def test_hostile_names_in_tables_and_archives_do_no_harm(tmp_path, bundle):
    from authorid.outputs.formats import FORMATS
    from authorid.scoring.scorer import Scorer

    names = [
        "=cmd|'!A1",
        "../../etc/passwd",
        "a\nb",
        "\x1b[31m",
        "\u202egnp",
        "\ud800",
        "",
        "x" * 5000,
        "\u2028",
        7,
        None,
    ]
    path = tmp_path / "t.jsonl"
    path.write_text("".join(json.dumps({"text": "the river and the boat", "id": name}) + "\n" for name in names))
    rows = list(Scorer(bundle).score([path], ReadOptions(id_column="id")))
    assert len(rows) == len(names)
    assert max(len(row.member) for row in rows) == 1000
    for form in sorted(FORMATS):
        writer = FORMATS[form](2, bundle.answers)
        data = writer.header() + b"".join(writer.row(row) for row in rows) + writer.footer()
        if form != "parquet":
            shown = data.decode("utf-8")
            assert "\x1b" not in shown and "\u202e" not in shown and shown.count("\n") == len(rows) + (form != "jsonl")
    evil = archive({"../../etc/passwd": "x", "word/document.xml": "<w xmlns='w'><p><t>One river</t></p></w>"})
    (item,) = read_bytes(evil)
    assert item.text.strip() == "One river"


@pytest.mark.promise("bounded-formats")
def test_a_zip_archive_that_lies_is_one_row():
    good = docx(PARAGRAPHS)
    end = good.rfind(b"PK\5\6")
    for field, value in ((8, 0xFFFF), (10, 0xFFFF), (12, 0xFFFFFFFF), (16, 0xFFFFFFF0)):
        lying = bytearray(good)
        struct.pack_into("<H" if field < 12 else "<I", lying, end + field, value)
        assert len(read_bytes(bytes(lying), "a.docx")) == 1
    (item,) = read_bytes(odt(PARAGRAPHS).replace(b"content.xml", b"kontent.xml"), "a.odt")
    assert "no part content.xml" in item.reason


@pytest.mark.promise("no-hang")
def test_a_fast_reader_does_not_slow_down_with_size():
    small, large = tei(PARAGRAPHS * 20), tei(PARAGRAPHS * 400)
    times = []
    for data in (small, large):
        started = time.process_time()
        (item,) = read_bytes(data, "a.xml")
        assert isinstance(item, Document)
        times.append(time.process_time() - started)
    assert times[1] < 60 * max(times[0], 0.005)
