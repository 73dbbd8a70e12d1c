from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from result_records import AUTHORS, discovered, make_record

from authorid.inputs.documents import Document, DocumentRef, Failure
from authorid.outputs.journal import Journal, JournalHeader, read_entries, read_header
from authorid.outputs.record_codec import Entry, Place
from authorid.outputs.resume import EarlierRun, differences, merge_journals


def test_merging_takes_the_newer_records_first_and_then_the_older_ones_after_them(tmp_path):
    for name, files in (("new", "abd"), ("old", "abcdef")):
        journal = Journal(tmp_path / name, {"of": "both"}, AUTHORS)
        for below in files:
            journal.append(Place(0, below), make_record(below, sha256=name))
        journal.sync()
        journal.close()
    merge_journals(tmp_path / "new", tmp_path / "old", tmp_path / "merged")
    assert [(entry.place.below, entry.record.sha256) for entry in read_entries(tmp_path / "merged")] == [
        *(("a", "new"), ("b", "new"), ("d", "new")),
        *(("e", "old"), ("f", "old")),
    ]
    assert read_header(tmp_path / "merged") == JournalHeader(8, {"of": "both"}, AUTHORS)


def earlier_run(*files, digests=None):
    entries = (Entry(Place(root, below), make_record(f"d/{below}", status)) for root, below, status in files)
    return EarlierRun(entries, lambda file: (digests or {}).get(file.below, "0" * 64))


def recalled(earlier, below, root=0):
    """What is known of a file with one document, or None."""
    new = Failure(DocumentRef(f"d/{below}"), "new")
    (item,) = earlier.recall(discovered(below, root), iter([new]))
    return None if item is new else item


def test_unchanged_records_are_kept_and_others_are_counted():
    earlier = earlier_run(
        (0, "a", "scored"), (0, "b", "unknown"), (0, "c/x", "scored"), (0, "d", "failed"), (1, "a", "scored"),
        digests={"b": "1" * 64},
    )  # fmt: skip
    assert recalled(earlier, "a") == make_record("d/a")
    assert recalled(earlier, "aa") is None
    assert recalled(earlier, "b") is None
    assert recalled(earlier, "d") is None
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
    kept = {(root, below) for root, below in sort(now) if recalled(earlier, below, root) is not None}
    earlier.finish()
    assert kept == before & now
    assert (earlier.kept, earlier.vanished) == (len(before & now), len(before - now))


def row(number, text, source="d/table"):
    return Document(DocumentRef(source, str(number)), text, "utf-8", text.rjust(64, "0"), "csv")


def scored(document):
    return replace(
        make_record(document.ref.source, sha256=document.sha256), ref=document.ref, encoding="utf-8", reader="csv"
    )


@pytest.mark.promise("resume-changes")
@given(st.lists(st.sampled_from("abc"), max_size=6), st.lists(st.sampled_from("abc"), max_size=6))
def test_the_rows_of_a_table_are_kept_where_the_same_text_is_in_the_same_row(before, now):
    entries = [
        *(Entry(Place(0, "table", position), scored(row(position, text))) for position, text in enumerate(before)),
        Entry(Place(0, "zoo"), make_record("d/zoo")),
    ]
    earlier = EarlierRun(iter(entries), lambda file: "0" * 64)
    documents = [row(position, text) for position, text in enumerate(now)]
    found = list(earlier.recall(discovered("table"), iter(documents)))
    same = [new == old for new, old in zip(now, before, strict=False)] + [False] * (len(now) - len(before))
    assert found == [scored(document) if known else document for document, known in zip(documents, same, strict=True)]
    assert recalled(earlier, "zoo") == make_record("d/zoo")
    assert earlier.kept == sum(same) + 1
    assert (earlier.changed, earlier.vanished) == (
        min(len(before), len(now)) - sum(same),
        max(0, len(before) - len(now)),
    )


def test_a_file_that_is_unchanged_is_not_read():
    earlier = earlier_run((0, "a", "scored"))
    unread = (pytest.fail("was read") for _ in range(1))
    assert list(earlier.recall(discovered("a"), unread)) == [make_record("d/a")]


def test_merging_journals_goes_on_within_a_table(tmp_path):
    for name, rows in (("new", 2), ("old", 4)):
        journal = Journal(tmp_path / name, {}, AUTHORS)
        for position in range(rows):
            journal.append(Place(0, "table", position), scored(row(position, name)))
        journal.sync()
        journal.close()
    merge_journals(tmp_path / "new", tmp_path / "old", tmp_path / "merged")
    digests = [entry.record.sha256.lstrip("0") for entry in read_entries(tmp_path / "merged")]
    assert digests == ["new", "new", "old", "old"]


def test_differences_of_fingerprints_are_named():
    before = {"top": 5, "paths": ["a", "b"], "versions": {"numpy": "1"}}
    assert differences(before, before) == []
    assert differences(before, {**before, "top": 3}) == ["top was 5, now 3"]
    assert differences(before, {**before, "paths": ["a", "c"]}) == ["path 2 was 'b', now 'c'"]
    assert differences(before, {**before, "paths": ["a"]}) == ["paths were 2, now 1"]
    assert differences(before, {**before, "versions": {"numpy": "2"}}) == ["versions numpy was '1', now '2'"]
