from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from authorid.inputs import discovery
from authorid.inputs.discovery import walk
from authorid.inputs.documents import ReadOptions


def names(root, **options):
    return [file.below for file in walk([root], ReadOptions(**options))]


def touch(root, *paths):
    for path in paths:
        file = root / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("the river\n")


def test_files_come_depth_first_in_byte_order_of_their_names(tmp_path):
    touch(tmp_path, "b", "a/z", "a.txt", "a/B", "é", "Z", "a-b/c")
    assert names(tmp_path) == ["Z", "a/B", "a/z", "a-b/c", "a.txt", "b", "é"]


def test_order_keys_sort_files_in_walk_order(tmp_path):
    touch(tmp_path, "b", "a/z", "a.txt", "a/B/c", "a-b/c", "ab")
    keys = [file.order_key for file in walk([tmp_path, tmp_path])]
    assert keys == sorted(keys)
    assert len(set(keys)) == 12


@pytest.mark.promise("hidden")
def test_hidden_files_are_left_out_unless_given_by_name_or_requested(tmp_path):
    touch(tmp_path, ".secret", ".dir/a", "b")
    assert names(tmp_path) == ["b"]
    assert names(tmp_path, hidden=True) == [".dir/a", ".secret", "b"]
    assert [file.path for file in walk([tmp_path / ".secret"])] == [str(tmp_path / ".secret")]


@pytest.mark.promise("selection")
def test_globs_match_names_and_paths_and_exclude_whole_directories(tmp_path):
    touch(tmp_path, "a/one.txt", "a/two.md", "b/one.txt", "three.txt")
    assert names(tmp_path, include=("*.txt",)) == ["a/one.txt", "b/one.txt", "three.txt"]
    assert names(tmp_path, include=("a/*",)) == ["a/one.txt", "a/two.md"]
    assert names(tmp_path, exclude=("b", "*.md")) == ["a/one.txt", "three.txt"]
    assert [file.problem for file in walk([tmp_path / "a/two.md"], ReadOptions(include=("*.txt",)))] == [None]


@pytest.mark.promise("hidden")
def test_the_output_files_of_the_run_are_not_documents(tmp_path):
    touch(tmp_path, "docs/a", "docs/out.csv", "docs/sub/out.csv")
    (tmp_path / "alias").symlink_to(tmp_path / "docs")
    own = frozenset({str(tmp_path / "docs/out.csv")})
    assert names(tmp_path / "alias", skip=own) == ["a", "sub/out.csv"]
    assert list(walk([tmp_path / "docs/out.csv"], ReadOptions(skip=own))) == []


def test_a_directory_larger_than_a_block_is_complete_and_in_order(tmp_path, monkeypatch):
    monkeypatch.setattr(discovery, "_BLOCK", 7)
    touch(tmp_path, *(f"{number * 37 % 100:03}" for number in range(100)))
    assert names(tmp_path) == [f"{number:03}" for number in range(100)]


@pytest.mark.promise("order")
@settings(max_examples=25)
@given(
    entries=st.lists(st.binary(min_size=1, max_size=6).filter(lambda b: not set(b) & set(b"\0/.")), max_size=60),
    block=st.integers(1, 9),
)
def test_any_names_are_sorted_by_their_bytes(tmp_path_factory, entries, block):
    root = os.fsencode(tmp_path_factory.mktemp("names"))
    for name in set(entries):
        os.close(os.open(root + b"/" + name, os.O_CREAT))
    before, discovery._BLOCK = discovery._BLOCK, block
    try:
        below = [os.fsencode(item.below) for item in walk([os.fsdecode(root)])]
    finally:
        discovery._BLOCK = before
    assert below == sorted(set(entries))
