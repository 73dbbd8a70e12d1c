from __future__ import annotations

import errno
import os
import re
import shutil
import stat

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from result_records import AUTHORS, FAILURES, RECORDS, discovered, make_record

from authorid.errors import OutputError
from authorid.inputs.discovery import DiscoveredFile
from authorid.inputs.documents import Document
from authorid.outputs import FORMATS, atomic, format_for, open_writer, reserve
from authorid.outputs import journal as journals
from authorid.outputs.answers import Answers
from authorid.outputs.journal import read_entries


def write(out, records, *, finish=True, resume=False, force=False, fingerprint=None, digests=None, top=2):
    """Write records as a run does: the walk finds each file before its record comes."""
    with (
        reserve(str(out), resume=resume, force=force) as destination,
        destination.open(
            format_for(out.name),
            top=top,
            fingerprint=fingerprint or {},
            answers=Answers(AUTHORS),
            file_digest=lambda file: (digests or {}).get(file.path, "0" * 64),
        ) as output,
    ):
        for number, record in enumerate(records):
            file = DiscoveredFile(record.ref.source, None, 0, f"{number:03}")
            document = Document(record.ref, "", record.encoding, record.sha256, record.reader)
            (known,) = output.recall(file, iter([document]))
            output.write(record if known is document else known)
        if finish:
            output.finish()
        return output.earlier


RECORDS_OF_A_RUN = [make_record(f"d/{number}", probability=0.5 + number / 100) for number in range(20)]


def test_a_finished_run_leaves_nothing_but_its_file(tmp_path):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize("first", [0, 1, 13, 20])
@pytest.mark.parametrize("second", [0, 1, 13, 15, 20])
def test_a_run_interrupted_twice_and_resumed_gives_the_same_bytes(tmp_path, first, second):
    write(tmp_path / "whole.csv", RECORDS_OF_A_RUN)
    out = tmp_path / "out.csv"
    write(out, RECORDS_OF_A_RUN[:first], finish=False)
    assert not out.exists()
    write(out, RECORDS_OF_A_RUN[:second], finish=False, resume=True)
    again = write(out, RECORDS_OF_A_RUN, resume=True)
    assert again.kept == max(first, second)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "whole.csv"]


@pytest.mark.promise("resume-keeps-progress")
def test_records_scored_again_while_resuming_survive_the_next_kill(tmp_path):
    out = tmp_path / "out.csv"
    write(out, RECORDS_OF_A_RUN, finish=False)
    changed = {"d/3": "1" * 64}
    better = [
        make_record("d/3", sha256="1" * 64) if record.ref.source == "d/3" else record for record in RECORDS_OF_A_RUN
    ]
    write(out, better[:6], finish=False, resume=True, digests=changed)
    assert (tmp_path / "out.csv.journal.next").exists()
    last = write(out, better, resume=True, digests=changed)
    assert (last.kept, last.changed, last.vanished) == (20, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.promise("no-overwrite")
def test_an_existing_file_or_journal_is_refused_without_an_option(tmp_path):
    out = tmp_path / "out.csv"
    write(out, RECORDS_OF_A_RUN[:2])
    with pytest.raises(OutputError, match=r"already exists; pass --force"):
        write(out, RECORDS_OF_A_RUN)
    write(out, RECORDS_OF_A_RUN, force=True)
    write(tmp_path / "two.csv", RECORDS_OF_A_RUN[:2], finish=False)
    with pytest.raises(OutputError, match=r"--resume to continue it.*--force to start over"):
        write(tmp_path / "two.csv", RECORDS_OF_A_RUN)
    assert write(tmp_path / "two.csv", RECORDS_OF_A_RUN, force=True) is None


@pytest.mark.promise("atomic")
def test_the_old_file_stays_until_a_forced_run_is_finished(tmp_path):
    out = tmp_path / "out.csv"
    write(out, RECORDS_OF_A_RUN[:2])
    before = out.read_bytes()
    write(out, RECORDS_OF_A_RUN[:5], force=True, finish=False)
    assert out.read_bytes() == before
    write(out, RECORDS_OF_A_RUN, resume=True)
    assert out.read_bytes() != before


def test_resuming_with_nothing_to_resume_starts_or_is_complete(tmp_path):
    assert write(tmp_path / "new.csv", RECORDS_OF_A_RUN, resume=True) is None
    with reserve(str(tmp_path / "new.csv"), resume=True) as destination:
        assert destination.complete
    with reserve(str(tmp_path / "new.csv"), resume=True, force=True) as destination:
        assert not destination.complete
    with pytest.raises(OutputError, match="nothing to resume"), reserve("-", resume=True):
        pass


def test_another_fingerprint_is_refused_and_named(tmp_path):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN[:3], finish=False, fingerprint={"model": "a"})
    with pytest.raises(OutputError, match=r"cannot resume.*model was 'a', now 'b'"):
        write(tmp_path / "out.csv", RECORDS_OF_A_RUN, resume=True, fingerprint={"model": "b"})
    assert len(list(read_entries(tmp_path / "out.csv.journal"))) == 3


def test_a_foreign_file_with_the_name_of_the_journal_is_not_touched(tmp_path):
    (tmp_path / "out.csv.journal").write_text("dear diary\n")
    for options in ({}, {"resume": True}, {"force": True}):
        with pytest.raises(OutputError, match="not a journal"):
            write(tmp_path / "out.csv", RECORDS_OF_A_RUN, **options)
    assert (tmp_path / "out.csv.journal").read_text() == "dear diary\n"


FOREIGN = b"precious: not made by authorid\n"


@pytest.mark.promise("foreign-files")
@pytest.mark.parametrize("options", [{}, {"resume": True}, {"force": True}])
@pytest.mark.parametrize("begun", [False, True])
@pytest.mark.parametrize("suffix", [".journal.next", ".journal.merged", ".lock", ".partial", ".0123abcd.partial"])
def test_a_file_of_another_program_is_neither_removed_nor_published(tmp_path, suffix, begun, options):
    out = tmp_path / "out.csv"
    if begun:
        write(out, RECORDS_OF_A_RUN[:3], finish=False)
        (tmp_path / "out.csv.journal.next").unlink(missing_ok=True)
    foreign = tmp_path / f"out.csv{suffix}"
    foreign.write_bytes(FOREIGN)
    if suffix.endswith(".partial"):
        if not begun or options:
            write(out, RECORDS_OF_A_RUN, **options)
            assert len(out.read_text().splitlines()) == 21
    else:
        with pytest.raises(OutputError, match=rf"out\.csv\{suffix}: not a (journal|lock) of authorid.*move it away"):
            write(out, RECORDS_OF_A_RUN, **options)
        assert not out.exists()
    assert foreign.read_bytes() == FOREIGN


def during(out, meddle, *, resume=False):
    """Write a run, call `meddle` after half of the records, and return the output and its error."""
    output = None
    try:
        with (
            reserve(str(out), resume=resume) as destination,
            destination.open(
                "csv", top=2, fingerprint={}, answers=Answers(AUTHORS), file_digest=lambda _: "0" * 64
            ) as output,
        ):
            for number, record in enumerate(RECORDS_OF_A_RUN):
                if number == 10:
                    meddle()
                (row,) = output.recall(DiscoveredFile(record.ref.source, None, 0, f"{number:03}"), iter([record]))
                output.write(row)
            output.finish()
    except OutputError as error:
        return output, str(error)
    return output, ""


@pytest.mark.promise("foreign-files")
def test_a_file_that_takes_the_place_of_the_results_during_the_run_is_not_published(tmp_path):
    out = tmp_path / "out.csv"

    def replace():
        (partial,) = tmp_path.glob("*.partial")
        (tmp_path / "other").write_bytes(FOREIGN)
        (tmp_path / "other").replace(partial)

    output, error = during(out, replace)
    assert re.search(r"out\.csv\.[0-9a-f]{8}\.partial was removed or replaced\. 20 rows are safe", error)
    assert not out.exists()
    (partial,) = tmp_path.glob("*.partial")
    assert partial.read_bytes() == FOREIGN
    assert output.resumable
    assert write(out, RECORDS_OF_A_RUN, resume=True).kept == 20
    assert partial.read_bytes() == FOREIGN


@pytest.mark.promise("safe-rows")
@pytest.mark.parametrize("replaced", [False, True])
def test_rows_in_a_journal_that_was_removed_are_not_reported_as_safe(tmp_path, replaced):
    home = tmp_path / "home"
    home.mkdir()

    def remove():
        shutil.rmtree(home)
        if replaced:
            home.mkdir()
            (home / "out.csv.journal").write_bytes(FOREIGN)

    output, error = during(home / "out.csv", remove)
    assert "the rows of this run are lost, because out.csv.journal was removed or replaced" in error
    assert "safe" not in error
    assert "--resume" not in error
    assert not output.resumable
    assert output.saved == "the rows of this run are lost, because out.csv.journal was removed or replaced"
    assert not replaced or (home / "out.csv.journal").read_bytes() == FOREIGN


def test_a_resumed_run_without_its_new_journal_can_be_resumed_from_the_old_one(tmp_path):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN[:15], finish=False)
    output, error = during(tmp_path / "out.csv", (tmp_path / "out.csv.journal.next").unlink, resume=True)
    assert "the rows of this run are lost, because out.csv.journal.next was removed or replaced" in error
    assert output.resumable
    assert write(tmp_path / "out.csv", RECORDS_OF_A_RUN, resume=True).kept == 15


@pytest.mark.promise("no-leftovers")
@pytest.mark.parametrize("content", [b"", b"12", b"12\n", b"12\n0123", b"12\n0123abcd", b"12\n0123abcd\n"])
def test_the_unfinished_file_of_a_killed_run_is_removed_by_the_name_in_its_lock(tmp_path, content):
    (tmp_path / "out.csv.lock").write_bytes(content)
    if b"abcd" in content:
        (tmp_path / "out.csv.0123abcd.partial").write_text("path,status\n")
    with reserve(str(tmp_path / "out.csv")):
        assert [path.name for path in tmp_path.iterdir()] == ["out.csv.lock"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"1234", b'1234abcd {"jour', b'1234abcd {"journal": 4, "au', b"\0" * 50])
def test_a_journal_that_a_power_cut_has_shortened_is_still_a_journal(tmp_path, content):
    (tmp_path / "out.csv.journal.next").write_bytes(content)
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.parametrize(
    "make", [os.mkfifo, lambda path: path.symlink_to("nowhere"), lambda path: path.write_text("x")]
)
def test_other_things_with_the_name_of_a_journal_are_refused(tmp_path, make):
    make(tmp_path / "out.csv.journal.next")
    with pytest.raises(OutputError, match="not a journal"):
        write(tmp_path / "out.csv", RECORDS_OF_A_RUN)
    assert os.path.lexists(tmp_path / "out.csv.journal.next")


def test_a_journal_of_another_format_is_refused_by_its_number_and_kept(tmp_path):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN[:3], finish=False)
    path = tmp_path / "out.csv.journal"
    payload = path.read_bytes().splitlines(keepends=True)[0].partition(b" ")[2]
    older = payload.replace(b'"journal": %d' % journals.FORMAT, b'"journal": 4')
    assert older != payload
    path.write_bytes(journals.checked_line(older))
    with pytest.raises(OutputError, match=r"journal format 4, and this release reads format 8.*or pass --force"):
        write(tmp_path / "out.csv", RECORDS_OF_A_RUN, resume=True)
    assert path.read_bytes() == journals.checked_line(older)
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN, force=True)
    assert [file.name for file in tmp_path.iterdir()] == ["out.csv"]


def test_a_journal_of_a_model_with_other_authors_is_refused(tmp_path, monkeypatch):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN[:3], finish=False)
    monkeypatch.setitem(write.__globals__, "AUTHORS", ("Ada", "Ben"))
    with pytest.raises(OutputError, match=r"cannot resume.*the authors of the model differ"):
        write(tmp_path / "out.csv", RECORDS_OF_A_RUN, resume=True)


@settings(max_examples=25)
@given(st.lists(RECORDS | FAILURES, min_size=1, max_size=9), st.integers(0, 9), st.integers(1, 6))
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_resumed_run_writes_evidence_and_all_ranks_to_the_last_bit(tmp_path_factory, form, records, first, top):
    directory = tmp_path_factory.mktemp("runs")
    write(directory / f"whole.{form}", records, top=top)
    write(directory / f"out.{form}", records[:first], finish=False, top=top)
    earlier = write(directory / f"out.{form}", records, resume=True, top=top)
    assert earlier.kept == sum(record.status != "failed" for record in records[:first])
    assert (directory / f"out.{form}").read_bytes() == (directory / f"whole.{form}").read_bytes()


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_very_long_path_costs_no_row_that_comes_after_it(tmp_path, form):
    out = tmp_path / f"out.{form}"
    rows = [*RECORDS_OF_A_RUN[:3], make_record("d/" + 'long, "' * 100_000), *RECORDS_OF_A_RUN[3:]]
    write(out, rows, finish=False)
    assert write(out, rows, resume=True).kept == 21


def test_links_are_followed_to_where_the_file_is(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "out.csv")
    write(tmp_path / "link.csv", RECORDS_OF_A_RUN)
    assert (tmp_path / "link.csv").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["out.csv"]


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for suffix in (".journal", ".journal.next", ".journal.merged"):
        link = tmp_path / f"out.csv{suffix}"
        link.symlink_to(victim)
        with pytest.raises(OutputError, match="not a journal of authorid"):
            write(tmp_path / "out.csv", RECORDS_OF_A_RUN, force=True)
        assert link.is_symlink()
        link.unlink()
    (tmp_path / "two.csv.lock").symlink_to(victim)
    with pytest.raises(OutputError, match="cannot write there"):
        write(tmp_path / "two.csv", RECORDS_OF_A_RUN)
    assert victim.read_text() == "precious"


@pytest.mark.promise("private")
def test_a_replaced_file_keeps_its_mode(tmp_path):
    out = tmp_path / "out.csv"
    write(out, RECORDS_OF_A_RUN)
    out.chmod(0o600)
    write(out, RECORDS_OF_A_RUN, force=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def modes(directory):
    found = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir() if path.suffix != ".lock"}
    return {re.sub(r"\.[0-9a-f]{8}\.partial", ".TOKEN.partial", name): mode for name, mode in found.items()}


@pytest.mark.promise("private")
def test_all_files_of_a_run_have_the_mode_of_the_file_that_is_replaced(tmp_path):
    out = tmp_path / "out.csv"
    hidden = {name: 0o600 for name in ("out.csv", "out.csv.journal", "out.csv.journal.next", "out.csv.TOKEN.partial")}
    write(out, RECORDS_OF_A_RUN)
    out.chmod(0o600)
    with (
        reserve(str(out), force=True) as destination,
        destination.open("csv", top=2, fingerprint={}, answers=Answers(AUTHORS), file_digest=lambda _: None) as output,
    ):
        del hidden["out.csv.journal.next"]
        assert modes(tmp_path) == hidden
        for row in output.recall(discovered("a"), iter(RECORDS_OF_A_RUN[:1])):
            output.write(row)
    write(out, [], finish=False, resume=True)
    assert (tmp_path / "out.csv.journal.next").exists()
    with (
        reserve(str(out), resume=True) as destination,
        destination.open("csv", top=2, fingerprint={}, answers=Answers(AUTHORS), file_digest=lambda _: None),
    ):
        hidden["out.csv.journal.next"] = 0o600
        assert modes(tmp_path) == hidden
    with open_writer(str(out), "csv") as put:
        put(RECORDS_OF_A_RUN[0])
        assert modes(tmp_path) == hidden
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.promise("no-leftovers")
@pytest.mark.parametrize("forced", [{"force": True}, {"resume": True}])
def test_leftovers_of_a_kill_during_a_merge_are_removed(tmp_path, forced):
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN[:3], finish=False)
    (tmp_path / "out.csv.journal.merged").write_bytes((tmp_path / "out.csv.journal").read_bytes()[:-3])
    write(tmp_path / "out.csv", RECORDS_OF_A_RUN, **forced)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_an_impossible_destination_is_a_clear_error(tmp_path):
    with pytest.raises(OutputError, match="is a directory"):
        write(tmp_path, RECORDS_OF_A_RUN)
    with pytest.raises(OutputError, match="no such file or directory"):
        write(tmp_path / "none" / "out.csv", RECORDS_OF_A_RUN)
    with pytest.raises(OutputError, match="file name too long"):
        write(tmp_path / ("n" * 250), RECORDS_OF_A_RUN)
    (tmp_path / "a.csv.journal").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write(tmp_path / "a.csv", RECORDS_OF_A_RUN)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    write(tmp_path / "loop.csv", RECORDS_OF_A_RUN, force=True)


def test_two_runs_exclude_each_other_and_a_leftover_lock_file_does_not(tmp_path):
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.lock").write_text("1\n")
    with reserve(str(out)):
        with pytest.raises(OutputError, match=rf"another run is writing it \(process {os.getpid()}\)"):
            write(out, RECORDS_OF_A_RUN)
        write(tmp_path / "other.csv", RECORDS_OF_A_RUN)
    write(out, RECORDS_OF_A_RUN)
    assert not (tmp_path / "out.csv.lock").exists()


def test_records_can_be_written_without_a_run(tmp_path):
    with open_writer(str(tmp_path / "out.csv"), "csv") as put:
        put(RECORDS_OF_A_RUN[0])
        assert not (tmp_path / "out.csv").exists()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    with pytest.raises(ZeroDivisionError), open_writer(str(tmp_path / "out.csv"), "csv") as put:
        1 // 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_writing_without_a_run_excludes_runs(tmp_path):
    out = tmp_path / "out.csv"
    with open_writer(str(out), "csv") as put:
        put(RECORDS_OF_A_RUN[0])
        with pytest.raises(OutputError, match="another run is writing it"):
            write(out, RECORDS_OF_A_RUN)
    with (
        reserve(str(out), force=True),
        pytest.raises(OutputError, match="another run is writing it"),
        open_writer(str(out), "csv"),
    ):
        pass


@pytest.mark.parametrize("name", ["out.csv", "pipe"])
def test_an_error_of_the_caller_is_not_an_output_error(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(FileNotFoundError), open_writer(str(tmp_path / name), "csv"):
        (tmp_path / "none").read_bytes()
    with (
        pytest.raises(FileNotFoundError),
        reserve(str(tmp_path / name)) as destination,
        destination.open("csv", top=2, fingerprint={}, answers=Answers(AUTHORS), file_digest=lambda _: None),
    ):
        (tmp_path / "none").read_bytes()
    os.close(reader)


@pytest.mark.parametrize("operation", ["create", "sync", "publish"])
def test_a_disk_failure_without_a_run_is_a_clear_error(tmp_path, monkeypatch, operation):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, operation, full)
    refused = pytest.raises(OutputError, match=r"out\.csv: cannot write there: no space left on device")
    with refused, open_writer(str(tmp_path / "out.csv"), "csv") as put:
        put(RECORDS_OF_A_RUN[0])
    assert list(tmp_path.iterdir()) == []
