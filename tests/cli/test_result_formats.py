"""`authorid score` in every format of results."""

from __future__ import annotations

import os
import pty
import subprocess

import pytest
from command import command, environment, run
from tiny import AUTHORS, prose

parquet = pytest.importorskip("pyarrow.parquet")


@pytest.fixture
def corpus(tmp_path):
    """Six documents, and one that fails in the middle."""
    root = tmp_path / "docs"
    root.mkdir()
    for number in range(6):
        (root / f"{number}.txt").write_text(prose(AUTHORS[number % 3], 40, number))
    (root / "3-empty.txt").touch()
    return root


@pytest.mark.promise("resume-same-bytes")
@pytest.mark.parametrize("form", ["tsv", "parquet"])
def test_a_run_that_stopped_is_resumed_to_the_same_bytes(bundle, corpus, tmp_path, form):
    def score(out, *options):
        return run("score", corpus, "--model", bundle.path, "--out", out, *options, env=environment(tmp_path))

    whole, stopped = tmp_path / f"whole.{form}", tmp_path / f"stopped.{form}"
    assert score(whole).returncode == 3
    assert score(stopped, "--fail-fast").returncode == 1
    assert not stopped.exists()
    done = score(stopped, "--resume")
    assert done.returncode == 3, done.stderr
    assert stopped.read_bytes() == whole.read_bytes()
    assert sorted(path.name for path in tmp_path.glob("stopped*")) == [stopped.name]


def test_parquet_on_standard_output_is_the_file(bundle, corpus, tmp_path):
    arguments = command("score", corpus, "--model", bundle.path, "--format", "parquet", "--quiet", "--out")
    out = tmp_path / "out.parquet"
    for into in (out, "-"):
        done = subprocess.run([*arguments, str(into)], capture_output=True, env=environment(tmp_path), check=False)
        assert done.returncode == 3
    assert done.stdout == out.read_bytes()
    rows = parquet.read_table(out).to_pylist()
    assert [row["status"] for row in rows].count("failed") == 1
    assert {row["reader"] for row in rows if row["status"] != "failed"} == {"text"}


def test_parquet_is_not_written_to_a_terminal(bundle, corpus, tmp_path):
    ours, theirs = pty.openpty()
    try:
        done = subprocess.run(
            command("score", corpus, "--model", bundle.path, "--out", "-", "--format", "parquet", "--quiet"),
            stdout=theirs,
            stderr=subprocess.PIPE,
            env=environment(tmp_path),
            check=False,
        )
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 1
    assert b"is a terminal, and parquet is not text" in b" ".join(done.stderr.split())


def test_without_pyarrow_the_install_line_is_given_before_anything_is_read(bundle, corpus, tmp_path):
    hide = "import sys; sys.modules['pyarrow'] = None"
    out = tmp_path / "r.parquet"
    done = run("score", corpus, "--model", tmp_path / "none", "--out", out, prelude=hide, env=environment(tmp_path))
    assert done.returncode == 1 and "authorid-toolkit[parquet]" in done.stderr
    assert not list(tmp_path.glob("r.parquet*"))
    done = run("score", corpus, "--model", bundle.path, "--out", tmp_path / "r.tsv", prelude=hide)
    assert done.returncode == 3, done.stderr
