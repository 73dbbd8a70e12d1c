from __future__ import annotations

import codecs
import csv
import json
import os
import queue
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from command import command, environment, run
from fusion_bundle import make_fusion_bundle
from json_records import edit_record
from tiny import AUTHORS, make_bundle, prose

from authorid.cli.app import app
from authorid.inputs.documents import DocumentRef
from authorid.outputs.file_output import FileOutput
from authorid.scoring.attribution import Attribution
from authorid.scoring.stats import RunStats


@pytest.fixture
def corpus(tmp_path):
    for number in range(12):
        path = tmp_path / "docs" / f"{number:02}.txt"
        path.parent.mkdir(exist_ok=True)
        path.write_text(prose(AUTHORS[number % 3], 40, number))
    return tmp_path / "docs"


def read_csv(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def test_one_row_an_input_and_the_tables_on_stderr(score, corpus, tmp_path):
    (corpus / "13.txt").touch()
    code, out, err = score(corpus, "--out", tmp_path / "out.csv", "--stats", tmp_path / "stats.json")
    assert code == 3
    assert out == ""
    rows = read_csv(tmp_path / "out.csv")
    assert [row["status"] for row in rows] == ["scored"] * 12 + ["failed"]
    assert [row["author"] for row in rows[:3]] == list(AUTHORS)
    assert "1 of 13 documents failed" in err
    assert json.loads((tmp_path / "stats.json").read_text())["documents"] == 13


def test_the_terminal_shows_the_given_number_of_documents_and_nothing_when_quiet(score, corpus, tmp_path):
    for rows in (0, 2):
        _, _, err = score(corpus, "--out", tmp_path / "out.csv", "--force", "--rows", rows)
        assert len(re.findall(r"\| scored +\|", err)) == rows
    assert score(corpus, "--out", tmp_path / "out.csv", "--force", "--quiet") == (0, "", "")


def test_a_second_run_explains_how_to_replace_the_results(score, corpus, tmp_path):
    assert score(corpus, "--out", tmp_path / "out.csv")[0] == 0
    before = (tmp_path / "out.csv").read_bytes()
    code, _, err = score(corpus, "--out", tmp_path / "out.csv")
    assert code == 1
    assert "already exists; pass --force" in err
    assert score(corpus, "--out", tmp_path / "out.csv", "--force")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == before


def test_rows_to_standard_output(score, corpus):
    code, out, _ = score(corpus, "--out", "-", "--format", "jsonl", "--top", "2", "--evidence")
    rows = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    assert len(rows) == 12
    assert all(len(row["top"]) == 2 and len(row["evidence"]) == row["windows"] for row in rows)


@pytest.mark.parametrize("out", ["/dev/null", "/dev/stdout"])
def test_a_device_takes_rows_as_a_stream(score, corpus, out):
    assert score(corpus, "--out", out)[0] == 0


@pytest.mark.promise("streams")
@pytest.mark.parametrize(
    ("out", "channel"),
    [("/dev/stdout", "stdout"), ("/dev/fd/1", "stdout"), ("/proc/self/fd/1", "stdout"), ("/dev/stderr", "stderr")],
)
def test_a_descriptor_is_a_stream_also_when_it_is_a_file(bundle, corpus, tmp_path, out, channel):
    into = tmp_path / "redirected.csv"
    for mode, before in (("wb", 0), ("ab", 13), ("r+b", 13)):
        with into.open(mode) as stream:
            stream.seek(0, os.SEEK_END)
            subprocess.run(
                command("score", corpus, "--model", bundle.path, "--out", out, "--quiet"),
                env=environment(tmp_path),
                check=True,
                **{channel: stream},
            )
        assert len(into.read_text("utf-8").splitlines()) == before + 13
        into.write_text("".join(into.read_text("utf-8").splitlines(keepends=True)[:13]), "utf-8")


@pytest.mark.parametrize("name", ["r.json", "r.tab", "r.xlsx", "r", "r.csv.gz", "csv"])
def test_an_ending_without_a_format_is_wrong_usage(score, corpus, tmp_path, name):
    code, _, err = score(corpus, "--out", tmp_path / name)
    assert code == 2
    assert "there are .csv, .tsv, .jsonl, .ndjson, .parquet, or choose one with --format" in " ".join(err.split())
    assert sorted(tmp_path.iterdir()) == [corpus]
    assert score(corpus, "--out", tmp_path / name, "--format", "csv")[0] == 0
    assert (tmp_path / name).read_text().startswith("path,member,status,")


def test_the_ending_may_be_in_capitals_and_format_decides(score, corpus, tmp_path):
    assert score(corpus, "--out", tmp_path / "R.JSONL")[0] == 0
    assert json.loads((tmp_path / "R.JSONL").read_text().splitlines()[0])["status"] == "scored"
    assert score(corpus, "--out", tmp_path / "r.CSV")[0] == 0
    assert score(corpus, "--out", tmp_path / "rows.csv", "--format", "jsonl")[0] == 0
    assert json.loads((tmp_path / "rows.csv").read_text().splitlines()[0])["status"] == "scored"


def test_a_stream_needs_no_ending(score, corpus, tmp_path):
    assert score(corpus, "--out", "-")[1].startswith("path,member,status,")
    assert score(corpus, "--out", "/dev/null")[0] == 0
    code, _, err = score(corpus, "--out", tmp_path)
    assert (code, "is a directory" in err) == (1, True)


@pytest.mark.promise("stats-file")
@pytest.mark.parametrize("suffix", ["", ".journal", ".journal.next", ".journal.merged", ".lock"])
def test_statistics_do_not_replace_a_file_of_the_run(score, corpus, tmp_path, suffix):
    (tmp_path / "link.csv").symlink_to(tmp_path / "out.csv")
    for out in ("out.csv", "link.csv"):
        code, _, err = score(corpus, "--out", tmp_path / out, "--stats", tmp_path / f"out.csv{suffix}")
        assert code == 2
        assert "--stats" in err
        assert not (tmp_path / "out.csv").exists()
    assert score(corpus, "--out", tmp_path / "out.csv", "--stats", tmp_path / "out.csv.partial")[0] == 0


def test_a_run_whose_journal_was_removed_does_not_report_rows_as_safe(score, corpus, tmp_path, monkeypatch):
    home = tmp_path / "home"
    home.mkdir()
    write = FileOutput.write

    def write_then_remove(output, record):
        write(output, record)
        shutil.rmtree(home, ignore_errors=True)

    monkeypatch.setattr(FileOutput, "write", write_then_remove)
    (corpus / "zz.txt").write_bytes(b"\0\0")
    code, _, err = score(corpus, "--out", home / "out.csv", "--fail-fast", "-q")
    (corpus / "zz.txt").unlink()
    assert code == 1
    assert "the rows of this run are lost, because out.csv.journal was removed or replaced" in err
    assert "safe" not in err
    assert "--resume" not in err


def test_a_descriptor_that_is_not_open_is_a_clear_error(score, corpus):
    code, _, err = score(corpus, "--out", "/dev/fd/987")
    assert (code, err) == (1, "error: /dev/fd/987: cannot write there: bad file descriptor\n")


@pytest.mark.promise("streams")
@pytest.mark.skipif(not os.access("/dev/shm", os.W_OK), reason="no /dev/shm to write to")
def test_a_regular_file_below_dev_is_a_file(score, corpus):
    with tempfile.TemporaryDirectory(dir="/dev/shm") as shared:
        out = Path(shared) / "out.csv"
        assert score(corpus, "--out", out)[0] == 0
        before = out.read_bytes()
        code, _, err = score(corpus, "--out", out)
        assert (code, "already exists; pass --force" in err) == (1, True)
        assert out.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["--resume"], "--out FILE"),
        (["--out", "-", "--resume"], "--out FILE"),
        (["--encoding", "klingon"], "klingon"),
        (["--encoding", "hex"], "hex"),
        (["--ignore-file", "/nowhere"], "/nowhere"),
        (["--ignore-file", "/no\x1b[31mwhere"], r"/no\x1b[31mwhere"),
        (["--timeout", "0"], "--timeout"),
        (["--workers", "1025"], "--workers"),
        (["--threads", "100000"], "--threads"),
    ],
)
def test_wrong_usage_exits_2(score, corpus, arguments, hint):
    code, _, err = score(corpus, *arguments)
    assert code == 2
    assert hint in err


@pytest.mark.promise("fail-fast")
def test_stopping_at_the_first_failure_can_be_resumed(score, corpus, tmp_path):
    (corpus / "05.txt").write_bytes(b"\0\0")
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    assert code == 1
    assert "05.txt: binary file" in err
    assert not (tmp_path / "out.csv").exists()
    (corpus / "05.txt").write_text(prose("Ada", 40))
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--fail-fast", "--resume")
    assert (code, "resumed: 5 rows kept" in err) == (0, True)
    assert len(read_csv(tmp_path / "out.csv")) == 12


@pytest.mark.promise("safe-rows")
def test_a_resumed_run_that_stops_early_counts_the_rows_of_the_one_before_too(score, corpus, tmp_path):
    (corpus / "10.txt").write_bytes(b"\0\0")
    _, _, err = score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    assert "; 11 rows are safe. To go on:" in err
    (corpus / "03.txt").write_bytes(b"\0\0")
    _, _, err = score(corpus, "--out", tmp_path / "out.csv", "--fail-fast", "--resume")
    assert "; 4 rows of this run and all of the one before are safe. To go on:" in err
    (corpus / "03.txt").write_text(prose("Ada", 40))
    _, _, err = score(corpus, "--out", tmp_path / "out.csv", "--fail-fast", "--resume")
    assert "; 11 rows are safe. To go on:" in err
    assert "resumed: 9 rows kept" in err


@pytest.mark.promise("signals")
def test_the_command_that_resumes_a_run_can_be_run_as_it_is_shown(bundle, corpus, tmp_path):
    corpus = corpus.rename(tmp_path / "--force")
    (corpus / "05.txt").write_bytes(b"\0\0")
    options = ["score", "--model", str(bundle.path), "--fail-fast", "--out", "out.csv"]
    done = run(*options, "--force", "--", "--force", cwd=tmp_path, env=environment(tmp_path))
    shown = shlex.split(done.stderr.partition("To go on: ")[2])
    assert shown == ["authorid", *options, "--resume", "--", "--force"]
    (corpus / "05.txt").write_text(prose("Ada", 40))
    assert run(*shown[1:], cwd=tmp_path, env=environment(tmp_path)).returncode == 0
    assert len(read_csv(tmp_path / "out.csv")) == 12


def test_an_ignore_file_and_globs_reach_the_walk(score, corpus, tmp_path):
    (tmp_path / "rules").write_text("# some\n0*\n!03.txt\n")
    code, out, _ = score(corpus, "--out", "-", "--ignore-file", tmp_path / "rules", "--exclude", "11*")
    assert [line.split(",")[0][-6:] for line in out.splitlines()[1:]] == ["03.txt", "10.txt"]
    assert code == 0


def test_an_ignore_file_may_begin_with_a_byte_order_mark(score, corpus, tmp_path):
    (tmp_path / "rules").write_bytes(codecs.BOM_UTF8 + b"0[[:digit:]].txt\n")
    _, out, _ = score(corpus, "--out", "-", "--ignore-file", tmp_path / "rules")
    assert [line.split(",")[0][-6:] for line in out.splitlines()[1:]] == ["10.txt", "11.txt"]


@pytest.mark.promise("resume-refuses")
def test_resume_refuses_other_options_and_names_them(score, corpus, tmp_path):
    (corpus / "05.txt").write_bytes(b"\0\0")
    score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--resume", "--max-bytes", "9999")
    assert code == 1
    assert "max_bytes was 16777216, now 9999" in err


@pytest.mark.promise("resume-refuses")
def test_resume_refuses_another_encoding_of_names(bundle, score, corpus, tmp_path):
    (corpus / "02-川.txt").write_text(prose("Ben", 40))
    (corpus / "05.txt").write_bytes(b"\0\0")
    score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    arguments = ("score", corpus, "--model", bundle.path, "--out", tmp_path / "out.csv", "--resume")
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = run(*arguments, env={**environment(tmp_path), **plain})
    assert done.returncode == 1
    assert "filesystem_encoding was 'utf-8', now 'ascii'" in done.stderr
    assert "Traceback" not in done.stderr
    (corpus / "05.txt").write_text(prose("Ada", 40))
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--resume")
    assert (code, "6 rows kept" in err) == (0, True)


@pytest.mark.promise("resume-refuses")
def test_resume_refuses_another_model(score, corpus, tmp_path):
    (corpus / "05.txt").write_bytes(b"\0\0")
    score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    other = make_bundle(tmp_path / "other", threshold=0.1)
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--resume", model=other.path)
    assert code == 1
    assert "cannot resume" in err
    assert "model was" in err


@pytest.mark.promise("resume-changes")
def test_changed_documents_are_scored_again_and_vanished_ones_reported(score, corpus, tmp_path):
    (corpus / "10.txt").write_bytes(b"\0\0")
    score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    (corpus / "02.txt").write_text(prose("Ben", 40))
    (corpus / "03.txt").unlink()
    (corpus / "02b.txt").write_text(prose("Cyd", 40))
    (corpus / "10.txt").write_text(prose("Ada", 40))
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--resume", "--stats", tmp_path / "stats.json")
    assert code == 0
    assert "resumed: 8 rows kept, 1 documents changed" in err
    assert "02.txt (changed)" in err
    assert "03.txt (vanished)" in err
    assert json.loads((tmp_path / "stats.json").read_text())["resumed"] == {"kept": 8, "changed": 1, "vanished": 1}
    score(corpus, "--out", tmp_path / "fresh.csv")
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "fresh.csv").read_bytes()


def test_the_rates_of_a_resumed_run_cover_its_own_work_only(score, corpus, tmp_path):
    (corpus / "10.txt").write_bytes(b"\0\0")
    score(corpus, "--out", tmp_path / "out.csv", "--fail-fast")
    (corpus / "10.txt").write_text(prose("Ada", 40))
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume", "--stats", tmp_path / "stats.json")[0] == 0
    report = json.loads((tmp_path / "stats.json").read_text())
    rows = read_csv(tmp_path / "out.csv")
    assert (report["documents"], report["resumed"]["kept"]) == (12, 10)
    assert report["tokens"] == sum(int(row["tokens"]) for row in rows)
    own = sum(int(row["tokens"]) for row in rows[10:])
    assert report["documents_per_second"] == pytest.approx(2 / report["wall_seconds"], rel=1e-2)
    assert report["tokens_per_second"] == pytest.approx(own / report["wall_seconds"], rel=1e-2)


def test_the_padding_of_a_resumed_run_covers_its_own_work_only():
    run = RunStats()
    rows = [Attribution(DocumentRef("a"), "scored", (("Ada", 0.7), ("Ben", 0.3)), tokens=30) for _ in range(3)]
    for row in rows:
        run.count(row)
    for row in rows[:2]:
        run.recall(row)
    run.batch(40, 0.1)
    report = run.report(2.0, {})
    assert (report["tokens"], report["padding_ratio"]) == (90, 0.25)
    assert (report["tokens_per_second"], report["documents_per_second"]) == (15.0, 0.5)


def test_a_finished_run_has_nothing_to_resume(score, corpus, tmp_path):
    score(corpus, "--out", tmp_path / "out.csv")
    before = (tmp_path / "out.csv").stat().st_mtime_ns
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--resume")
    assert (code, "nothing to resume" in err) == (0, True)
    assert (tmp_path / "out.csv").stat().st_mtime_ns == before


def test_the_output_of_the_run_is_not_a_document(score, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(corpus)
    out = "results.csv"
    assert score(".", "--hidden", "--out", out, "--stats", "stats.json")[0] == 0
    assert score(".", "--hidden", "--out", out, "--stats", "stats.json", "--force")[0] == 0
    assert [row["path"] for row in read_csv(corpus / out)] == [f"./{number:02}.txt" for number in range(12)]


def test_paths_on_standard_input(bundle, corpus, tmp_path):
    listed = b"".join(os.fsencode(path) + b"\0" for path in sorted(corpus.iterdir()))
    done = run("score", "-", "--model", bundle.path, "--out", "-", stdin=listed, env=environment(tmp_path))
    assert done.returncode == 0
    assert len(done.stdout.splitlines()) == 13


@pytest.mark.promise("prompt-rows")
def test_a_row_is_written_as_soon_as_its_path_is_read(bundle, corpus, tmp_path):
    with subprocess.Popen(
        command("score", "-", "--model", bundle.path, "--out", "-"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(tmp_path),
    ) as process:
        rows: queue.SimpleQueue[bytes] = queue.SimpleQueue()
        reader = threading.Thread(target=lambda: [rows.put(line) for line in process.stdout], daemon=True)
        reader.start()
        assert rows.get(timeout=60).startswith(b"path,")
        for path in sorted(corpus.iterdir())[:3]:
            process.stdin.write(os.fsencode(path) + b"\n")
            process.stdin.flush()
            assert rows.get(timeout=60).startswith(os.fsencode(path) + b",,scored,")  # the next path comes only now
        process.stdin.close()
        assert process.wait(timeout=60) == 0
        reader.join(timeout=60)


# Signals ---------------------------------------------------------------------------------------------------------

SLOW = "import time; from authorid.encoder.engine import Engine; fast = Engine.run\n" + (
    "def slow(self, ids): time.sleep(%s); return fast(self, ids)\nEngine.run = slow"
)


def start(bundle, corpus, tmp_path, *more, seconds=0.1, out="out.csv"):
    process = subprocess.Popen(
        command(
            *("score", corpus, "--model", bundle.path, "--out", tmp_path / out, "--workers", 1, "--batch-tokens", 40),
            *more,
            prelude=SLOW % seconds,
        ),
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    journal = tmp_path / f"{out}.journal"
    deadline = time.monotonic() + 60
    while not (journal.exists() and journal.read_bytes().count(b"\n") > 2):
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.promise("signals")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_the_run_in_good_order_and_the_message_explains_how_to_resume(
    bundle, corpus, tmp_path, score, number, code
):
    process = start(bundle, corpus, tmp_path)
    process.send_signal(number)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code
    assert re.search(rb"interrupted; \d+ rows are safe\. To go on: authorid score .* --resume", err)
    assert sorted(path.name for path in tmp_path.glob("out.csv*")) == ["out.csv.journal"]
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert score(corpus, "--out", tmp_path / "fresh.csv")[0] == 0
    assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "fresh.csv").read_bytes()


@pytest.mark.promise("signals")
def test_the_batch_in_flight_is_finished(bundle, corpus, tmp_path):
    process = start(bundle, corpus, tmp_path, seconds=0.5)
    journal = tmp_path / "out.csv.journal"
    before = journal.read_bytes().count(b"\n")
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert before <= journal.read_bytes().count(b"\n") <= before + 2
    assert journal.read_bytes().endswith(b"\n")


@pytest.mark.promise("second-signal")
def test_a_second_interrupt_leaves_at_once_and_can_be_resumed(bundle, corpus, tmp_path, score):
    process = start(bundle, corpus, tmp_path, seconds=0.4)
    process.send_signal(signal.SIGSTOP)
    process.send_signal(signal.SIGTERM)
    process.send_signal(signal.SIGINT)
    process.send_signal(signal.SIGCONT)
    started = time.monotonic()
    assert process.wait(30) in (130, 143)
    process.stderr.close()
    assert time.monotonic() - started < 10
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0
    assert len(read_csv(tmp_path / "out.csv")) == 12


@pytest.mark.promise("second-signal")
def test_an_interrupt_while_standard_input_is_idle(bundle, corpus, tmp_path):
    process = subprocess.Popen(
        command("score", "-", "--model", bundle.path, "--out", tmp_path / "out.csv"),
        stdin=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(tmp_path),
    )
    process.stdin.write(b"x\n" * 8192)
    process.stdin.flush()
    while not (tmp_path / "out.csv.journal").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    process.wait(30)
    process.stdin.close()
    assert b"interrupted" in process.stderr.read()
    process.stderr.close()
    assert process.returncode == 130


@pytest.mark.parametrize("arguments", [["--help"], ["--version"], ["score", "--help"], ["train", "--help"]])
def test_help_imports_no_heavy_package(arguments):
    loaded = "import atexit, sys; atexit.register(lambda: print(*sys.modules, file=sys.stderr))"
    done = run(*arguments, prelude=loaded)
    assert done.returncode == 0
    modules = set(done.stderr.split())
    heavy = {"numpy", "onnxruntime", "tokenizers", "rich", "scipy", "tensorflow", "keras", "chardet"}
    assert not heavy & modules
    assert {name for name in modules if name.startswith("authorid.") and not name.startswith("authorid.cli")} <= {
        "authorid.__main__",
        "authorid.errors",
        "authorid.machine",
        "authorid.version",
    }


def test_an_interrupt_during_the_imports_is_no_traceback():
    impatient = """
import sys

class Impatient:
    def find_spec(self, name, path, target=None):
        if name == "click":
            raise KeyboardInterrupt

sys.meta_path.insert(0, Impatient())
"""
    done = run("--version", prelude=impatient)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "")


def test_scoring_with_n_grams_alone_imports_no_heavy_package(tmp_path):
    """Each of them takes up to a third of a short run; some are imported by other packages."""
    (tmp_path / "letter.txt").write_text(prose("Ada", 40))
    loaded = """
import atexit, sys
atexit.register(lambda: print(*sys.modules))
"""
    done = run("score", tmp_path, "--effort", "fast", "--quiet", prelude=loaded)
    assert (done.returncode, done.stderr) == (0, "")
    heavy = {"onnxruntime", "typer", "pydantic", "numpy.ma", "scipy", "tensorflow", "keras", "torch", "transformers"}
    assert "authorid.ngrams.model" in done.stdout.split() and not heavy.intersection(done.stdout.split())


@pytest.mark.promise("signals")
@pytest.mark.parametrize(("number", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
@pytest.mark.parametrize(
    "moment",
    [
        "authorid.outputs.journal.Journal.__init__",
        "authorid.scoring.scorer.Scorer.load",
        "authorid.cli.options._ignore_rules",
    ],
)
def test_a_signal_before_there_is_a_run_to_stop(bundle, corpus, tmp_path, score, number, code, moment):
    module, _, name = moment.rpartition(".")
    holder = f"pkgutil.resolve_name({module!r})"
    early = (
        f"import os, signal, pkgutil; inner = {holder}.{name}\n"
        f"def call(*a, **k): os.kill(os.getpid(), signal.{number}); return inner(*a, **k)\n"
        f"setattr({holder}, {name!r}, call)"
    )
    out = tmp_path / "out.csv"
    done = run("score", corpus, "--model", bundle.path, "--out", out, prelude=early, env=environment(tmp_path))
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    assert not out.exists()
    if moment.endswith("__init__"):
        assert "interrupted; 0 rows are safe. To go on: authorid score" in done.stderr
    assert score(corpus, "--out", out, "--resume")[0] == 0
    assert len(read_csv(out)) == 12


STRUCK = "import os, signal; from authorid import Scorer\n" + (
    "Scorer.load = lambda *_, **__: os.kill(os.getpid(), signal.%s)"
)


@pytest.mark.promise("force-unbegun")
@pytest.mark.parametrize(
    ("prelude", "code"),
    [(STRUCK % "SIGINT", 130), (STRUCK % "SIGTERM", 143), (STRUCK % "SIGKILL", -signal.SIGKILL), ("", 1)],
)
def test_a_forced_run_that_ends_before_it_begins_does_not_count_as_complete(
    bundle, corpus, tmp_path, score, prelude, code
):
    out = tmp_path / "out.csv"
    assert score(corpus, "--out", out)[0] == 0
    before = out.read_bytes()
    (corpus / "02.txt").write_text(prose("Ben", 40))
    model = bundle.path if prelude else tmp_path / "nowhere"
    arguments = ("score", corpus, "--out", out, "--force", "--model", model)
    assert run(*arguments, prelude=prelude, env=environment(tmp_path)).returncode == code
    assert out.read_bytes() == before
    code, _, err = score(corpus, "--out", out)
    assert (code, "a run was interrupted here; pass --resume" in err) == (1, True)
    assert score(corpus, "--out", out, "--resume")[0] == 0
    assert [row["author"] for row in read_csv(out)][:3] == ["Ada", "Ben", "Ben"]
    assert sorted(path.name for path in tmp_path.glob("out.csv*")) == ["out.csv"]


def test_wrong_usage_leaves_the_results_as_they_are(score, corpus, tmp_path):
    assert score(corpus, "--out", tmp_path / "out.csv")[0] == 0
    assert score(corpus, "--out", tmp_path / "out.csv", "--force", "--ignore-file", tmp_path / "none")[0] == 2
    assert sorted(path.name for path in tmp_path.glob("out.csv*")) == ["out.csv"]


@pytest.mark.promise("signals")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_wait_for_a_fifos_reader(bundle, corpus, tmp_path, number):
    os.mkfifo(tmp_path / "pipe")
    process = subprocess.Popen(
        command("score", corpus, "--model", bundle.path, "--out", tmp_path / "pipe"), env=environment(tmp_path)
    )
    time.sleep(2)
    assert process.poll() is None
    process.send_signal(number)
    assert process.wait(20) == 128 + number


@pytest.mark.promise("stdout", "stderr")
@pytest.mark.parametrize(
    ("arguments", "closed", "code", "hint"),
    [
        ("--out out.csv", "<&- >&- 2>&-", 0, ""),
        ("--out out.csv", "2>/dev/full", 0, ""),
        ("--out out.csv", "2</dev/null", 0, ""),
        ("--out -", ">&-", 1, "standard output: cannot write there: it is closed"),
        ("- --out out.csv", "<&-", 1, "standard input is closed"),
    ],
)
def test_standard_streams_that_are_closed_or_full(bundle, corpus, tmp_path, arguments, closed, code, hint):
    line = f"{sys.executable} -m authorid.cli.app score {corpus} --model {bundle.path} {arguments} {closed}"
    done = subprocess.run(
        ["bash", "-c", line], capture_output=True, text=True, timeout=60, cwd=tmp_path, env=environment(tmp_path)
    )
    assert done.returncode == code, done.stderr
    assert hint in done.stderr
    assert "Traceback" not in done.stderr
    if code == 0:
        assert len(read_csv(tmp_path / "out.csv")) == 12


@pytest.mark.promise("stats-file")
def test_statistics_do_not_replace_the_results(score, corpus, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--stats", "./out.csv")
    assert code == 2
    assert "would replace the results" in err


@pytest.mark.promise("stats-file")
@pytest.mark.parametrize(
    ("file", "reason"),
    [
        ("none/stats.json", "no such file or directory"),
        ("docs", "is a directory"),
        ("docs/00.txt/stats.json", "not a directory"),
    ],
)
def test_statistics_that_cannot_be_written_are_refused_before_the_run(score, corpus, tmp_path, file, reason):
    code, _, err = score(corpus, "--out", tmp_path / "out.csv", "--stats", tmp_path / file)
    assert (code, err) == (1, f"error: {tmp_path / file}: cannot write there: {reason}\n")
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["docs"]


@pytest.mark.parametrize("seconds", ["1e12", "1e300"])
def test_a_timeout_longer_than_a_lock_can_wait(score, corpus, seconds):
    assert score(corpus, "--timeout", seconds)[0] == 0


@pytest.mark.promise("exclusive")
def test_a_second_run_on_the_same_output_is_refused_while_the_first_goes_on(bundle, corpus, tmp_path, score):
    process = start(bundle, corpus, tmp_path, seconds=0.3)
    for flag in ("--force", "--resume"):
        code, _, err = score(corpus, "--out", tmp_path / "out.csv", flag)
        assert code == 1
        assert f"another run is writing it (process {process.pid})" in err
    process.kill()
    process.communicate()
    assert score(corpus, "--out", tmp_path / "out.csv", "--resume")[0] == 0


@pytest.mark.promise("broken-pipe")
def test_a_broken_pipe_ends_quietly(bundle, corpus, tmp_path):
    line = " ".join(map(str, command("score", corpus, "--model", bundle.path, "--out", "-", "-q")[3:]))
    done = subprocess.run(
        ["bash", "-c", f"{sys.executable} -m authorid.cli.app {line} | head -n 1"],
        capture_output=True,
        timeout=60,
        env=environment(tmp_path),
    )
    assert done.stdout.startswith(b"path,")
    assert done.stderr == b""


def test_score_says_that_fast_is_the_default_of_the_model(tmp_path):
    pytest.importorskip("scipy")
    made = make_fusion_bundle(tmp_path)
    edit_record(made.path / "authorid.json", lambda record: record.update(effort={"default": "fast", "least_gain": 2}))
    (tmp_path / "a.txt").write_text("the river")
    arguments = ["score", str(tmp_path / "a.txt"), "-o", str(tmp_path / "rows.jsonl"), "-m", str(made.path), "--force"]
    said = "effort fast: in training, the encoder gained next to nothing"
    for effort, says in (([], True), (["--effort", "fast"], False), (["--effort", "auto"], False)):
        done = CliRunner().invoke(app, [*arguments, *effort])
        assert done.exit_code == 0, done.output
        assert (said in " ".join(done.stderr.split())) == says
