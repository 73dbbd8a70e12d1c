from __future__ import annotations

import os
import subprocess
import sys

import pytest
from command import command, environment

from authorid.cli.console import Terminal, time_left
from authorid.cli.final_screen import show_attributions
from authorid.inputs.documents import DocumentRef
from authorid.outputs.answers import Answers
from authorid.scoring.attribution import Attribution


@pytest.mark.parametrize(
    ("interval", "quiet", "shown"),
    [(0.0, False, "Training: 130/400  epoch 2/4\n"), (3600.0, False, ""), (0.0, True, "")],
)
def test_a_log_gets_a_line_about_the_progress_now_and_then(monkeypatch, capsys, interval, quiet, shown):
    monkeypatch.setattr("authorid.cli.console._LOG_INTERVAL", interval)
    with Terminal(quiet=quiet).progress("Training") as reporter:
        reporter.progress(130, 400, "epoch 2/4")
    assert capsys.readouterr().err == shown


def test_progress_without_a_total_is_a_number(monkeypatch, capsys):
    monkeypatch.setattr("authorid.cli.console._LOG_INTERVAL", 0.0)
    with Terminal().progress("Scoring") as reporter:
        reporter.progress(1200)
    assert capsys.readouterr().err == "Scoring: 1,200\n"


def test_the_time_left_is_estimated_from_the_steps_that_were_timed(monkeypatch, capsys):
    assert time_left(20, 270, 10.0) == "0:02:15 left"
    assert time_left(0, 270, 0.0) == ""
    monkeypatch.setattr("authorid.cli.console._LOG_INTERVAL", 0.0)
    with Terminal().progress("Training") as reporter:
        for done in (100, 400, 1, 400):
            reporter.progress(done, 400)
    shown = capsys.readouterr().err.splitlines()
    assert [line.endswith("  0:00:00 left") for line in shown] == [False, True, False, True]


@pytest.mark.parametrize(
    ("quiet", "shown"), [(False, "epoch 1 of 1: loss 0.5\nwarning: a\\x0ab\n"), (True, "warning: a\\x0ab\n")]
)
def test_messages_are_shown_at_once_and_warnings_also_when_quiet(capsys, quiet, shown):
    with Terminal(quiet=quiet).progress("Training") as reporter:
        reporter.info("epoch 1 of 1: loss 0.5")
        reporter.warning("a\nb")
    assert capsys.readouterr().err == shown


def test_a_bar_on_a_terminal_shows_what_is_done(monkeypatch, capsys):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "100")
    with Terminal().progress("Training") as reporter:
        reporter.progress(130, 400, "epoch 2/4 [bold]")
        reporter.info("a message")
    shown = capsys.readouterr().err
    assert "Training" in shown and "130/400  epoch 2/4 [bold]" in shown and "a message" in shown


@pytest.mark.promise("stderr")
@pytest.mark.parametrize("terminal", [False, True])
def test_a_reader_of_messages_that_goes_away_changes_nothing(bundle, tmp_path, terminal):
    """rich would replace standard output by /dev/null, and end the process."""
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
def test_numbers_and_statuses_are_whole_on_a_terminal_of_any_width(width, capsys):
    terminal = Terminal()
    terminal.console.width = width
    ranking = (("Kourosh Karimkhany", 0.7768), ("Bradley Dorfman", 0.0721))
    row = Attribution(DocumentRef("examples/a-rather-long-name-of-a-document.txt"), "unknown", ranking)
    show_attributions(terminal, [row], 1, Answers())
    shown = capsys.readouterr().err
    assert ("7.2%" in shown) == (width >= 100)  # the runner-up needs room
    assert "77.7%" in shown and "unknown" in shown and "prob." in shown
    assert max(map(len, shown.splitlines())) <= width


def test_an_error_of_the_system_has_a_line_and_not_a_traceback(tmp_path):
    directory = tmp_path / "gone"
    directory.mkdir()
    code = "import os, sys; os.chdir(sys.argv[1]); os.rmdir(sys.argv[1]); os.execv(sys.argv[2], sys.argv[2:])"
    arguments = command("score", ".", "-q")
    done = subprocess.run(
        [sys.executable, "-c", code, str(directory), *map(str, arguments)],
        capture_output=True,
        text=True,
        env=environment(tmp_path),
        check=False,
    )
    assert done.returncode == 1
    assert done.stderr == "error: no such file or directory\n"
