from __future__ import annotations

import errno
import os
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_records import AUTHORS, FAILURES, PATHS, RECORDS, make_record

from authorid.outputs import atomic
from authorid.outputs import journal as journals
from authorid.outputs.journal import Journal, JournalHeader, read_entries, read_header
from authorid.outputs.record_codec import Entry, Place

PLACES = st.builds(Place, st.integers(0, 3), PATHS, st.integers(0, 9))


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.builds(Place, st.integers(0, 3), PATHS, st.integers(0, 9)), RECORDS | FAILURES), max_size=8)
)
def test_a_journal_returns_the_records_that_were_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path, {"top": 5}, AUTHORS)
    written = [Entry(*item) for item in rows]
    for entry in written:
        journal.append(*entry)
    journal.sync()
    journal.close()
    assert read_header(path) == JournalHeader(journals.FORMAT, {"top": 5}, AUTHORS)
    assert list(read_entries(path)) == written


@pytest.mark.promise("journal-damage")
def test_a_journal_cut_anywhere_is_read_up_to_its_last_intact_line(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, {"top": 5}, AUTHORS)
    for number in range(5):
        journal.append(Place(0, str(number)), make_record(str(number)))
    journal.sync()
    journal.close()
    data = path.read_bytes()
    ends = [index + 1 for index, byte in enumerate(data) if byte == 10]
    for size in range(len(data), -1, -1):
        os.truncate(path, size)
        lines = sum(end <= size for end in ends)
        assert (read_header(path) is not None) == (lines > 0)
        assert len(list(read_entries(path))) == max(0, lines - 1)


@pytest.mark.promise("journal-damage")
@given(st.data())
def test_a_damaged_line_ends_the_journal(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path, {}, AUTHORS)
    written = [Entry(Place(0, str(number)), make_record(str(number))) for number in range(4)]
    for entry in written:
        journal.append(*entry)
    journal.sync()
    journal.close()
    content = bytearray(path.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    read = list(read_entries(path))
    assert read == written[: len(read)]


@pytest.mark.promise("journal-damage")
def test_an_intact_line_that_is_not_an_entry_ends_the_journal(tmp_path):
    journal = Journal(tmp_path / "j", {}, AUTHORS)
    journal.append(Place(0, "1"), make_record("1"))
    journal.sync()
    journal.close()
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content + content)
    assert list(read_entries(tmp_path / "j")) == [Entry(Place(0, "1"), make_record("1"))]


def test_zeros_at_the_end_of_the_file_lose_only_the_end(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, {}, AUTHORS)
    journal.append(Place(0, "a"), make_record("a"))
    journal.sync()
    journal.close()
    with path.open("ab") as stream:
        stream.write(bytes(4096))
    assert [entry.place.below for entry in read_entries(path)] == ["a"]


def wait_until(met):
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.promise("prompt-writes")
def test_records_do_not_wait_for_the_next_one(tmp_path, monkeypatch):
    synced = []
    sync = atomic.sync
    monkeypatch.setattr(journals, "_SYNC_SECONDS", 0.2)
    monkeypatch.setattr(atomic, "sync", lambda file: (sync(file), synced.append(os.fstat(file).st_size)))
    journal = Journal(tmp_path / "j", {}, AUTHORS)
    for number in range(3):
        journal.append(Place(0, str(number)), make_record(str(number)))
    wait_until(lambda: len(list(read_entries(tmp_path / "j"))) == 3)
    wait_until(lambda: synced[-1] == (tmp_path / "j").stat().st_size)
    assert journal.rows == 3
    journal.close()


def test_the_number_of_waiting_records_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "_FLUSH_SECONDS", 3600.0)
    journal = Journal(tmp_path / "j", {}, AUTHORS)
    for number in range(1000):
        journal.append(Place(0, str(number)), make_record(str(number)))
        assert number + 1 - journal.rows < journals._GROUP
    journal.close()


@pytest.mark.promise("prompt-writes")
@pytest.mark.parametrize("operation", ["write_all", "sync"])
def test_a_disk_failure_between_two_records_is_raised_at_the_next_and_nothing_follows(tmp_path, monkeypatch, operation):
    def fail(descriptor, *_):
        os.write(descriptor, b"half a li")
        failed.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    failed = threading.Event()
    monkeypatch.setattr(journals, "_SYNC_SECONDS", 0.2)
    journal = Journal(tmp_path / "j", {}, AUTHORS)
    journal.append(Place(0, "a"), make_record("a"))
    journal.sync()
    with monkeypatch.context() as patch:
        patch.setattr(atomic, operation, fail)
        with journal._lock:  # so that it is not `append` that fails
            journal._waiting.append(journals.checked_line(journal._codec.encode(Place(0, "b"), make_record("b"))))
        assert failed.wait(20)
    for use in (lambda: journal.append(Place(0, "c"), make_record("c")), journal.flush, journal.sync):
        with pytest.raises(OSError, match="No space left"):
            use()
    journal.close()
    kept = [entry.place.below for entry in read_entries(tmp_path / "j")]
    assert kept == (["a"] if operation == "write_all" else ["a", "b"])
    assert (tmp_path / "j").read_bytes().endswith(b"\nhalf a li")


@pytest.mark.promise("safe-rows")
def test_records_that_could_not_be_synced_do_not_count(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journals, "_FLUSH_SECONDS", 3600.0)
    journal = Journal(tmp_path / "j", {}, AUTHORS)
    journal.append(Place(0, "a"), make_record("a"))
    journal.sync()
    journal.append(Place(0, "b"), make_record("b"))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.sync()
    with pytest.raises(OSError, match="Input/output error"):  # the system reports this only once
        journal.sync()
    assert journal.rows == 1
    journal.close()
