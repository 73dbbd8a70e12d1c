from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command import command, environment

from authorid.cli.console import Screen, TrainingProgress
from authorid.inputs.documents import DocumentRef
from authorid.scoring.attribution import Attribution
from authorid.training import Progress

STEP = Progress(epoch=2, epochs=4, step=30, steps=100, loss=1.25, seconds_left=3725.4)


@pytest.mark.parametrize(
    ("silence", "quiet", "shown"),
    [(0.0, False, "epoch 2/4  loss 1.250  step 130/400  1:02:05 left\n"), (3600.0, False, ""), (0.0, True, "")],
)
def test_a_log_is_told_now_and_then_how_far_a_training_is(monkeypatch, capsys, silence, quiet, shown):
    monkeypatch.setattr("authorid.cli.console._SILENCE", silence)
    with TrainingProgress(Screen(quiet=quiet)) as progress:
        progress(STEP)
    assert capsys.readouterr().err == shown


def test_turning_points_are_always_told(capsys):
    with TrainingProgress(Screen()) as progress:
        progress(Progress(epoch=1, epochs=1, message="epoch 1 of 1: loss 0.5"))
    assert capsys.readouterr().err == "epoch 1 of 1: loss 0.5\n"


@pytest.mark.promise("stderr")
@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_of_messages_that_goes_away_changes_nothing(bundle, tmp_path, terminal):
    """rich would put /dev/null in standard output's place, and end the process."""
    (tmp_path / "a.txt").write_text("the river and the boat")
    read, write = os.pipe()
    os.close(read)
    arguments = command("score", tmp_path, tmp_path / "none.txt", "--model", bundle.path, "--out", "-")
    variables = {**environment(tmp_path), **({"FORCE_COLOR": "1"} if terminal else {})}
    done = subprocess.run(arguments, stdout=subprocess.PIPE, stderr=write, env=variables, check=False)
    os.close(write)
    assert done.returncode == 3
    assert done.stdout.count(b"\n") == 3


@pytest.mark.parametrize("width", [60, 80, 200])
def test_numbers_and_states_are_whole_on_any_screen(width, capsys):
    screen = Screen()
    screen.console.width = width
    ranking = (("Kourosh Karimkhany", 0.7768), ("Bradley Dorfman", 0.0721))
    row = Attribution(DocumentRef("examples/a-rather-long-name-of-a-document.txt"), "unknown", ranking)
    screen.attributions([row], 1)
    shown = capsys.readouterr().err
    assert "77.7%" in shown and "7.2%" in shown and "unknown" in shown and "prob." in shown
    assert max(map(len, shown.splitlines())) <= width


def test_an_error_of_the_system_has_a_line_and_not_a_traceback(tmp_path):
    place = tmp_path / "gone"
    place.mkdir()
    code = f"import os, sys; os.chdir({str(place)!r}); os.rmdir({str(place)!r}); os.execv(sys.argv[1], sys.argv[1:])"
    arguments = command("score", ".", "-q")
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: no such file or directory\n"
