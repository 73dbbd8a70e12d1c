from __future__ import annotations

import base64
import csv
import errno
import io
import json
import math
import os
import stat
import threading
import time
from dataclasses import replace

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from authorid.errors import OutputError
from authorid.inputs.documents import DiscoveredFile, DocumentRef
from authorid.outputs import FORMATS, atomic, format_for, open_writer, reserve
from authorid.outputs import journal as journals
from authorid.outputs.escaping import cell, exact, visible
from authorid.outputs.formats import COLUMNS
from authorid.outputs.journal import Entry, Journal, entries, header
from authorid.outputs.resume import Earlier, Known, differences, merge
from authorid.scoring.attribution import Attribution

PATHS = st.binary(min_size=1, max_size=40).filter(lambda raw: b"\0" not in raw).map(os.fsdecode)
PROBABILITIES = st.floats(0, 1)
ROWS = st.builds(
    Attribution,
    ref=st.builds(DocumentRef, PATHS),
    status=st.sampled_from(["scored", "unknown"]),
    ranking=st.tuples(st.tuples(st.text(max_size=10), PROBABILITIES), st.tuples(st.text(max_size=10), PROBABILITIES)),
    windows=st.integers(0, 10**9),
    tokens=st.integers(0, 10**9),
    encoding=st.sampled_from(["utf-8", "cp1252"]),
    sha256=st.just("0" * 64),
    evidence=st.lists(PROBABILITIES, max_size=3).map(tuple),
    known_author_score=st.none() | PROBABILITIES,
)
FAILURES = st.builds(
    Attribution, ref=st.builds(DocumentRef, PATHS), status=st.just("failed"), error=st.text(max_size=20)
)


LINES = st.one_of(*(st.builds(written.row, ROWS | FAILURES, st.just(5)) for written in FORMATS.values()))


def line(path="a", status="scored", sha256="0" * 64):
    return FORMATS["csv"].row(row(path, status, sha256), 5)


def row(path="a", status="scored", sha256="0" * 64, probability=0.75):
    ranking = () if status == "failed" else (("Ada", probability), ("Ben", 1 - probability))
    return Attribution(
        DocumentRef(path), status, ranking, 1, 9, "utf-8", sha256, "broken" if status == "failed" else None
    )


# Formats ---------------------------------------------------------------------------------------------------------


@pytest.mark.promise("no-formulas")
@given(ROWS | FAILURES)
def test_a_csv_row_is_one_line_of_harmless_cells(attribution):
    written = FORMATS["csv"]
    data = written.row(attribution, 5)
    assert data.count(b"\n") == 1
    assert not any((byte < 0x20 and byte != 0x0A) or byte == 0x7F for byte in data)
    text = data.decode("utf-8")
    (record,) = csv.DictReader(io.StringIO(written.header().decode() + text))
    assert list(record) == list(COLUMNS)
    assert record["path"] == cell(attribution.path)
    for column in ("path", "author", "runner_up", "error"):
        assert not record[column].startswith(("=", "+", "-", "@", "\t", "\r"))


HOSTILE = st.text(";,\"'=+-@ \t\n\u00a0＝x\\", max_size=12)  # noqa: RUF001


@pytest.mark.promise("no-formulas")
@given(HOSTILE.filter(bool), HOSTILE, HOSTILE, st.sampled_from(["utf-8", "=1"]))
@example("a", 'x;"=1+1;y', "b", "utf-8")
def test_no_cell_is_a_formula_wherever_a_line_is_cut(path, author, runner_up, encoding):
    written = FORMATS["csv"]
    ranking = ((author, 0.75), (runner_up, 0.25))
    rows = [
        Attribution(DocumentRef(path), "scored", ranking, encoding=encoding),
        Attribution(DocumentRef(path), "failed", error=author),
        Attribution(DocumentRef(path), "unknown", ranking),
    ]
    text = "".join(written.row(item, 5).decode("utf-8") for item in rows)
    for delimiter in ",;":
        for record in csv.reader(io.StringIO(text), delimiter=delimiter):
            for shown in record:
                assert not shown.lstrip().startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠")), record  # noqa: RUF001


@pytest.mark.promise("exact-names")
@given(PATHS | st.text())
@example(" '=1;=2")
@example('x;"=1+1;y')
@example("\\x41")
def test_what_a_cell_shows_can_be_told_exactly(text):
    """So different names stay different, too."""
    assert exact(cell(text)) == text


@given(ROWS | FAILURES, st.integers(1, 5))
@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_row_can_be_read_back(form, attribution, top):
    line = FORMATS[form].row(attribution, top)
    read = FORMATS[form].parse(line)
    for field in ("path", "status", "windows", "tokens", "encoding", "sha256"):
        assert getattr(read, field) == getattr(attribution, field)
    assert (read.error or "") == (attribution.error or "")
    for (name, probability), (wanted, exactly) in zip(read.ranking, attribution.ranking, strict=True):
        assert name == wanted
        assert abs(probability - exactly) <= (5.1e-7 if form == "csv" else 0)


@pytest.mark.promise("exact-names")
@given(ROWS | FAILURES)
def test_a_jsonl_row_is_exact_and_plain_ascii(attribution):
    line = FORMATS["jsonl"].row(attribution, 2)
    assert line.isascii()
    assert line.count(b"\n") == 1
    record = json.loads(line)
    raw = base64.b64decode(record["path_b64"]) if "path_b64" in record else record["path"].encode("utf-8")
    assert os.fsdecode(raw) == attribution.path
    assert ("path_b64" in record) == (record["path"].encode("utf-8") != os.fsencode(attribution.path))
    assert record["probability"] == attribution.probability
    assert [(item["author"], item["probability"]) for item in record["top"]] == list(attribution.ranking)


def test_what_cannot_be_seen_is_written_out():
    assert visible("a\nb\x1b[31m\u202e\u200f\udcff\\\x85\ue000") == r"a\x0ab\x1b[31m\u202e\u200f\xff\\\u0085\ue000"
    assert visible("naïve Ærø 川 עברית") == "naïve Ærø 川 עברית"


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "＝1", "'quoted"])  # noqa: RUF001
def test_formulas_get_an_apostrophe(text):
    assert cell(text) == f"'{text}"


def test_tabs_and_returns_cannot_lead_and_semicolons_cannot_start_a_formula():
    assert cell("\t=1") == r"\x09=1"
    assert cell("\r=1") == r"\x0d=1"
    assert cell("a; =1;b") == r"a\x3b =1;b"


def test_the_format_follows_the_name_unless_told():
    assert [format_for(name) for name in ("a.csv", "a.jsonl", "a.ndjson", "a")] == ["csv", "jsonl", "jsonl", "csv"]
    assert format_for("a.csv", "jsonl") == "jsonl"


# Journal ---------------------------------------------------------------------------------------------------------


@settings(max_examples=50)
@given(st.lists(st.tuples(st.integers(0, 3), PATHS, LINES), max_size=8))
def test_a_journal_gives_back_what_was_written(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path, {"top": 5})
    written = [Entry(*item) for item in rows]
    for entry in written:
        journal.append(entry.root, entry.below, entry.line)
    journal.sync()
    journal.close()
    assert header(path) == {"top": 5}
    assert list(entries(path)) == written


@pytest.mark.promise("journal-damage")
def test_wherever_a_journal_is_cut_its_whole_lines_are_read(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, {"top": 5})
    for number in range(5):
        journal.append(0, str(number), line(str(number)))
    journal.sync()
    journal.close()
    data = path.read_bytes()
    ends = [place + 1 for place, byte in enumerate(data) if byte == 10]
    for size in range(len(data), -1, -1):
        os.truncate(path, size)
        lines = sum(end <= size for end in ends)
        assert (header(path) is not None) == (lines > 0)
        assert len(list(entries(path))) == max(0, lines - 1)


@pytest.mark.promise("journal-damage")
@given(st.data())
def test_a_damaged_line_ends_the_journal_and_is_never_believed(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("journal") / "j"
    journal = Journal(path, {})
    written = [Entry(0, str(number), line(str(number))) for number in range(4)]
    for entry in written:
        journal.append(entry.root, entry.below, entry.line)
    journal.sync()
    journal.close()
    content = bytearray(path.read_bytes())
    place = data.draw(st.integers(0, len(content) - 1))
    content[place] = data.draw(st.integers(0, 255))
    path.write_bytes(content)
    read = list(entries(path))
    assert read == written[: len(read)]


@pytest.mark.promise("journal-damage")
def test_a_whole_line_that_is_no_entry_ends_the_journal(tmp_path):
    journal = Journal(tmp_path / "j", {})
    journal.append(0, "1", line("1"))
    journal.sync()
    journal.close()
    content = (tmp_path / "j").read_bytes()
    (tmp_path / "j").write_bytes(content + content)
    assert list(entries(tmp_path / "j")) == [Entry(0, "1", line("1"))]


@pytest.mark.parametrize(
    "payload",
    [
        *(b"", b"x", b"0", b"0 ", b'0 "a"', b'0 "a"x', b"0 1 x", b'0 ["a"] x', b"0 " + b"[" * 9999, b'x "a" y'),
        *(b"0 \xff", b'0 "\\ud800" x'),
    ],
)
def test_no_entry_is_made_of_nonsense(payload):
    with pytest.raises(ValueError):
        Entry.read(payload + b"\n")


def test_a_disk_that_zeroes_the_tail_loses_only_the_tail(tmp_path):
    path = tmp_path / "j"
    journal = Journal(path, {})
    journal.append(0, "a", line("a"))
    journal.sync()
    journal.close()
    with path.open("ab") as stream:
        stream.write(bytes(4096))
    assert [entry.below for entry in entries(path)] == ["a"]


def wait_until(met):
    end = time.monotonic() + 20
    while not met():
        assert time.monotonic() < end
        time.sleep(0.005)


@pytest.mark.promise("prompt-writes")
def test_rows_do_not_wait_for_the_next_one(tmp_path, monkeypatch):
    synced = []
    sync = atomic.sync
    monkeypatch.setattr(journals, "_SYNC_SECONDS", 0.2)
    monkeypatch.setattr(atomic, "sync", lambda file: (sync(file), synced.append(os.fstat(file).st_size)))
    journal = Journal(tmp_path / "j", {})
    for number in range(3):
        journal.append(0, str(number), line(str(number)))
    wait_until(lambda: len(list(entries(tmp_path / "j"))) == 3)
    wait_until(lambda: synced[-1] == (tmp_path / "j").stat().st_size)
    assert journal.rows == 3
    journal.close()


def test_what_waits_is_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr(journals, "_FLUSH_SECONDS", 3600.0)
    journal = Journal(tmp_path / "j", {})
    for number in range(1000):
        journal.append(0, str(number), line(str(number)))
        assert number + 1 - journal.rows < journals._GROUP
    journal.close()


@pytest.mark.promise("prompt-writes")
@pytest.mark.parametrize("seam", ["write_all", "sync"])
def test_a_disk_that_fails_between_two_rows_is_known_at_the_next_and_nothing_follows(tmp_path, monkeypatch, seam):
    def fail(descriptor, *_):
        os.write(descriptor, b"half a li")
        failed.set()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    failed = threading.Event()
    monkeypatch.setattr(journals, "_SYNC_SECONDS", 0.2)
    journal = Journal(tmp_path / "j", {})
    journal.append(0, "a", line("a"))
    journal.sync()
    with monkeypatch.context() as patch:
        patch.setattr(atomic, seam, fail)
        with journal._turn:  # so that it is not `append` that fails
            journal._waiting.append((0, "b", line("b")))
        assert failed.wait(20)
    for use in (lambda: journal.append(0, "c", line("c")), journal.flush, journal.sync):
        with pytest.raises(OSError, match="No space left"):
            use()
    journal.close()
    kept = [entry.below for entry in entries(tmp_path / "j")]
    assert kept == (["a"] if seam == "write_all" else ["a", "b"])
    assert (tmp_path / "j").read_bytes().endswith(b"\nhalf a li")


@pytest.mark.promise("safe-rows")
def test_rows_that_could_not_be_synced_do_not_count(tmp_path, monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(journals, "_FLUSH_SECONDS", 3600.0)
    journal = Journal(tmp_path / "j", {})
    journal.append(0, "a", line("a"))
    journal.sync()
    journal.append(0, "b", line("b"))
    with monkeypatch.context() as patch:
        patch.setattr(atomic, "sync", fail)
        with pytest.raises(OSError, match="Input/output error"):
            journal.sync()
    with pytest.raises(OSError, match="Input/output error"):  # the system says so once; we remember
        journal.sync()
    assert journal.rows == 1
    journal.close()


def test_merging_puts_the_newer_rows_first_and_the_older_ones_beyond_them(tmp_path):
    for name, places in (("new", "abd"), ("old", "abcdef")):
        journal = Journal(tmp_path / name, {"of": "both"})
        for place in places:
            journal.append(0, place, line(place, sha256=name))
        journal.sync()
        journal.close()
    merge(tmp_path / "new", tmp_path / "old", tmp_path / "merged")
    assert [(e.below, FORMATS["csv"].parse(e.line).sha256) for e in entries(tmp_path / "merged")] == [
        *(("a", "new"), ("b", "new"), ("d", "new")),
        *(("e", "old"), ("f", "old")),
    ]
    assert header(tmp_path / "merged") == {"of": "both"}


# Resume ----------------------------------------------------------------------------------------------------------


def found(below, root=0):
    return DiscoveredFile(f"d/{below}", None, root, below)


def earlier(*known, digests=None):
    rows = (Entry(root, below, line(f"d/{below}", status)) for root, below, status in known)
    return Earlier(rows, FORMATS["csv"].parse, lambda item: (digests or {}).get(item.below, "0" * 64))


def test_unchanged_rows_are_kept_and_others_told_apart():
    known = earlier(
        (0, "a", "scored"), (0, "b", "unknown"), (0, "c/x", "scored"), (0, "d", "failed"), (1, "a", "scored"),
        digests={"b": "1" * 64},
    )  # fmt: skip
    assert known.recall(found("a")) == Known(FORMATS["csv"].parse(line("d/a")), line("d/a"))
    assert known.recall(found("aa")) is None
    assert known.recall(found("b")) is None
    assert known.recall(found("d")) is None
    assert not known.exhausted
    known.finish()
    assert known.exhausted
    assert (known.kept, known.changed, known.vanished) == (1, 1, 2)
    assert known.names == ["d/b (changed)", "d/c/x (vanished)", "d/a (vanished)"]


@pytest.mark.promise("journal-damage")
@pytest.mark.parametrize(
    "nonsense",
    [
        *(b"\n", b"a,b\n", line("e").replace(b",9,", b",nine,"), line("e")[:-1] + b",more\n", b'"open\n'),
        *(b"\xff\n", line("e") + line("e"), b'"' + line("e"), b'"' * 99_999 + b"\n"),
    ],
)
def test_a_line_that_is_no_row_is_the_last_that_is_looked_at(nonsense):
    rows = [Entry(0, "a", line("d/a")), Entry(0, "b", nonsense), Entry(0, "c", line("d/c"))]
    known = Earlier(iter(rows), FORMATS["csv"].parse, lambda _: "0" * 64)
    assert known.recall(found("a")) is not None
    assert known.exhausted
    assert known.recall(found("b")) is None and known.recall(found("c")) is None


@pytest.mark.promise("resume-changes")
@given(
    then=st.sets(st.tuples(st.integers(0, 1), st.text("ab/", min_size=1, max_size=4))),
    now=st.sets(st.tuples(st.integers(0, 1), st.text("ab/", min_size=1, max_size=4))),
)
def test_merging_with_any_walk_keeps_what_both_have(then, now):
    def sort(items):
        return sorted(items, key=lambda item: found(item[1], item[0]).place)

    known = earlier(*((root, below, "scored") for root, below in sort(then)))
    kept = {(root, below) for root, below in sort(now) if known.recall(found(below, root)) is not None}
    known.finish()
    assert kept == then & now
    assert (known.kept, known.vanished) == (len(then & now), len(then - now))


def test_settings_that_differ_are_named():
    then = {"top": 5, "paths": ["a", "b"], "versions": {"numpy": "1"}}
    assert differences(then, then) == []
    assert differences(then, {**then, "top": 3}) == ["top was 5, now 3"]
    assert differences(then, {**then, "paths": ["a", "c"]}) == ["path 2 was 'b', now 'c'"]
    assert differences(then, {**then, "paths": ["a"]}) == ["paths were 2, now 1"]
    assert differences(then, {**then, "versions": {"numpy": "2"}}) == ["versions numpy was '1', now '2'"]


# The place -------------------------------------------------------------------------------------------------------


def write(out, rows, *, finish=True, resume=False, force=False, settings=None, digests=None):
    """Write rows as a run does: each input is met before its row comes."""
    with (
        reserve(str(out), resume=resume, force=force) as place,
        place.open(
            format_for(out.name),
            top=2,
            settings=settings or {},
            digest=lambda item: (digests or {}).get(item.path, "0" * 64),
        ) as output,
    ):
        for number, item in enumerate(rows):
            known = output.recall(DiscoveredFile(item.path, None, 0, f"{number:03}"))
            output.write(known or item)
        if finish:
            output.finish()
        return output.earlier


ROWS_OF_A_RUN = [row(f"d/{number}", probability=0.5 + number / 100) for number in range(20)]


def test_a_finished_run_leaves_nothing_but_its_file(tmp_path):
    write(tmp_path / "out.csv", ROWS_OF_A_RUN)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 21


@pytest.mark.parametrize("first", [0, 1, 13, 20])
@pytest.mark.parametrize("second", [0, 1, 13, 15, 20])
def test_a_run_cut_short_twice_and_resumed_gives_the_same_bytes(tmp_path, first, second):
    write(tmp_path / "whole.csv", ROWS_OF_A_RUN)
    out = tmp_path / "out.csv"
    write(out, ROWS_OF_A_RUN[:first], finish=False)
    assert not out.exists()
    write(out, ROWS_OF_A_RUN[:second], finish=False, resume=True)
    again = write(out, ROWS_OF_A_RUN, resume=True)
    assert again.kept == max(first, second)
    assert out.read_bytes() == (tmp_path / "whole.csv").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv", "whole.csv"]


@pytest.mark.promise("resume-keeps-progress")
def test_what_was_scored_anew_while_resuming_survives_the_next_kill(tmp_path):
    out = tmp_path / "out.csv"
    write(out, ROWS_OF_A_RUN, finish=False)
    changed = {"d/3": "1" * 64}
    better = [row(item.path, sha256="1" * 64) if item.path == "d/3" else item for item in ROWS_OF_A_RUN]
    write(out, better[:6], finish=False, resume=True, digests=changed)
    assert (tmp_path / "out.csv.journal.next").exists()
    last = write(out, better, resume=True, digests=changed)
    assert (last.kept, last.changed, last.vanished) == (20, 0, 0)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


@pytest.mark.promise("no-overwrite")
def test_an_existing_file_or_journal_is_refused_unless_told(tmp_path):
    out = tmp_path / "out.csv"
    write(out, ROWS_OF_A_RUN[:2])
    with pytest.raises(OutputError, match=r"already exists; pass --force"):
        write(out, ROWS_OF_A_RUN)
    write(out, ROWS_OF_A_RUN, force=True)
    write(tmp_path / "two.csv", ROWS_OF_A_RUN[:2], finish=False)
    with pytest.raises(OutputError, match=r"--resume to go on.*--force to start over"):
        write(tmp_path / "two.csv", ROWS_OF_A_RUN)
    assert write(tmp_path / "two.csv", ROWS_OF_A_RUN, force=True) is None


@pytest.mark.promise("atomic")
def test_until_a_forced_run_is_finished_the_old_file_stays(tmp_path):
    out = tmp_path / "out.csv"
    write(out, ROWS_OF_A_RUN[:2])
    before = out.read_bytes()
    write(out, ROWS_OF_A_RUN[:5], force=True, finish=False)
    assert out.read_bytes() == before
    write(out, ROWS_OF_A_RUN, resume=True)
    assert out.read_bytes() != before


def test_resuming_with_nothing_to_resume_starts_or_says_so(tmp_path):
    assert write(tmp_path / "new.csv", ROWS_OF_A_RUN, resume=True) is None
    with reserve(str(tmp_path / "new.csv"), resume=True) as place:
        assert place.complete
    with reserve(str(tmp_path / "new.csv"), resume=True, force=True) as place:
        assert not place.complete
    with pytest.raises(OutputError, match="nothing to resume"), reserve("-", resume=True):
        pass


def test_other_settings_are_refused_and_named(tmp_path):
    write(tmp_path / "out.csv", ROWS_OF_A_RUN[:3], finish=False, settings={"model": "a"})
    with pytest.raises(OutputError, match=r"cannot resume.*model was 'a', now 'b'"):
        write(tmp_path / "out.csv", ROWS_OF_A_RUN, resume=True, settings={"model": "b"})
    assert len(list(entries(tmp_path / "out.csv.journal"))) == 3


def test_a_strangers_file_in_the_journals_place_is_not_touched(tmp_path):
    (tmp_path / "out.csv.journal").write_text("dear diary\n")
    for resume in (False, True):
        with pytest.raises(OutputError, match="not a journal"):
            write(tmp_path / "out.csv", ROWS_OF_A_RUN, resume=resume)
    assert (tmp_path / "out.csv.journal").read_text() == "dear diary\n"


def test_a_journal_of_an_older_release_is_refused_and_kept(tmp_path):
    write(tmp_path / "out.csv", ROWS_OF_A_RUN[:3], finish=False)
    path = tmp_path / "out.csv.journal"
    payload = path.read_bytes().splitlines(keepends=True)[0].partition(b" ")[2]
    older = payload.replace(b'"journal": 3', b'"journal": 2')
    assert older != payload
    path.write_bytes(journals._line(older))
    with pytest.raises(OutputError, match=r"not a journal that this release can read; move it away, or pass --force"):
        write(tmp_path / "out.csv", ROWS_OF_A_RUN, resume=True)
    assert path.read_bytes() == journals._line(older)


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_rows_that_are_known_go_into_the_results_to_the_letter(tmp_path, form):
    """Six decimals of the probabilities would not give the margin's."""
    ranking = (("Ada", 0.7000004), ("Ben", 0.1000006), ("Cy", 0.199999))
    rows = [replace(item, ranking=ranking, evidence=(0.3, math.pi / 4)) for item in ROWS_OF_A_RUN]
    write(tmp_path / f"whole.{form}", rows)
    write(tmp_path / f"out.{form}", rows[:7], finish=False)
    assert write(tmp_path / f"out.{form}", rows, resume=True).kept == 7
    assert (tmp_path / f"out.{form}").read_bytes() == (tmp_path / f"whole.{form}").read_bytes()
    again = FORMATS[form].row(FORMATS[form].parse(FORMATS[form].row(rows[0], 5)), 5)
    assert again != FORMATS[form].row(rows[0], 5)  # so it was not made anew


@pytest.mark.parametrize("form", sorted(FORMATS))
def test_a_very_long_path_costs_no_row_that_comes_after_it(tmp_path, form):
    out = tmp_path / f"out.{form}"
    rows = [*ROWS_OF_A_RUN[:3], row("d/" + 'long, "' * 100_000), *ROWS_OF_A_RUN[3:]]
    write(out, rows, finish=False)
    assert write(out, rows, resume=True).kept == 21


def test_links_are_followed_to_where_the_file_is(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "link.csv").symlink_to(tmp_path / "real" / "out.csv")
    write(tmp_path / "link.csv", ROWS_OF_A_RUN)
    assert (tmp_path / "link.csv").is_symlink()
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["out.csv"]


def test_a_planted_link_is_not_written_through(tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("precious")
    for suffix in (".partial", ".journal.next", ".journal.merged"):
        (tmp_path / f"out.csv{suffix}").symlink_to(victim)
    write(tmp_path / "out.csv", ROWS_OF_A_RUN)
    (tmp_path / "two.csv.lock").symlink_to(victim)
    with pytest.raises(OutputError, match="cannot write there"):
        write(tmp_path / "two.csv", ROWS_OF_A_RUN)
    assert victim.read_text() == "precious"


@pytest.mark.promise("private")
def test_a_replaced_file_keeps_its_mode(tmp_path):
    out = tmp_path / "out.csv"
    write(out, ROWS_OF_A_RUN)
    out.chmod(0o600)
    write(out, ROWS_OF_A_RUN, force=True)
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


def modes(directory):
    return {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir() if path.suffix != ".lock"}


@pytest.mark.promise("private")
def test_rows_are_hidden_while_the_run_goes_on_from_whom_the_old_file_is(tmp_path):
    out = tmp_path / "out.csv"
    hidden = {name: 0o600 for name in ("out.csv", "out.csv.journal", "out.csv.journal.next", "out.csv.partial")}
    write(out, ROWS_OF_A_RUN)
    out.chmod(0o600)
    with (
        reserve(str(out), force=True) as place,
        place.open("csv", top=2, settings={}, digest=lambda _: None) as output,
    ):
        del hidden["out.csv.journal.next"]
        assert modes(tmp_path) == hidden
        output.recall(found("a"))
        output.write(ROWS_OF_A_RUN[0])
    write(out, [], finish=False, resume=True)
    assert (tmp_path / "out.csv.journal.next").exists()
    with (
        reserve(str(out), resume=True) as place,
        place.open("csv", top=2, settings={}, digest=lambda _: None),
    ):
        hidden["out.csv.journal.next"] = 0o600
        assert modes(tmp_path) == hidden
    with open_writer(str(out), "csv") as put:
        put(ROWS_OF_A_RUN[0])
        assert modes(tmp_path) == hidden
    assert stat.S_IMODE(out.stat().st_mode) == 0o600


@pytest.mark.promise("no-leftovers")
@pytest.mark.parametrize("forced", [{"force": True}, {"resume": True}])
def test_what_a_kill_while_journals_were_merged_has_left_goes_away(tmp_path, forced):
    write(tmp_path / "out.csv", ROWS_OF_A_RUN[:3], finish=False)
    (tmp_path / "out.csv.journal.merged").write_bytes((tmp_path / "out.csv.journal").read_bytes()[:-3])
    write(tmp_path / "out.csv", ROWS_OF_A_RUN, **forced)
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_a_place_that_cannot_be_is_a_clear_error(tmp_path):
    with pytest.raises(OutputError, match="is a directory"):
        write(tmp_path, ROWS_OF_A_RUN)
    with pytest.raises(OutputError, match="no such file or directory"):
        write(tmp_path / "none" / "out.csv", ROWS_OF_A_RUN)
    with pytest.raises(OutputError, match="file name too long"):
        write(tmp_path / ("n" * 250), ROWS_OF_A_RUN)
    (tmp_path / "a.csv.journal").mkdir()
    with pytest.raises(OutputError, match="is a directory"):
        write(tmp_path / "a.csv", ROWS_OF_A_RUN)
    (tmp_path / "loop.csv").symlink_to("loop.csv")
    write(tmp_path / "loop.csv", ROWS_OF_A_RUN, force=True)


def test_two_runs_exclude_each_other_and_a_left_over_lock_means_nothing(tmp_path):
    out = tmp_path / "out.csv"
    (tmp_path / "out.csv.lock").write_text("1\n")
    with reserve(str(out)):
        with pytest.raises(OutputError, match=rf"another run is writing it \(process {os.getpid()}\)"):
            write(out, ROWS_OF_A_RUN)
        write(tmp_path / "other.csv", ROWS_OF_A_RUN)
    write(out, ROWS_OF_A_RUN)
    assert not (tmp_path / "out.csv.lock").exists()


def test_rows_can_be_written_without_a_run(tmp_path):
    with open_writer(str(tmp_path / "out.csv"), "csv") as put:
        put(ROWS_OF_A_RUN[0])
        assert not (tmp_path / "out.csv").exists()
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 2
    with pytest.raises(ZeroDivisionError), open_writer(str(tmp_path / "out.csv"), "csv") as put:
        1 // 0  # noqa: B018
    assert [path.name for path in tmp_path.iterdir()] == ["out.csv"]


def test_rows_without_a_run_exclude_runs(tmp_path):
    out = tmp_path / "out.csv"
    with open_writer(str(out), "csv") as put:
        put(ROWS_OF_A_RUN[0])
        with pytest.raises(OutputError, match="another run is writing it"):
            write(out, ROWS_OF_A_RUN)
    with (
        reserve(str(out), force=True),
        pytest.raises(OutputError, match="another run is writing it"),
        open_writer(str(out), "csv"),
    ):
        pass


@pytest.mark.parametrize("name", ["out.csv", "pipe"])
def test_the_callers_own_error_is_not_the_outputs(tmp_path, name):
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    with pytest.raises(FileNotFoundError), open_writer(str(tmp_path / name), "csv"):
        (tmp_path / "none").read_bytes()
    with (
        pytest.raises(FileNotFoundError),
        reserve(str(tmp_path / name)) as place,
        place.open("csv", top=2, settings={}, digest=lambda _: None),
    ):
        (tmp_path / "none").read_bytes()
    os.close(reader)


@pytest.mark.parametrize("seam", ["create", "sync", "publish"])
def test_a_disk_that_does_not_take_rows_without_a_run_is_a_clear_error(tmp_path, monkeypatch, seam):
    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(atomic, seam, full)
    refused = pytest.raises(OutputError, match=r"out\.csv: cannot write there: no space left on device")
    with refused, open_writer(str(tmp_path / "out.csv"), "csv") as put:
        put(ROWS_OF_A_RUN[0])
    assert list(tmp_path.iterdir()) == []
