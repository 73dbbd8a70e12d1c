from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import AUTHORS, discovered, make_record

from authorid.outputs.journal import Journal, JournalHeader, read_entries, read_header
from authorid.outputs.record_codec import Entry
from authorid.outputs.resume import EarlierRun, differences, merge_journals


def test_merging_takes_the_newer_records_first_and_then_the_older_ones_after_them(tmp_path):
    for name, files in (("new", "abd"), ("old", "abcdef")):
        journal = Journal(tmp_path / name, {"of": "both"}, AUTHORS)
        for below in files:
            journal.append(0, below, make_record(below, sha256=name))
        journal.sync()
        journal.close()
    merge_journals(tmp_path / "new", tmp_path / "old", tmp_path / "merged")
    assert [(entry.below, entry.record.sha256) for entry in read_entries(tmp_path / "merged")] == [
        *(("a", "new"), ("b", "new"), ("d", "new")),
        *(("e", "old"), ("f", "old")),
    ]
    assert read_header(tmp_path / "merged") == JournalHeader(8, {"of": "both"}, AUTHORS)


def earlier_run(*files, digests=None):
    entries = (Entry(root, below, make_record(f"d/{below}", status)) for root, below, status in files)
    return EarlierRun(entries, lambda file: (digests or {}).get(file.below, "0" * 64))


def test_unchanged_records_are_kept_and_others_are_counted():
    earlier = earlier_run(
        (0, "a", "scored"), (0, "b", "unknown"), (0, "c/x", "scored"), (0, "d", "failed"), (1, "a", "scored"),
        digests={"b": "1" * 64},
    )  # fmt: skip
    assert earlier.recall(discovered("a")) == make_record("d/a")
    assert earlier.recall(discovered("aa")) is None
    assert earlier.recall(discovered("b")) is None
    assert earlier.recall(discovered("d")) is None
    assert not earlier.exhausted
    earlier.finish()
    assert earlier.exhausted
    assert (earlier.kept, earlier.changed, earlier.vanished) == (1, 1, 2)
    assert earlier.names == ["d/b (changed)", "d/c/x (vanished)", "d/a (vanished)"]


@pytest.mark.promise("resume-changes")
@given(
    before=st.sets(st.tuples(st.integers(0, 1), st.text("ab/", min_size=1, max_size=4))),
    now=st.sets(st.tuples(st.integers(0, 1), st.text("ab/", min_size=1, max_size=4))),
)
def test_merging_with_any_walk_keeps_what_both_have(before, now):
    def sort(items):
        return sorted(items, key=lambda item: discovered(item[1], item[0]).order_key)

    earlier = earlier_run(*((root, below, "scored") for root, below in sort(before)))
    kept = {(root, below) for root, below in sort(now) if earlier.recall(discovered(below, root)) is not None}
    earlier.finish()
    assert kept == before & now
    assert (earlier.kept, earlier.vanished) == (len(before & now), len(before - now))


def test_differences_of_fingerprints_are_named():
    before = {"top": 5, "paths": ["a", "b"], "versions": {"numpy": "1"}}
    assert differences(before, before) == []
    assert differences(before, {**before, "top": 3}) == ["top was 5, now 3"]
    assert differences(before, {**before, "paths": ["a", "c"]}) == ["path 2 was 'b', now 'c'"]
    assert differences(before, {**before, "paths": ["a"]}) == ["paths were 2, now 1"]
    assert differences(before, {**before, "versions": {"numpy": "2"}}) == ["versions numpy was '1', now '2'"]
