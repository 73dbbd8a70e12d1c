"""Texts of a column come out of every kind of table, and unclear ones are refused with the names of their columns."""

from __future__ import annotations

import json

import pytest

from authorid.errors import CorpusError
from authorid.inputs.tables import is_table, read_column

ROWS = [
    {"id": 1, "text": 'A "quoted" text,\nin two lines.', "stars": 4},
    {"id": 2, "text": "", "stars": 1},
    {"id": 3, "text": "Größe\tund = Zahl", "stars": 5},
]
TEXTS = [ROWS[0]["text"], ROWS[2]["text"]]


def write(path, rows, names=None):
    names = names or list(rows[0])
    if path.suffix == ".parquet":
        pyarrow = pytest.importorskip("pyarrow")
        parquet = pytest.importorskip("pyarrow.parquet")
        parquet.write_table(pyarrow.table({name: [row[name] for row in rows] for name in names}), path)
    elif path.suffix in (".jsonl", ".ndjson"):
        path.write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", "utf-8")
    else:
        import csv

        with path.open("w", newline="", encoding="utf-8") as stream:
            writer = csv.DictWriter(stream, names, delimiter="\t" if path.suffix == ".tsv" else ",")
            writer.writeheader()
            writer.writerows(rows)
    return path


every = pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".ndjson", ".parquet"])


@every
def test_the_column_called_text_is_read_and_empty_cells_are_left_out(suffix, tmp_path):
    path = write(tmp_path / f"reviews{suffix}", ROWS)
    assert is_table(path)
    assert list(read_column(path)) == list(read_column(path, "text")) == TEXTS


@every
def test_a_column_can_be_named(suffix, tmp_path):
    path = write(
        tmp_path / f"reviews{suffix}", [{"title": "One", "body": "First."}, {"title": "Two", "body": "Second."}]
    )
    assert list(read_column(path, "body")) == ["First.", "Second."]
    with pytest.raises(CorpusError, match="Choose one with --text-column; there are: title, body"):
        list(read_column(path))
    with pytest.raises(CorpusError, match="has no column 'Body'; there are: title, body"):
        list(read_column(path, "Body"))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", b"{"),
        ("a.jsonl", b"[1]\n"),
        ("a.csv", b"\xff\xfe\x00"),
        ("a.parquet", b"not parquet"),
        ("a.csv", None),
    ],
)
def test_what_is_no_table_is_an_error_that_names_the_file(name, content, tmp_path):
    if name.endswith("parquet"):
        pytest.importorskip("pyarrow")
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(CorpusError, match=name):
        list(read_column(tmp_path / name))


def test_other_files_are_no_tables(tmp_path):
    assert not is_table(tmp_path / "letter.txt")
