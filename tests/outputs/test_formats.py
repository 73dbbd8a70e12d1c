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
from authorid.outputs.escaping import cell, unicode_text
from authorid.outputs.formats.columns import columns
from authorid.outputs.records import Attribution


@pytest.mark.promise("no-formulas")
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t")])
@given(record=RECORDS | FAILURES)
def test_a_csv_or_tsv_row_is_one_line_of_harmless_cells(form, delimiter, record):
    writer = FORMATS[form](5)
    data = writer.row(record)
    assert data.count(b"\n") == 1
    assert not any((byte < 0x20 and byte not in (0x0A, ord(delimiter))) or byte == 0x7F for byte in data)
    text = data.decode("utf-8")
    assert form == "csv" or text.count("\t") == len(columns(Answers())) - 1
    (row,) = csv.DictReader(io.StringIO(writer.header().decode() + text), delimiter=delimiter)
    assert list(row) == list(columns(Answers()))
    assert (row["path"], row["member"]) == (cell(record.path), cell(record.member or ""))
    assert (row["author"], row["candidate"]) == (cell(record.author or ""), cell(record.candidate or ""))
    for column in ("path", "member", "author", "candidate", "runner_up", "error"):
        assert not row[column].startswith(("=", "+", "-", "@", "\t", "\r"))


HOSTILE = st.text(";,\"'=+-@ \t\n\u00a0＝x\\", max_size=12)  # noqa: RUF001


@pytest.mark.promise("no-formulas")
@pytest.mark.parametrize("form", ["csv", "tsv"])
@given(path=HOSTILE.filter(bool), author=HOSTILE, runner_up=HOSTILE, encoding=st.sampled_from(["utf-8", "=1"]))
@example(path="a", author='x;"=1+1;y', runner_up="b", encoding="utf-8")
@example(path="a,=1", author="x", runner_up="b", encoding="utf-8")
def test_no_cell_is_a_formula_wherever_a_program_splits_the_line(form, path, author, runner_up, encoding):
    writer = FORMATS[form](5)
    ranking = ((author, 0.75), (runner_up, 0.25))
    records = [
        Attribution(DocumentRef(path), "scored", ranking, encoding=encoding),
        Attribution(DocumentRef(path), "failed", error=author),
        Attribution(DocumentRef(path), "unknown", ranking),
    ]
    text = "".join(writer.row(record).decode("utf-8") for record in records)
    for delimiter in ",;\t":
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            for shown in row:
                assert not shown.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), row  # noqa: RUF001


def test_a_csv_row_has_the_probabilities_with_six_decimals():
    row = FORMATS["csv"](5).row(make_record(probability=2 / 3))
    assert row == b"a,,scored,Ada,,0.666667,Ben,0.333333,0.333333,,1,9,,utf-8," + b"0" * 64 + b",,,,,\n"
    unknown = replace(make_record(status="unknown"), known_author_score=2e-5, coverage=0.25, reason="unlike anything")
    assert FORMATS["csv"](5).row(unknown).startswith(b"a,,unknown,,Ada,0.750000,Ben,")
    assert FORMATS["csv"](5).row(unknown).endswith(b",,0.000020,0.250000,unlike anything,\n")
    adapted = FORMATS["csv"](5).row(replace(make_record(probability=2 / 3), adapted=True))
    assert adapted == row[:-1] + b"yes\n"
    failed = FORMATS["csv"](5).row(make_record(status="failed"))
    assert failed == b"a,,failed,,,,,,,,1,9,,utf-8," + b"0" * 64 + b",broken,,,,\n"


@pytest.mark.promise("exact-names")
@given(RECORDS | FAILURES)
def test_a_jsonl_row_is_exact_and_plain_ascii(record):
    line = FORMATS["jsonl"](3).row(record)
    assert line.isascii()
    assert line.count(b"\n") == 1
    row = json.loads(line)
    raw = base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode("utf-8")
    assert os.fsdecode(raw) == record.path
    assert ("path_b64" in row) == (row["path"].encode("utf-8") != os.fsencode(record.path))
    assert row["probability"] == (record.ranking[0][1] if record.ranking else None)
    ranking = [(unicode_text(name), number) for name, number in record.ranking[:3]]
    assert [(item["author"], item["probability"]) for item in row["top"]] == ranking
    chosen = ranking[0][0] if ranking else None
    assert row["author"] == (chosen if record.status == "scored" else None)
    assert row["candidate"] == (chosen if record.status == "unknown" else None)
    assert tuple(row.get("evidence", ())) == record.evidence
    assert [
        row[column] for column in ("status", "windows", "tokens", "encoding", "sha256", "error", "reader", "expert")
    ] == [
        *(record.status, record.windows, record.tokens, record.encoding, record.sha256, record.error),
        *(record.reader, record.expert),
    ]
    assert [row[column] for column in ("known_author_score", "coverage", "reason")] == [
        *(record.known_author_score, record.coverage, record.reason)
    ]


def test_the_format_follows_the_file_name_unless_it_is_given():
    names = ("a.csv", "a.jsonl", "a.ndjson", "a.JSONL", "a.json.Csv", "a.Tsv", "a.parquet")
    assert [format_for(name) for name in names] == ["csv", "jsonl", "jsonl", "jsonl", "csv", "tsv", "parquet"]
    assert format_for("a.csv", "jsonl") == "jsonl"


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_every_format_has_its_name_and_suffixes(form):
    writer = FORMATS[form]
    assert writer.name == form
    assert all(format_for(f"results{suffix}") == form for suffix in writer.suffixes)


@pytest.mark.parametrize("name", ["a", "a.json", "a.tab", "a.xlsx", "a.csv.gz", "csv", "a.csv ", "a.csv/b", ".JSON"])
def test_an_ending_without_a_format_is_an_error_that_names_the_known_ones(name):
    with pytest.raises(
        ValueError, match=r"there are \.csv, \.tsv, \.jsonl, \.ndjson, \.parquet, or choose one with --format"
    ):
        format_for(name)
    assert format_for(name, "jsonl") == "jsonl"
