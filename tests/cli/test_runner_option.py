"""``--runner ray``: what it refuses before anything is started, and what it keeps off the screen."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec

import pytest

from authorid.runners.ray_runner import quiet_descriptors


@pytest.fixture
def on_ray(score, tmp_path, monkeypatch):
    """Runs `authorid score docs ... --runner ray`; returns the exit code and what is shown."""
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.txt").write_text("The engine and the loom.")
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        code, out, err = score(*arguments, "--runner", "ray")
        assert out == ""
        assert not (tmp_path / "rows.csv").exists()
        return code, " ".join(err.split())

    return call


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["docs"], "the workers leave their parts beside a file: --out FILE"),
        (["docs", "--out", "-"], "the workers leave their parts beside a file: --out FILE"),
        (["docs", "--out", "rows.csv", "--adapt"], "--adapt: not with --runner ray: the answers would depend"),
        (["--stdin-text", "--out", "rows.csv"], "--stdin-text: not with --runner ray"),
        (["docs", "--out", "rows.csv", "--report", "r.html"], "--report: not with --runner ray"),
        (["docs", "--out", "rows.csv", "--fail-fast"], "--fail-fast: not with --runner ray"),
        (["docs", "--out", "parts", "--shard", "1/2"], "--shard: not with --runner ray: the runner makes the shards"),
    ],
)
def test_options_that_need_the_whole_run_are_refused(on_ray, arguments, reason):
    code, shown = on_ray(*arguments)
    assert code == 2
    assert reason in shown


def test_known_authors_are_fitted_first(tmp_path, monkeypatch):
    from click.testing import CliRunner

    from authorid.cli.app import app

    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["score", "docs", "--known", "authors", "-o", "rows.csv", "--runner", "ray"])
    assert done.exit_code == 2
    assert "authorid train --no-encoder" in " ".join(done.output.split())


def test_an_address_is_that_of_ray(score):
    code, _, err = score("docs", "--ray-address", "auto")
    assert code == 2
    assert "only --runner ray has an address" in err


def test_without_the_extra(on_ray, monkeypatch):
    monkeypatch.setattr("authorid.errors.find_spec", lambda name: None if name == "ray" else find_spec(name))
    code, shown = on_ray("docs", "--out", "rows.csv")
    assert code == 1
    assert "pip install 'authorid-toolkit[ray]'" in shown


def test_parts_that_are_there_are_respected(on_ray, tmp_path):
    pytest.importorskip("ray", reason="not installed: ray")
    (tmp_path / "rows.csv.parts").mkdir()
    (tmp_path / "rows.csv.parts" / "letter.txt").write_text("mine")
    for options in ([], ["--force"], ["--resume"]):
        code, shown = on_ray("docs", "--out", "rows.csv", *options)
        assert code == 1
        assert "rows.csv.parts: not the parts of a run, which need this name; move it" in shown
    assert (tmp_path / "rows.csv.parts" / "letter.txt").read_text() == "mine"
    (tmp_path / "rows.csv.parts" / "letter.txt").rename(tmp_path / "rows.csv.parts" / "00001-of-00002.part")
    code, shown = on_ray("docs", "--out", "rows.csv")
    assert (code, "a run was interrupted here; pass --resume to continue it, or --force" in shown) == (1, True)


def test_what_libraries_print_goes_to_the_log(tmp_path, capfd):
    with quiet_descriptors(tmp_path / "ray.log") as stream:
        os.write(1, b"printed\n")
        os.write(2, b"written\n")
        subprocess.run([sys.executable, "-c", "print('by a child')"], check=True)
        stream.write("an error\n")
    os.write(1, b"afterwards\n")
    assert capfd.readouterr() == ("afterwards\n", "an error\n")
    assert sorted((tmp_path / "ray.log").read_text().split("\n")) == ["", "by a child", "printed", "written"]
