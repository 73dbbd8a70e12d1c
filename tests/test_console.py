from __future__ import annotations

import pytest

from authorid.console import Screen, TrainingProgress
from authorid.training import Progress

STEP = Progress(epoch=2, epochs=4, step=30, steps=100, loss=1.25, seconds_left=3725.4)


@pytest.mark.parametrize(
    ("silence", "quiet", "shown"),
    [(0.0, False, "epoch 2/4  loss 1.250  step 130/400  1:02:05 left\n"), (3600.0, False, ""), (0.0, True, "")],
)
def test_a_log_is_told_now_and_then_how_far_a_training_is(monkeypatch, capsys, silence, quiet, shown):
    monkeypatch.setattr("authorid.console._SILENCE", silence)
    with TrainingProgress(Screen(quiet=quiet)) as progress:
        progress(STEP)
    assert capsys.readouterr().err == shown


def test_turning_points_are_always_told(capsys):
    with TrainingProgress(Screen()) as progress:
        progress(Progress(epoch=1, epochs=1, message="epoch 1 of 1: loss 0.5"))
    assert capsys.readouterr().err == "epoch 1 of 1: loss 0.5\n"
