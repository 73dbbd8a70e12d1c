"""What `authorid score` shows at the end: the answer first, on one screen, and everything with --details."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import termios
from pathlib import Path

import pytest
from command import command, environment, run

from authorid.cli.final_screen import _common_directory

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def on_terminal(home, *arguments, columns=80, lines=24):
    """What the command shows on a terminal of this size, as lines without control sequences; and its exit code."""
    main, other = pty.openpty()
    fcntl.ioctl(other, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
    kept = {name: value for name, value in environment(home).items() if name not in ("COLUMNS", "LINES", "NO_COLOR")}
    process = subprocess.Popen(
        command(*arguments), stdin=other, stdout=other, stderr=other, env={**kept, "TERM": "xterm"}, close_fds=True
    )
    os.close(other)
    shown = b""
    while True:
        try:
            part = os.read(main, 65536)
        except OSError:  # the other end is closed
            break
        if not part:
            break
        shown += part
    os.close(main)
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode("utf-8"))
    # A progress bar is drawn over itself: what comes last on a line is what is seen.
    rows = [line.rstrip("\r").rpartition("\r")[2] for line in text.split("\n")]
    return [row for row in rows if row.strip() and not row.startswith("Scoring")], process.wait()


def lines_of(shown, columns=80):
    """How many lines of a terminal these take: long ones are wrapped."""
    return sum(-(-len(line) // columns) for line in shown)


def test_the_default_screen_fits_a_small_terminal(tmp_path):
    shown, code = on_terminal(tmp_path, "score", EXAMPLES)
    assert code == 0
    assert lines_of(shown) <= 23  # and the prompt
    assert shown[0].startswith("6 documents: 6 scored. ")


def test_many_documents_and_failures_fit_too(tmp_path):
    for number in range(300):
        (tmp_path / f"a-name-that-is-much-too-long-for-a-narrow-terminal-{number:03}.txt").write_text(
            "The market fell on Tuesday, and traders expect more of the same. " * 5 if number % 3 else ""
        )
    shown, code = on_terminal(tmp_path, "score", tmp_path, "--out", tmp_path / "out.csv")
    assert code == 3
    assert lines_of(shown) <= 23
    assert shown[0].startswith("300 documents: ")
    assert "100 failed" in shown[0]
    row = next(line for line in shown if "\u2026" in line and "001.txt" in line)
    assert "a-name" in row  # elided in the middle


@pytest.mark.parametrize(
    ("names", "prefix"),
    [
        (["a/b/c.txt", "a/b/d.txt"], "a/b/"),
        (["a/bc.txt", "a/bd.txt"], "a/"),
        (["a/x", "b/y"], ""),
        (["/a", "/b"], "/"),
        (["a", "a/b"], ""),
        (["a/b"], ""),
        ([], ""),
    ],
)
def test_only_whole_directories_are_left_out_of_names(names, prefix):
    assert _common_directory(names) == prefix


def test_details_show_all_tables_and_none_of_zeros(tmp_path):
    done = run("score", EXAMPLES, "--details", "--effort", "fast", env=environment(tmp_path))
    assert "Documents per author" in done.stderr
    assert "Latency (ms)" in done.stderr
    assert "|batch" not in done.stderr  # the encoder did not run
    assert "tokenize" not in done.stderr


def test_the_time_of_work_leaves_out_queues(tmp_path):
    for number in range(500):
        (tmp_path / f"{number}.txt").write_text("The market fell on Tuesday, and traders expect more. " * 20)
    done = run(
        "score", tmp_path, "--out", tmp_path / "o.csv", "--details", "--effort", "fast", env=environment(tmp_path)
    )
    rows = {
        line.split("|")[1].strip(): [float(value) for value in re.findall(r"[\d.]+", line)]
        for line in done.stderr.splitlines()
        if line.startswith("|document, ")
    }
    assert rows["document, work"][0] < rows["document, with queues"][0]
    assert re.search(r"work for a document: p50 [\d.,]+ ms, p95 [\d.,]+ ms, p99 [\d.,]+ ms", done.stderr)


@pytest.mark.parametrize("more", [[], ["--out", "results.csv"]])
def test_paths_that_do_not_exist_are_one_line(tmp_path, more):
    done = run("score", "nope/", *more, cwd=tmp_path, env=environment(tmp_path))
    assert (done.returncode, done.stderr) == (2, "error: nope/: no such file or directory\n")
    assert list(tmp_path.glob("results.csv*")) == []


def test_one_path_that_does_not_exist_is_a_row(tmp_path):
    (tmp_path / "a.txt").write_text("The market fell on Tuesday.")
    done = run("score", "a.txt", "nope", "--out", "-", "--quiet", cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 3
    assert [row.split(",")[0] for row in done.stdout.splitlines()] == ["path", "a.txt", "nope"]


def test_an_empty_directory_says_what_was_looked_for(tmp_path):
    (tmp_path / "empty").mkdir()
    done = run("score", "empty", "--include", "*.md", cwd=tmp_path, env=environment(tmp_path))
    assert done.returncode == 0
    assert done.stderr == (
        "warning: no documents found: empty has no files that match *.md, that are not hidden (--hidden)\n"
    )
