"""A listing holds what a walk has found, whatever the names are, and one that is none is refused."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import PATHS

from authorid.errors import AuthoridError
from authorid.inputs.discovery import DiscoveredFile, walk
from authorid.inputs.listing import read_listing
from authorid.outputs.listing_writers import LISTING_WRITERS

FORMS = ("parquet", "jsonl", "csv")
FILES = st.builds(
    DiscoveredFile,
    PATHS,
    st.none() | st.text(min_size=1, max_size=9).filter(lambda text: text.isprintable() and text[0].isalnum()),
    follow=st.booleans(),
    size=st.none() | st.integers(0, 2**40),
)


def write(path, form, files):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    writer = LISTING_WRITERS[form]()
    path.write_bytes(writer.header() + b"".join(map(writer.row, files)) + writer.footer())


@pytest.mark.promise("exact-names")
@pytest.mark.parametrize("form", FORMS)
@given(files=st.lists(FILES, max_size=9))
def test_what_is_written_is_read(tmp_path_factory, form, files):
    path = tmp_path_factory.mktemp("listing") / f"files.{form}"
    write(path, form, files)
    read = list(read_listing(path))
    assert [(file.path, file.follow, file.size) for file in read] == [(f.path, f.follow, f.size) for f in files]
    assert [file.problem is None for file in read] == [file.problem is None for file in files]
    assert [file.order_key for file in read] == sorted(file.order_key for file in read)


@pytest.mark.promise("harmless-names", "no-formulas")
@pytest.mark.parametrize("form", ["jsonl", "csv"])
def test_no_name_breaks_a_listing(tmp_path, form):
    names = ["=cmd()", "a\nb", "\x1b[2J", "\udcff", "a,b\"c'", "\u202e", "-1+1", "\\", "a;=1"]
    write(tmp_path / f"l.{form}", form, [DiscoveredFile(name, None, size=1) for name in names])
    text = (tmp_path / f"l.{form}").read_text("utf-8")
    assert len(text.splitlines()) == len(names) + (form == "csv")
    assert text.replace("\n", "").isprintable()
    assert not any(line.startswith(tuple("=-+@")) for line in text.splitlines())
    assert [file.path for file in read_listing(tmp_path / f"l.{form}")] == names


def test_a_listing_is_what_a_walk_finds(tmp_path):
    root = tmp_path / "d"
    root.mkdir()
    for name in (b"a.txt", b"\xff.txt", b"b"):
        (root / os.fsdecode(name)).write_bytes(name)
    os.mkfifo(root / "fifo")
    found = list(walk([root]))
    write(tmp_path / "l.jsonl", "jsonl", found)
    assert [(f.path, f.problem, f.follow, f.size) for f in read_listing(tmp_path / "l.jsonl")] == [
        (f.path, f.problem, f.follow, f.size) for f in found
    ]
    assert [file.size for file in found][:2] == [5, 1]


ROW = {"path": "a", "path_b64": None, "size": 1, "problem": None, "follow": True}


@pytest.mark.parametrize(
    "row",
    [
        [],
        "a",
        {},
        {**ROW, "path": ""},
        {**ROW, "path": 3},
        {**ROW, "path": None},
        {**ROW, "path": "a\0b"},
        {**ROW, "path": "\ud800"},
        {**ROW, "path_b64": "!"},
        {**ROW, "path_b64": "YQBi"},
        {**ROW, "size": -1},
        {**ROW, "size": 1.5},
        {**ROW, "size": True},
        {**ROW, "follow": None},
        {**ROW, "problem": ["x"]},
    ],
)
def test_a_row_that_is_none_is_refused_with_its_number(tmp_path, row):
    path = tmp_path / "files.jsonl"
    path.write_text(json.dumps(ROW) + "\n" + json.dumps(row) + "\n")
    with pytest.raises(
        AuthoridError, match=r"files\.jsonl: not a listing, which authorid list makes: row 2: ."
    ) as caught:
        list(read_listing(path))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("form", [*FORMS, "txt"])
@pytest.mark.parametrize(
    "content", [b"", b"\xff\xfe\0", b"PAR1" + b"\0" * 99, b"[" * 10**5, b"path,size\n", b'{"path": ']
)
def test_a_file_that_is_no_listing_is_refused(tmp_path, form, content):
    if form == "parquet":
        pytest.importorskip("pyarrow")
    path = tmp_path / f"files.{form}"
    path.write_bytes(content)
    if form == "jsonl" and not content:
        assert list(read_listing(path)) == []  # no files
        return
    with pytest.raises(AuthoridError, match="listing"):
        list(read_listing(path))


def test_a_listing_that_is_not_there(tmp_path):
    with pytest.raises(AuthoridError, match="cannot be read: no such file"):
        list(read_listing(tmp_path / "none.csv"))
