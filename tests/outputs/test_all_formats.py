"""The same records in every format: the same answers, the same bytes each time."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import AUTHORS, FAILURES, RECORDS, make_record

from authorid.outputs import FORMATS, open_writer
from authorid.outputs.answers import Answers
from authorid.outputs.escaping import cell
from authorid.outputs.formats import parquet_format
from authorid.outputs.formats.columns import columns

parquet = pytest.importorskip("pyarrow.parquet")
LABELS = Answers(AUTHORS, noun="label", several=True)
VALUES = Answers(AUTHORS, noun="label", measure="value")


def encoded(form, records, answers, top=3):
    """The bytes of a file."""
    writer = FORMATS[form](top, answers)
    return b"".join([writer.header(), *map(writer.row, records), writer.footer()])


def rows_of_parquet(data):
    return parquet.read_table(io.BytesIO(data)).to_pylist()


def shown(kind, value, digits):
    """How a CSV shows the value of a JSON row."""
    if value is None or value is False:
        return ""
    if kind in ("number", "share"):
        return f"{value:.6f}" if kind == "share" or digits == "probability" else f"{value:.9g}"
    return "yes" if value is True else cell("; ".join(value) if kind == "names" else str(value))


@pytest.mark.parametrize("answers", [Answers(AUTHORS), LABELS, VALUES], ids=["authors", "labels", "values"])
@given(records=st.lists(RECORDS | FAILURES, max_size=4))
def test_all_formats_have_the_same_answers(answers, records):
    rows = [json.loads(line) for line in encoded("jsonl", records, answers).splitlines()]
    found = rows_of_parquet(encoded("parquet", records, answers))
    for row in rows:  # Parquet has it as text
        row["explanation"] = json.dumps(row["explanation"]) if "explanation" in row else None
    assert found == [{"path_b64": None, "evidence": [], **row} for row in rows]
    kinds = columns(answers)
    comma, tab = (
        list(csv.reader(io.StringIO(encoded(form, records, answers).decode()), delimiter=delimiter))
        for form, delimiter in (("csv", ","), ("tsv", "\t"))
    )
    assert comma == tab
    assert comma[0] == list(kinds)
    for line, row, record in zip(comma[1:], rows, records, strict=True):
        assert line[0] == cell(record.path)
        for (name, kind), text in list(zip(kinds.items(), line, strict=True))[1:]:
            plain = row[name] if not isinstance(row[name], str) else None
            if kind in ("number", "share", "count", "flag"):
                assert text == shown(kind, plain, answers.measure), name
            elif "\ufffd" not in json.dumps(row[name], ensure_ascii=False):
                assert text == shown(kind, row[name], answers.measure), name


def test_the_columns_of_a_parquet_file_have_types_even_where_all_are_missing():
    data = encoded("parquet", [make_record(status="failed")], Answers(("Ada", "Ben")))
    schema = parquet.read_schema(io.BytesIO(data))
    types = {name: str(schema.field(name).type) for name in schema.names}
    assert (types["path"], types["candidate"], types["probability"]) == ("string", "string", "double")
    assert (types["windows"], types["adapted"], types["evidence"]) == ("int64", "bool", "list<element: double>")
    assert parquet.read_schema(io.BytesIO(encoded("parquet", [], Answers()))).names == schema.names


def test_a_parquet_file_is_written_in_row_groups_as_they_come(monkeypatch):
    monkeypatch.setattr(parquet_format, "_GROUP_ROWS", 4)
    records = [make_record(str(number)) for number in range(10)]
    writer = FORMATS["parquet"](2)
    parts = [writer.header(), *map(writer.row, records), writer.footer()]
    assert [number for number, part in enumerate(parts) if part] == [0, 4, 8, 11]
    data = b"".join(parts)
    file = parquet.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(index).num_rows for index in range(3)] == [4, 4, 2]
    assert [row["path"] for row in rows_of_parquet(data)] == [str(number) for number in range(10)]
    assert data == encoded("parquet", records, Answers(), top=2)


def test_a_group_of_long_lists_ends_early(monkeypatch):
    monkeypatch.setattr(parquet_format, "_GROUP_NUMBERS", 6)
    data = encoded("parquet", [make_record(str(number)) for number in range(4)], Answers(), top=2)
    file = parquet.ParquetFile(io.BytesIO(data))
    assert [file.metadata.row_group(index).num_rows for index in range(file.num_row_groups)] == [3, 1]


def test_a_file_of_any_format_can_be_written_from_python(tmp_path):
    for form in FORMATS:
        with open_writer(str(tmp_path / f"out.{form}"), form) as write:
            write(make_record())
        assert (tmp_path / f"out.{form}").read_bytes() == encoded(form, [make_record()], Answers(), top=5)
