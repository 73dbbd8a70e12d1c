"""Saving a bundle: whole or not at all, and what it may replace."""

from __future__ import annotations

import dataclasses
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny import make_bundle

from authorid.bundle.manifest import load_bundle
from authorid.bundle.save import check_writable, write_bundle
from authorid.errors import BundleCorruptError, OutputError


def test_an_existing_bundle_is_not_replaced_without_overwrite(tmp_path):
    make_bundle(tmp_path / "b")
    with pytest.raises(OutputError, match="already exists"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_replacement_keeps_the_old_bundle(tmp_path, monkeypatch, renames, failure):
    made = make_bundle(tmp_path / "b")
    rename, done = Path.rename, []

    def break_off(self, target):
        done.append(target)
        if len(done) == renames:
            raise failure
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", break_off)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        make_bundle(tmp_path / "b", overwrite=True, threshold=0.5)
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]
    assert load_bundle(tmp_path / "b").decision == made.decision


def test_an_old_bundle_that_cannot_be_moved_back_is_kept_beside_its_path(tmp_path, monkeypatch):
    made = make_bundle(tmp_path / "b")
    rename, done = Path.rename, []

    def once(self, target):
        done.append(target)
        if len(done) > 1:
            raise OSError(5, "Input/output error")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", once)
    with pytest.raises(OutputError, match="input/output error"):
        make_bundle(tmp_path / "b", overwrite=True, threshold=0.5)
    (old,) = tmp_path.iterdir()
    assert load_bundle(old).decision == made.decision


def test_a_process_killed_during_a_replacement_keeps_the_old_bundle(tmp_path):
    """Killed at the one moment when nothing has the name of the bundle: the old one is complete, beside it."""
    made = make_bundle(tmp_path / "b")
    code = (
        "import os, shutil, sys; from pathlib import Path; from tiny import make_bundle; rename = Path.rename\n"
        "def killed(self, target):\n"
        "    rename(self, target); os.kill(os.getpid(), 9)\n"
        "Path.rename = killed; make_bundle(Path(sys.argv[1]), overwrite=True, threshold=0.5)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "b")]
    assert subprocess.run(command, cwd=Path(__file__).parents[1], check=False).returncode == -9
    (old,) = tmp_path.glob(".b.*.old")
    assert load_bundle(old).decision == made.decision


def test_replacing_a_bundle_through_a_link_keeps_the_link(tmp_path):
    make_bundle(tmp_path / "b")
    (tmp_path / "link").symlink_to("b")
    make_bundle(tmp_path / "link", overwrite=True, threshold=0.5)
    assert (tmp_path / "link").is_symlink()
    assert load_bundle(tmp_path / "b").decision.unknown_threshold == 0.5


def test_paths_where_no_bundle_may_be_written(tmp_path, monkeypatch):
    made = make_bundle(tmp_path / "b")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="not a bundle"):
        make_bundle(tmp_path / "full", overwrite=True)
    (made.path / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match=r"notes\.txt"):
        make_bundle(made.path, overwrite=True)
    (made.path / "notes.txt").unlink()
    (tmp_path / "empty").mkdir()
    assert make_bundle(tmp_path / "empty", overwrite=True)
    for path in (made.path / "README.md" / "x", tmp_path / ("n" * 300), Path("/proc/x")):
        with pytest.raises(OutputError, match="cannot write there"):
            make_bundle(path)
    monkeypatch.chdir(made.path)
    with pytest.raises(OutputError, match="current directory"):
        make_bundle(Path(), overwrite=True)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == made.path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="mount point"):
        make_bundle(made.path, overwrite=True)
    assert load_bundle(made.path).decision == made.decision
    assert make_bundle(Path(os.fsdecode(b"not-utf8-\xff")))


def test_check_writable_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    for good in (tmp_path, tmp_path / "a" / "b", Path("a")):
        check_writable(good)
    for bad in (tmp_path / "file", tmp_path / "file" / "b", Path("/proc/x"), tmp_path / ("n" * 300) / "b"):
        with pytest.raises(OutputError, match="cannot write there"):
            check_writable(bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_bundle_that_fails_its_check_is_not_written(tmp_path, overwrite):
    old = make_bundle(tmp_path / "old")
    target = tmp_path / ("old" if overwrite else "new")
    checked = []

    def refuse(written):
        checked.append((written.authors, written.path.parent))
        raise BundleCorruptError("refused")

    files = {name: old.path / name for name in old.files}
    draft = dataclasses.replace(old, path=target, provenance={})
    with pytest.raises(BundleCorruptError, match="refused"):
        write_bundle(draft, files, overwrite=overwrite, check=refuse)
    assert checked == [(old.authors, tmp_path)]
    assert list(tmp_path.iterdir()) == [old.path]
    assert load_bundle(old.path) == old
