"""Directories that take their place in one step: what is left of killed processes, and who may be there."""

from __future__ import annotations

import errno
import os

import pytest
from recording import RecordingReporter

from authorid.errors import OutputError
from authorid.outputs import atomic
from authorid.outputs.directory import Workspace, reserve_directory


def build(out, content="new"):
    with reserve_directory(out) as workspace:
        workspace.begin()
        workspace.write("file", content)
        workspace.publish()


def test_two_directories_exchange_their_names(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / name).touch()
    atomic.exchange(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a" / "b").exists() and (tmp_path / "b" / "a").exists()
    with pytest.raises(FileNotFoundError) as caught:
        atomic.exchange(tmp_path / "a", tmp_path / "none")
    assert caught.value.errno == errno.ENOENT


def test_what_a_killed_process_left_is_removed_and_reported(tmp_path):
    workspace = Workspace.of(tmp_path / "model")
    workspace.begin()
    workspace.write("file", "half of it")
    reporter = RecordingReporter()
    with reserve_directory(tmp_path / "model", reporter):
        pass
    (warning,) = reporter.warnings
    assert f"removed {workspace.new}" in warning
    assert list(tmp_path.iterdir()) == []


def test_the_state_of_a_killed_process_stays_until_it_is_discarded(tmp_path):
    workspace = Workspace.of(tmp_path / "model")
    (workspace.begin_state() / "progress").write_text("half")
    with reserve_directory(tmp_path / "model") as again:
        assert (again.state / "progress").read_text() == "half"
    with reserve_directory(tmp_path / "model") as again:
        again.discard_state()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("strange", ["notes.txt", "new"])
def test_a_workspace_that_is_not_ours_is_refused_and_kept(tmp_path, strange):
    (tmp_path / ".model.authorid").mkdir()
    (tmp_path / ".model.authorid" / strange).write_text("mine")
    with pytest.raises(OutputError, match="authorid did not write it; move it away"):
        build(tmp_path / "model")
    assert (tmp_path / ".model.authorid" / strange).read_text() == "mine"


@pytest.mark.parametrize("part", ["", "new"])
def test_links_in_the_place_of_the_workspace_are_not_followed(tmp_path, part):
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "letter").write_text("dear")
    workspace = Workspace.of(tmp_path / "model")
    if part:
        workspace.begin_state()
    (workspace.root / part).symlink_to(tmp_path / "home")
    with pytest.raises(OutputError, match="move it away"):
        build(tmp_path / "model")
    assert (tmp_path / "home" / "letter").read_text() == "dear"


def test_a_directory_that_took_the_place_of_one_being_replaced_is_not_touched(tmp_path):
    workspace = Workspace.of(tmp_path / "model")
    workspace.begin()
    workspace.old.mkdir()
    (tmp_path / "model").mkdir()
    with pytest.raises(OutputError, match=r"\.model\.authorid/old: .* move one of them away"):
        build(tmp_path / "model")
    assert workspace.old.is_dir() and workspace.new.is_dir()


@pytest.mark.parametrize("suffix", ["", ".old"])
def test_leftovers_of_older_releases_are_named(tmp_path, suffix):
    left = tmp_path / f".model.a8_b2c9d{suffix}"
    left.mkdir()
    (left / "authorid.json").touch()
    (tmp_path / ".model.homework").mkdir()
    reporter = RecordingReporter()
    with reserve_directory(tmp_path / "model", reporter):
        pass
    (warning,) = reporter.warnings
    assert warning.startswith(f"{left}: left by an older release")
    assert left.is_dir()


def test_a_directory_is_reserved_only_once_whatever_it_is_called(tmp_path):
    (tmp_path / "link").symlink_to("model")
    with (
        reserve_directory(tmp_path / "model"),
        pytest.raises(OutputError, match=rf"link: another run is writing it \(process {os.getpid()}\)"),
        reserve_directory(tmp_path / "link"),
    ):
        pass


def test_missing_parents_are_made_and_removed_again_if_nothing_was_written(tmp_path):
    with reserve_directory(tmp_path / "a" / "b" / "model"):
        pass
    assert list(tmp_path.iterdir()) == []
    build(tmp_path / "a" / "b" / "model")
    assert (tmp_path / "a" / "b" / "model" / "file").read_text() == "new"
