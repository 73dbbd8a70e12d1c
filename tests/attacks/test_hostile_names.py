"""File names, author names and messages that try to break the results or the terminal."""

from __future__ import annotations

import base64
import csv
import io
import json
import os
import unicodedata

import pytest
from command import environment, run
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from authorid.cli.console import Terminal
from authorid.outputs.escaping import cell, visible

NAMES = [
    b"new\nline",
    b"carriage\rreturn",
    b"tab\there",
    b"quote\"d, and 'd",
    b"\x1b[31mred\x1b]0;title\x07",
    b"\x9b31m\xc2\x9b31m",
    "\u202egnp.exe".encode(),
    "\u2066iso\u2069\u200b\ufeff".encode(),
    b"[bold red]markup",
    b"[link=file:x]x",
    b"not \xff\xfe utf-8",
    b"=cmd|'!A1",
    b"+1",
    b"-1",
    b"@SUM(A1)",
    b"\t=1",
    b"a;=1+1",
    b"back\\slash\\x41",
    b"'apostrophe",
    b"-out=x",
    b" leading space",
    b" =1+1",
    "\u00a0\u3000=1".encode(),
    b"%s%n{0}",
    "\u2028line\u2029separators".encode(),
    b"\x7f\x08\x08",
    b"a" * 255,
]


@pytest.fixture
def directory(tmp_path):
    root = tmp_path / "docs"
    root.mkdir()
    for name in NAMES:
        descriptor = os.open(os.fsencode(root) + b"/" + name, os.O_CREAT | os.O_WRONLY)
        os.write(descriptor, b"the river and the boat\n")
        os.close(descriptor)
    return root


@pytest.mark.promise("harmless-names")
@pytest.mark.parametrize(("form", "delimiter"), [("csv", ","), ("tsv", "\t"), ("jsonl", "\n")])
def test_hostile_names_appear_complete_and_harmless(bundle, directory, tmp_path, form, delimiter):
    out = tmp_path / f"out.{form}"
    done = run(*("score", directory, "--model", bundle.path, "--out", out, "--rows", 99), env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    data = out.read_bytes()
    assert data.count(b"\n") == len(NAMES) + (form != "jsonl")
    shown = data.decode("utf-8") + done.stderr
    assert not [
        c for c in shown if c not in ("\n", delimiter) and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")
    ]
    if form == "jsonl":
        rows = [json.loads(line) for line in data.splitlines()]
        paths = [base64.b64decode(row["path_b64"]) if "path_b64" in row else row["path"].encode() for row in rows]
        assert [path.rpartition(b"/")[2] for path in paths] == sorted(NAMES)
    else:
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=delimiter))
        assert len({row["path"] for row in rows}) == len(NAMES)
        assert {row["status"] for row in rows} <= {"scored", "unknown"}


@pytest.mark.promise("exact-names")
def test_hostile_names_are_exact_in_parquet(bundle, directory, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    out = tmp_path / "out.parquet"
    done = run("score", directory, "--model", bundle.path, "--out", out, env=environment(tmp_path))
    assert done.returncode == 0, done.stderr
    rows = parquet.read_table(out).to_pylist()
    paths = [base64.b64decode(row["path_b64"]) if row["path_b64"] else row["path"].encode() for row in rows]
    assert [path.rpartition(b"/")[2] for path in paths] == sorted(NAMES)


@pytest.mark.promise("no-formulas")
def test_a_path_that_is_a_formula_is_neutralized(bundle, directory, tmp_path):
    names = [name for name in NAMES if name[:1] in b"=+@\t" or name == b"-1"]
    done = run(
        *("score", "-", "--model", bundle.path, "--out", "-"),
        stdin=b"\0".join(names) + b"\0",
        cwd=directory,
        env=environment(tmp_path),
    )
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["path"] for row in rows] == ["'=cmd|'!A1", "'+1", "'-1", "'@SUM(A1)", r"\x09=1"]


@pytest.mark.promise("no-formulas")
@pytest.mark.parametrize("space", [" ", "   ", "\u00a0", "\u3000", "\u2003"])
@pytest.mark.parametrize("sign", ["=", "+", "-", "@", "\uff1d", "'"])
def test_a_formula_after_white_space_is_neutralized(space, sign):
    assert cell(f"{space}{sign}1") == f"'{space}{sign}1"


@pytest.mark.promise("harmless-messages")
def test_a_name_cannot_forge_a_line_of_a_message(bundle, tmp_path):
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "a\nerror: all is lost\nb").write_bytes(b"\0\0")
    arguments = ("score", docs, "--model", bundle.path, "--out", tmp_path / "out.csv", "-q")
    done = run(*arguments, "--fail-fast", env=environment(tmp_path))
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert r"docs/a\x0aerror: all is lost\x0ab: binary file" in line


@pytest.mark.promise("harmless-names")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(max_size=60))
def test_no_text_controls_the_terminal(capfd, text):
    terminal = Terminal()
    terminal.info(text)
    terminal.table("t", [("c", False)], [(text,)])
    _, err = capfd.readouterr()
    assert err.startswith(visible(text).replace("\\\\", "\\") + "\n")
    assert not [c for c in err if c != "\n" and unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp")]
