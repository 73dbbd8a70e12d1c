"""What a training may do with a directory, before it begins."""

from __future__ import annotations

import json

import pytest

from authorid.errors import RunError
from authorid.outputs.directory import Workspace
from authorid.training.run_directory import begin_training, reserve_run


def finished(out, **record):
    out.mkdir()
    (out / "run.json").write_text(json.dumps(record))


def begun(out, existing):
    """Leave a training as a kill does; returns its id."""
    workspace = Workspace.of(out)
    return begin_training(workspace, existing)


def test_a_resumed_training_keeps_its_id_and_a_new_one_gets_another(tmp_path):
    first = begun(tmp_path / "run", "refuse")
    with reserve_run(tmp_path / "run", "resume") as workspace:
        assert begin_training(workspace, "resume") == first
    with reserve_run(tmp_path / "run", "replace") as workspace:
        assert begin_training(workspace, "replace") != first


def test_an_unfinished_training_needs_resume_or_force(tmp_path):
    begun(tmp_path / "run", "refuse")
    with (
        pytest.raises(RunError, match=r"\.run\.authorid/state.*pass --resume to continue it, or --force"),
        reserve_run(tmp_path / "run", "refuse"),
    ):
        pass


def test_a_resumed_training_replaces_only_a_run_that_it_was_begun_for(tmp_path):
    begun(tmp_path / "run", "refuse")
    finished(tmp_path / "run", format=3)
    with pytest.raises(RunError, match="not there when the training began"), reserve_run(tmp_path / "run", "resume"):
        pass
    begun(tmp_path / "other", "replace")
    finished(tmp_path / "other", format=3)
    with reserve_run(tmp_path / "other", "resume"):
        pass


@pytest.mark.parametrize("existing", ["refuse", "resume"])
def test_a_training_whose_run_is_in_place_is_over(tmp_path, existing):
    finished(tmp_path / "run", training_id=begun(tmp_path / "run", "replace"))
    with pytest.raises(RunError, match="finished run; pass --force"), reserve_run(tmp_path / "run", existing):
        pass
    assert list(tmp_path.iterdir()) == [tmp_path / "run"]


@pytest.mark.promise("training-damage")
@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"id": "x", "replace": true}', b"\xff"])
def test_a_damaged_record_of_an_unfinished_training_is_refused(tmp_path, content):
    begun(tmp_path / "run", "replace")
    finished(tmp_path / "run", training_id="x")
    (Workspace.of(tmp_path / "run").state / "training.json").write_bytes(content)
    with (
        pytest.raises(RunError, match=r"training\.json: damaged .*pass --force to start over"),
        reserve_run(tmp_path / "run", "resume") as workspace,
    ):
        begin_training(workspace, "resume")
    with reserve_run(tmp_path / "run", "replace") as workspace:
        begin_training(workspace, "replace")
