"""Scoring on systems that lack what only POSIX has.

The processes here run on this system without the modules, flags and calls that Windows lacks, and open files can be
neither renamed nor removed.
"""

from __future__ import annotations

import csv
import json
import sys
from pathlib import Path

import pytest
from command import environment, run

from authorid import portability

ROOT = Path(__file__).resolve().parents[1]

WINDOWS = r"""
import os, signal, sys

for name in ("fcntl", "resource", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
for name in (
    "O_CLOEXEC O_NOFOLLOW O_NONBLOCK O_NOCTTY O_DIRECTORY O_PATH O_SYNC O_DSYNC fchmod fchown chown lchown pread "
    "pwrite preadv pwritev sync sched_getaffinity geteuid getegid mkfifo statvfs fstatvfs posix_fadvise sysconf confstr"
).split():
    if hasattr(os, name):
        delattr(os, name)
for name in ("SIGHUP", "SIGXFSZ", "SIGPIPE", "SIGKILL", "SIGALRM", "SIGUSR1", "SIGCHLD"):
    delattr(signal, name)
for name in ("supports_dir_fd", "supports_fd"):
    getattr(os, name).clear()


def refusing_open_files(call):
    def guarded(source, *others, **more):
        for path in (source, *others):
            if isinstance(path, (str, bytes, os.PathLike)):
                for number in os.listdir("/proc/self/fd"):
                    try:
                        opened = os.readlink(f"/proc/self/fd/{number}")
                    except OSError:
                        continue
                    if opened == os.path.realpath(os.path.dirname(os.path.abspath(os.fsdecode(path)))) + "/" + (
                        os.path.basename(os.fsdecode(path))
                    ):
                        raise PermissionError(13, "The process cannot access the file", os.fsdecode(path))
        return call(source, *others, **more)

    return guarded


for name in ("rename", "replace", "unlink", "remove"):
    setattr(os, name, refusing_open_files(getattr(os, name)))

from authorid import portability

portability.MOVES_OPEN_FILES = False
"""


def on_windows(*arguments, home, **others):
    return run(*arguments, prelude=WINDOWS, env=environment(home), **others)


def rows(path):
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
class TestWithoutPosix:
    def test_help_and_version(self, tmp_path):
        assert on_windows("--help", home=tmp_path).returncode == 0
        assert on_windows("--version", home=tmp_path).returncode == 0

    def test_the_examples_get_the_same_rows_in_every_format(self, tmp_path):
        here = run("score", "examples", "--out", tmp_path / "here.csv", env=environment(tmp_path), cwd=ROOT)
        assert here.returncode == 0, here.stderr
        for form in ("csv", "tsv", "jsonl"):
            out = tmp_path / f"there.{form}"
            done = on_windows("score", "examples", "--out", out, home=tmp_path, cwd=ROOT)
            assert done.returncode == 0, done.stderr
        assert (tmp_path / "there.csv").read_bytes() == (tmp_path / "here.csv").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == [
            "here.csv", "there.csv", "there.jsonl", "there.tsv",
        ]  # fmt: skip

    def test_what_is_lost_is_said_once(self, tmp_path):
        done = on_windows(
            "score", "examples", "--out", tmp_path / "out.csv", "--effort", "fast", home=tmp_path, cwd=ROOT
        )
        assert done.stderr.count("there are no file locks") == 1
        assert done.stderr.count("a power cut can undo") == 1
        assert " MB)" not in done.stderr
        quiet = on_windows(
            "score", "examples", "--out", tmp_path / "2.csv", "--stats", "-", "-q", home=tmp_path, cwd=ROOT
        )
        assert quiet.stderr == ""
        assert json.loads(quiet.stdout)["peak_rss_mb"] is None

    def test_a_file_is_replaced(self, tmp_path):
        (tmp_path / "out.csv").write_text("old")
        arguments = ("score", "examples", "--out", tmp_path / "out.csv", "--effort", "fast")
        assert on_windows(*arguments, home=tmp_path, cwd=ROOT).returncode == 1
        done = on_windows(*arguments, "--force", home=tmp_path, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        assert len(rows(tmp_path / "out.csv")) == 6

    def test_a_run_that_stopped_is_resumed_to_the_same_bytes(self, tmp_path):
        docs = tmp_path / "docs"
        docs.mkdir()
        for name in "abcdef":
            (docs / f"{name}.txt").write_text(f"The bank said on Monday that share {name} would be sold.\n")
        (docs / "c.txt").write_text("")
        arguments = ("score", docs, "--effort", "fast", "--out")
        assert on_windows(*arguments, tmp_path / "whole.csv", home=tmp_path).returncode == 3
        stopped = on_windows(*arguments, tmp_path / "out.csv", "--fail-fast", home=tmp_path)
        assert stopped.returncode == 1
        assert "rows are safe" in stopped.stderr
        done = on_windows(*arguments, tmp_path / "out.csv", "--resume", home=tmp_path)
        assert done.returncode == 3, done.stderr
        assert "rows kept" in done.stderr
        assert (tmp_path / "out.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
        assert sorted(path.name for path in tmp_path.iterdir()) == ["docs", "out.csv", "whole.csv"]

    def test_standard_output(self, tmp_path):
        done = on_windows("score", "examples", "--out", "-", "--effort", "fast", home=tmp_path, cwd=ROOT)
        assert done.returncode == 0
        assert len(done.stdout.splitlines()) == 7
        assert "file locks" not in done.stderr

    def test_a_training_of_n_grams(self, tmp_path):
        pytest.importorskip("scipy")
        for author, word in (("Ada", "engine"), ("Bo", "garden")):
            (tmp_path / "corpus" / author).mkdir(parents=True)
            for number in range(6):
                text = " ".join(f"the {word} of {author} number {number * step}" for step in range(60))
                (tmp_path / "corpus" / author / f"{number}.txt").write_text(text)
        done = on_windows("train", tmp_path / "corpus", "--no-encoder", "--out", tmp_path / "model", home=tmp_path)
        assert done.returncode == 0, done.stderr
        again = on_windows(
            "train", tmp_path / "corpus", "--no-encoder", "--out", tmp_path / "model", "--force", home=tmp_path
        )
        assert again.returncode == 0, again.stderr
        assert sorted(path.name for path in tmp_path.iterdir()) == ["corpus", "model"]

    def test_doctor_and_models(self, tmp_path):
        done = on_windows("doctor", "--json", "-", home=tmp_path)
        assert done.returncode == 0, done.stderr
        assert len(json.loads(done.stdout)["promises that do not hold here"]) == 3
        assert on_windows("models", "list", home=tmp_path, cwd=tmp_path).returncode == 0

    def test_the_python_api(self, tmp_path):
        done = run(
            "--version",
            prelude=WINDOWS
            + "import authorid; print(authorid.Scorer.load(effort='fast').predict(['The bank.'])[0].status)",
            env=environment(tmp_path),
        )
        assert done.stdout.split()[0] in ("scored", "unknown"), done.stderr


def test_nothing_is_lost_on_linux():
    if sys.platform != "linux":
        pytest.skip("another system")
    assert portability.lost_promises() == []


def test_flags_that_the_system_lacks_are_left_out(monkeypatch):
    import os

    assert portability.open_flags("O_RDONLY", "O_NOFOLLOW") == os.O_RDONLY | os.O_NOFOLLOW
    monkeypatch.delattr(os, "O_NOFOLLOW")
    assert portability.open_flags("O_RDONLY", "O_NOFOLLOW") == os.O_RDONLY
    monkeypatch.setattr(os, "O_BINARY", 1 << 15, raising=False)
    assert portability.open_flags("O_RDONLY") == 1 << 15
