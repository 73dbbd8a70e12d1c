"""A path is opened by the source that recognises it, and refused with a clear message otherwise."""

from __future__ import annotations

import pytest

from authorid.errors import RunError
from authorid.export import open_source
from authorid.outputs.directory import Workspace


def test_a_path_without_a_model_is_refused_with_what_is_expected(tmp_path):
    with pytest.raises(
        RunError, match=r"no model to export; expected .* run \(a directory with run.json\); a fine-tuned"
    ):
        open_source(tmp_path)
    with pytest.raises(RunError, match="no such directory"):
        open_source(tmp_path / "missing")
    with pytest.raises(RunError, match="no such file"):
        open_source(tmp_path / "missing" / "model.onnx")


def test_an_unfinished_training_is_refused(tmp_path):
    Workspace.of(tmp_path / "run").begin_state()
    with pytest.raises(RunError, match="not finished"):
        open_source(tmp_path / "run")
