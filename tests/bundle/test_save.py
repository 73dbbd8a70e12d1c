"""Saving a bundle: whole or not at all, and what it may replace."""

from __future__ import annotations

import dataclasses
import errno
import os
import stat
from pathlib import Path

import pytest
from recording import RecordingReporter
from tiny import make_bundle

from authorid.bundle.manifest import load_bundle
from authorid.bundle.save import reserve_bundle, write_bundle
from authorid.errors import BundleCorruptError, BundleNotFoundError, OutputError
from authorid.outputs import atomic


def test_an_existing_bundle_is_not_replaced_without_overwrite(tmp_path):
    make_bundle(tmp_path / "b")
    with pytest.raises(OutputError, match="already exists"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def in_two_steps(monkeypatch):
    """Replace directories as on a file system that cannot exchange two names."""

    def refuse(first, second):
        raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))

    monkeypatch.setattr(atomic, "exchange", refuse)


@pytest.mark.parametrize("call", ["exchange", "move 1", "move 2"])
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_failed_replacement_keeps_the_old_bundle(tmp_path, monkeypatch, call, failure):
    made = make_bundle(tmp_path / "b")
    name, _, number = call.partition(" ")
    if number:
        in_two_steps(monkeypatch)
    work, done = getattr(atomic, name), []

    def break_off(*arguments):
        done.append(arguments)
        if len(done) == int(number or 1):
            raise failure
        return work(*arguments)

    monkeypatch.setattr(atomic, name, break_off)
    with pytest.raises((OutputError, KeyboardInterrupt)):
        make_bundle(tmp_path / "b", overwrite=True, threshold=0.5)
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]
    assert load_bundle(tmp_path / "b").decision == made.decision


def test_an_old_bundle_that_cannot_be_moved_back_is_put_back_by_the_next_run(tmp_path, monkeypatch):
    made = make_bundle(tmp_path / "b")
    in_two_steps(monkeypatch)
    move, done = atomic.move, []

    def once(*arguments):
        done.append(arguments)
        if len(done) > 1:
            raise OSError(5, "Input/output error")
        return move(*arguments)

    with monkeypatch.context() as broken:
        broken.setattr(atomic, "move", once)
        with pytest.raises(OutputError, match="input/output error"):
            make_bundle(tmp_path / "b", overwrite=True, threshold=0.5)
    with pytest.raises(BundleNotFoundError, match=r"move .*\.b\.authorid/old there"):
        load_bundle(tmp_path / "b")
    reporter = RecordingReporter()
    with pytest.raises(OutputError, match="already exists"), reserve_bundle(tmp_path / "b", reporter=reporter):
        pass
    assert any("the old one is back" in warning for warning in reporter.warnings)
    assert load_bundle(tmp_path / "b").decision == made.decision
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


def test_a_replacement_keeps_the_mode_of_the_directory(tmp_path):
    make_bundle(tmp_path / "b")
    (tmp_path / "b").chmod(0o700)
    make_bundle(tmp_path / "b", overwrite=True)
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == 0o700


def test_a_file_that_appears_while_a_bundle_is_made_is_not_removed_with_the_old_one(tmp_path):
    old = make_bundle(tmp_path / "b")
    files = {name: old.path / name for name in old.files}
    with pytest.raises(OutputError, match=r"notes\.txt"):
        write_bundle(old, files, overwrite=True, check=lambda _: (old.path / "notes.txt").write_text("mine"))
    assert (old.path / "notes.txt").read_text() == "mine"


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


def test_a_reservation_leaves_nothing_behind(tmp_path):
    (tmp_path / "file").write_text("")
    for good in (tmp_path / "new", tmp_path / "a" / "b"):
        with reserve_bundle(good):
            pass
    for bad in (tmp_path / "file" / "b", Path("/proc/x"), tmp_path / ("n" * 300) / "b"):
        with pytest.raises(OutputError, match="cannot write there"), reserve_bundle(bad):
            pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


@pytest.mark.parametrize("overwrite", [False, True])
def test_a_bundle_that_fails_its_check_is_not_written(tmp_path, overwrite):
    old = make_bundle(tmp_path / "old")
    target = tmp_path / ("old" if overwrite else "new")
    checked = []

    def refuse(written):
        checked.append(written.authors)
        raise BundleCorruptError("refused")

    files = {name: old.path / name for name in old.files}
    draft = dataclasses.replace(old, path=target, provenance={})
    with pytest.raises(BundleCorruptError, match="refused"):
        write_bundle(draft, files, overwrite=overwrite, check=refuse)
    assert checked == [old.authors]
    assert list(tmp_path.iterdir()) == [old.path]
    assert load_bundle(old.path) == old
