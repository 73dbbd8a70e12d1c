"""What `authorid score` reads: standard input, tables and books, as a user sees it."""

from __future__ import annotations

import csv
import gzip
import io
import json

import pytest
from command import environment, run
from tiny import prose


def rows_of(done):
    return list(csv.DictReader(io.StringIO(done.stdout)))


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_one_document_comes_from_standard_input(bundle, tmp_path, pack):
    arguments = ("score", "--stdin-text", "--model", bundle.path, "--out", "-", "-q")
    done = run(*arguments, stdin=pack(prose("Ben", 40).encode()), env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    ((path, author),) = ((row["path"], row["author"]) for row in rows_of(done))
    assert (path, author) == ("stdin", "Ben")


@pytest.mark.parametrize(("data", "reason"), [(b"", "empty file"), (b"\0\1", "binary"), (b"x" * 99, "larger than 50")])
def test_standard_input_that_is_no_document_is_a_failed_row(bundle, tmp_path, data, reason):
    arguments = ("score", "--stdin-text", "--model", bundle.path, "--out", "-", "-q", "--max-bytes", "50")
    done = run(*arguments, stdin=data, env=environment(tmp_path))
    assert done.returncode == 3
    (row,) = rows_of(done)
    assert row["status"] == "failed" and reason in row["error"]


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        ([], "--stdin-text"),
        (["--stdin-text", "a"], "leave out PATH"),
        (["--stdin-text", "--adapt"], "leave out --adapt"),
    ],
)
def test_nothing_or_two_things_to_score_are_a_usage_error(tmp_path, arguments, problem):
    done = run("score", *arguments, "--out", "-", env=environment(tmp_path))
    assert done.returncode == 2
    assert problem in done.stderr


def test_the_rows_of_a_table_have_rows_with_their_names(bundle, tmp_path):
    table = tmp_path / "reviews.jsonl"
    texts = [prose("Ben", 40), "", prose("Ada", 40)]
    lines = (json.dumps({"name": f"r{n}", "body": text}) + "\n" for n, text in enumerate(texts))
    table.write_text("".join(lines))
    options = ("--text-column", "body", "--id-column", "name")
    done = run("score", table, "--model", bundle.path, "--out", "-", "-q", *options, env=environment(tmp_path))
    assert done.returncode == 3
    found = [(row["member"], row["author"], row["status"], row["reader"]) for row in rows_of(done)]
    assert found == [("r0", "Ben", "scored", "jsonl"), ("r1", "", "failed", ""), ("r2", "Ada", "scored", "jsonl")]


def test_the_summary_counts_the_books_of_project_gutenberg(bundle, tmp_path):
    start, end = (f"*** {edge} OF THE PROJECT GUTENBERG EBOOK X ***" for edge in ("START", "END"))
    (tmp_path / "a.txt").write_text(f"The Project Gutenberg eBook of X\n\n{start}\n{prose('Ben', 40)}\n{end}\nLicence")
    (tmp_path / "b.txt").write_text(prose("Ben", 40))
    done = run(
        *("score", tmp_path / "a.txt", tmp_path / "b.txt", "--model", bundle.path, "--out", "-"),
        env=environment(tmp_path),
    )
    assert "header and licence were left out of 1 documents" in done.stderr
    first, second = rows_of(done)
    assert (first["reader"], second["reader"]) == ("text (without Project Gutenberg's licence)", "text")
    assert first["probability"] == second["probability"]
