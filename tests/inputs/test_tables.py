"""The rows of every kind of table are documents, and unclear tables are one failure with the names of their columns."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from authorid.inputs.documents import Document, Failure, ReadOptions
from authorid.inputs.reading import read_documents

ROWS = [
    {"id": "a", "text": 'A "quoted" text,\nin two lines.', "stars": "4"},
    {"id": "b", "text": "", "stars": "1"},
    {"id": "c", "text": "Größe\tund = Zahl", "stars": "5"},
]
every = pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])


def write(path, rows, names=None):
    """Write `rows` in the format of the ending."""
    names = names or list(rows[0])
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({name: [row[name] for row in rows] for name in names}), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    else:
        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


def read(path, **options):
    return list(read_documents([path], ReadOptions(**options)))


@every
def test_every_row_is_a_document_or_a_failure_and_has_a_name(suffix, tmp_path):
    path = write(tmp_path / f"reviews{suffix}", ROWS)
    first, second, third = read(path)
    assert [item.ref.member for item in (first, second, third)] == ["1", "2", "3"]
    assert (first.text, third.text) == (ROWS[0]["text"], ROWS[2]["text"])
    assert first.reader == suffix[1:].replace("ndjson", "jsonl")
    assert isinstance(second, Failure) and "no text" in second.reason
    assert [item.ref.member for item in read(path, id_column="id")] == ["a", "b", "c"]


@every
def test_a_column_can_be_named_and_an_unclear_one_is_one_failure(suffix, tmp_path):
    rows = [{"title": "One", "body": "First."}, {"title": "Two", "body": "Second."}]
    path = write(tmp_path / f"reviews{suffix}", rows)
    assert [item.text for item in read(path, text_column="body")] == ["First.", "Second."]
    assert [item.text for item in read(path, id_column="title")] == ["First.", "Second."]
    (unclear,) = read(path)
    assert unclear.reason.endswith("Choose one with --text-column; there are: title, body")
    (wrong,) = read(path, text_column="Body")
    assert wrong.reason == "has no column 'Body'; there are: title, body"


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
@every
def test_a_compressed_table_has_the_same_rows(suffix, pack, tmp_path):
    path = write(tmp_path / f"reviews{suffix}", ROWS)
    ending = {gzip: ".gz", bz2: ".bz2", lzma: ".xz"}
    (name,) = (end for module, end in ending.items() if module.compress is pack)
    packed = tmp_path / f"packed{suffix}{name}"
    packed.write_bytes(pack(path.read_bytes()))
    for plain, unpacked in zip(read(path), read(packed), strict=True):
        assert plain.ref.member == unpacked.ref.member
        if isinstance(plain, Document):
            assert (plain.text, plain.sha256, plain.reader) == (unpacked.text, unpacked.sha256, unpacked.reader)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl"])
def test_tables_in_other_encodings(suffix, encoding, tmp_path):
    texts = ["L'été dernier, à Genève, où nous avons mangé", "des crêpes près de la forêt"]
    path = tmp_path / f"t{suffix}"
    if suffix == ".jsonl":
        content = "\n".join(json.dumps({"text": text}, ensure_ascii=False) for text in texts)
    else:
        content = "\r\n".join(["text", *(f'"{text}"' for text in texts)])
    path.write_bytes(content.encode(encoding))
    assert [item.text for item in read(path)] == texts


def test_wrong_bytes_in_one_row_are_counted_in_that_row(tmp_path):
    path = tmp_path / "t.csv"
    good = "das Mädchen aß schöne Äpfel und hörte Vögel, " * 5
    path.write_bytes(b'text\n"%b"\n"%b"\n' % (good.encode(), good.encode()[:-1] + b"\xff"))
    assert [item.encoding for item in read(path)] == ["utf-8", "utf-8 (1 byte replaced)"]


def test_a_semicolon_separates_where_there_is_no_comma(tmp_path):
    (tmp_path / "t.csv").write_text("id;text\n1;one, two\n")
    assert [item.text for item in read(tmp_path / "t.csv")] == ["one, two"]


def test_bad_rows_are_failures_and_the_others_are_documents(tmp_path):
    lines = ['{"text": "good"}', "{", "[1]", '{"text": 1}', '{"other": 2}', "[" * 100_000, '{"text": "a\\u0000b"}']
    lines += ['{"text": "' + "x" * 3000 + '"}', '{"text": "\\ud800 half"}', '{"text": "last"}']
    (tmp_path / "t.jsonl").write_text("\n".join(lines))
    items = read(tmp_path / "t.jsonl", max_bytes=900)
    assert [item.ref.member for item in items] == [str(number) for number in range(1, 11)]
    texts = [item.text if isinstance(item, Document) else None for item in items]
    assert texts == ["good", *[None] * 7, "\ufffd half", "last"]
    reasons = [item.reason for item in items if isinstance(item, Failure)]
    assert "in one row" in reasons[4] and "in one row" in reasons[6] and "NUL" in reasons[5]


def test_a_row_of_a_csv_without_its_cell_is_a_failure(tmp_path):
    (tmp_path / "t.csv").write_text("id,text\n1,one\n2\n\n3,three\n")
    assert [type(item) for item in read(tmp_path / "t.csv")] == [Document, Failure, Document]


@pytest.mark.parametrize(
    "text", ['text\n"never closed\n' + "x\n" * 2000, 'text\n"a\n' + 'x\n","' * 2000, "text\n" + "x" * 5000]
)
def test_a_row_without_end_ends_the_table_with_a_failure(text, tmp_path):
    (tmp_path / "t.csv").write_text(f"text\n{text}")
    *_, last = read(tmp_path / "t.csv", max_bytes=500)
    assert isinstance(last, Failure)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        *(("a.jsonl", b"{"), ("a.jsonl", b"[1]\n"), ("a.jsonl", b"\n\n"), ("a.csv", b"text\n"), ("a.csv", b"\n")),
        *(("a.csv", b"a\0b\n\0"), ("a.parquet", b"not parquet"), ("a.parquet", b"PAR1\x15" + bytes(90) + b"PAR1")),
    ],
)
def test_what_is_no_table_is_one_failure(name, content, tmp_path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    (tmp_path / name).write_bytes(content)
    (item,) = read(tmp_path / name)
    assert isinstance(item, Failure)
    assert item.ref.member is None


@given(st.lists(st.text(st.characters(exclude_characters="\0"), max_size=30), min_size=1, max_size=20))
def test_any_texts_come_back_from_jsonl(tmp_path_factory, texts):
    path = tmp_path_factory.mktemp("any") / "t.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), "utf-8")
    assert [item.ref.member for item in read(path)] == [str(number + 1) for number in range(len(texts))]


def test_a_table_that_is_larger_than_a_document_may_be_is_read_in_flat_memory(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    text = "the river and the boat " * 40
    rows = 20_000
    with (tmp_path / "a.csv").open("w") as stream:
        stream.write("text\n" + f"{text}\n" * rows)
    with (tmp_path / "a.jsonl").open("w") as stream:
        stream.writelines(json.dumps({"text": text}) + "\n" for _ in range(rows))
    parquet.write_table(pyarrow.table({"text": [text] * rows}), tmp_path / "a.parquet", use_dictionary=False)
    (tmp_path / "b.jsonl.gz").write_bytes(gzip.compress((tmp_path / "a.jsonl").read_bytes()))
    options = ReadOptions(max_bytes=100_000)
    for name in ("a.csv", "a.jsonl", "a.parquet", "b.jsonl.gz"):
        tracemalloc.start()
        before = pyarrow.total_allocated_bytes()
        count = sum(isinstance(item, Document) for item in read_documents([tmp_path / name], options))
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert count == rows
        assert most < 4 << 20
        assert pyarrow.total_allocated_bytes() - before < 4 << 20


def test_text_that_is_not_utf8_in_parquet_is_decoded_row_by_row(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    raw = pyarrow.array([b"good", "L'été à Genève, près de la forêt".encode("latin-1")], pyarrow.binary())
    parquet.write_table(pyarrow.table({"text": raw.view(pyarrow.string())}), tmp_path / "t.parquet")
    assert [item.text for item in read(tmp_path / "t.parquet")] == ["good", "L'été à Genève, près de la forêt"]


def test_a_column_of_a_few_huge_texts_is_not_multiplied(tmp_path):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    table = pyarrow.table({"text": pyarrow.array(["word " * 200_000] * 512).dictionary_encode()})
    parquet.write_table(table, tmp_path / "t.parquet")
    assert (tmp_path / "t.parquet").stat().st_size < 100_000
    before = pyarrow.total_allocated_bytes()
    for number, item in enumerate(read_documents([tmp_path / "t.parquet"])):
        assert isinstance(item, Document)
        if number % 100 == 5:
            assert pyarrow.total_allocated_bytes() - before < 1 << 26


def test_a_bomb_of_a_table_is_bounded(tmp_path):
    raw = io.BytesIO()
    with gzip.GzipFile(fileobj=raw, mode="wb") as stream:
        for _ in range(300):
            stream.write(b"x" * (1 << 20))
    (tmp_path / "t.jsonl.gz").write_bytes(raw.getvalue())
    items = read(tmp_path / "t.jsonl.gz", max_bytes=1 << 20)
    assert any("in one row" in item.reason or "times its size" in item.reason for item in items)
