from __future__ import annotations

import base64
import csv
import io
import json
import os
from dataclasses import replace

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from result_records import FAILURES, RECORDS, make_record

from authorid.inputs.documents import DocumentRef
from authorid.outputs import FORMATS, format_for
from authorid.outputs.answers import Answers
from authorid.outputs.escaping import cell
from authorid.outputs.formats.columns import columns
from authorid.outputs.records import Record


@pytest.mark.promise("no-formulas")
@given(RECORDS | FAILURES)
def test_a_csv_row_is_one_line_of_harmless_cells(record):
    writer = FORMATS["csv"](5)
    data = writer.row(record)
    assert data.count(b"\n") == 1
    assert not any((byte < 0x20 and byte != 0x0A) or byte == 0x7F for byte in data)
    text = data.decode("utf-8")
    (row,) = csv.DictReader(io.StringIO(writer.header().decode() + text))
    assert list(row) == list(columns(Answers()))
    assert row["path"] == cell(str(record.ref))
    for column in ("path", "author", "runner_up", "error"):
        assert not row[column].startswith(("=", "+", "-", "@", "\t", "\r"))


HOSTILE = st.text(";,\"'=+-@ \t\n\u00a0＝x\\", max_size=12)  # noqa: RUF001


@pytest.mark.promise("no-formulas")
@given(HOSTILE.filter(bool), HOSTILE, HOSTILE, st.sampled_from(["utf-8", "=1"]))
@example("a", 'x;"=1+1;y', "b", "utf-8")
def test_no_cell_is_a_formula_wherever_a_program_splits_the_line(path, author, runner_up, encoding):
    writer = FORMATS["csv"](5)
    ranking = ((author, 0.75), (runner_up, 0.25))
    records = [
        Record(DocumentRef(path), "scored", ranking, encoding=encoding),
        Record(DocumentRef(path), "failed", error=author),
        Record(DocumentRef(path), "unknown", ranking),
    ]
    text = "".join(writer.row(record).decode("utf-8") for record in records)
    for delimiter in ",;":
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            for shown in row:
                assert not shown.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), row  # noqa: RUF001


def test_a_csv_row_has_the_probabilities_with_six_decimals():
    row = FORMATS["csv"](5).row(make_record(probability=2 / 3))
    assert row == b"a,scored,Ada,0.666667,Ben,0.333333,0.333333,1,9,utf-8," + b"0" * 64 + b",,,,,\n"
    unknown = replace(make_record(status="unknown"), known_author_score=2e-5, coverage=0.25, reason="unlike anything")
    assert FORMATS["csv"](5).row(unknown).endswith(b",,0.000020,0.250000,unlike anything,\n")
    adapted = FORMATS["csv"](5).row(replace(make_record(probability=2 / 3), adapted=True))
    assert adapted == row[:-1] + b"yes\n"
    failed = FORMATS["csv"](5).row(make_record(status="failed"))
    assert failed == b"a,failed,,,,,,1,9,utf-8," + b"0" * 64 + b",broken,,,,\n"


@pytest.mark.promise("exact-names")
@given(RECORDS | FAILURES)
def test_a_jsonl_row_is_exact_and_plain_ascii(record):
    line = FORMATS["jsonl"](3).row(record)
    assert line.isascii()
    assert line.count(b"\n") == 1
    row = json.loads(line)
    raw = base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode("utf-8")
    assert os.fsdecode(raw) == str(record.ref)
    assert ("path_b64" in row) == (row["path"].encode("utf-8") != os.fsencode(str(record.ref)))
    assert row["probability"] == (record.ranking[0][1] if record.ranking else None)
    assert [(item["author"], item["probability"]) for item in row["top"]] == list(record.ranking[:3])
    assert tuple(row.get("evidence", ())) == record.evidence
    assert [row[column] for column in ("status", "windows", "tokens", "encoding", "sha256", "error")] == [
        *(record.status, record.windows, record.tokens, record.encoding, record.sha256, record.error)
    ]
    assert [row[column] for column in ("known_author_score", "coverage", "reason")] == [
        *(record.known_author_score, record.coverage, record.reason)
    ]


def test_the_format_follows_the_file_name_unless_it_is_given():
    assert [format_for(name) for name in ("a.csv", "a.jsonl", "a.ndjson", "a.JSONL", "a.json.Csv")] == [
        *("csv", "jsonl", "jsonl", "jsonl", "csv")
    ]
    assert format_for("a.csv", "jsonl") == "jsonl"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_has_its_name_and_suffixes(form):
    writer = FORMATS[form]
    assert writer.name == form
    assert all(format_for(f"results{suffix}") == form for suffix in writer.suffixes)


@pytest.mark.parametrize("name", ["a", "a.json", "a.tsv", "a.xlsx", "a.csv.gz", "csv", "a.csv ", "a.csv/b", ".JSON"])
def test_an_ending_without_a_format_is_an_error_that_names_the_known_ones(name):
    with pytest.raises(ValueError, match=r"there are \.csv, \.jsonl, \.ndjson, or choose one with --format"):
        format_for(name)
    assert format_for(name, "jsonl") == "jsonl"
