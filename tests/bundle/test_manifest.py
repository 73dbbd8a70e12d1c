from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper
from tiny import make_bundle, make_graph, make_tokenizer

from authorid.bundle.manifest import check_writable, load_bundle
from authorid.encoder.engine import Engine
from authorid.errors import BundleCorruptError, BundleLacksError, BundleNotFoundError, EngineError, OutputError
from authorid.scoring.scorer import Scorer


@pytest.fixture
def copy(bundle, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(bundle.path, path)
    return path


def edit(path, **changes):
    manifest = path / "authorid.json"
    record = json.loads(manifest.read_text("utf-8"))
    record.update(changes)
    manifest.write_text(json.dumps(record), "utf-8")


def test_a_bundle_reads_back_what_was_written(bundle):
    assert bundle.authors == ("Ada", "Ben", "Cyd")
    assert bundle.precision("auto") == "int8"
    assert bundle.window.length == 16
    assert len(bundle.sha256("int8")) == 64


def test_no_bundle_names_the_path_and_what_to_do(tmp_path):
    with pytest.raises(BundleNotFoundError, match="nothing at that path"):
        load_bundle(tmp_path / "none")
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(BundleNotFoundError, match="authorid export"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model_int8.onnx"])
def test_a_changed_file_is_refused(copy, name):
    with (copy / name).open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(BundleCorruptError, match=f"{name}.*SHA-256"):
        load_bundle(copy)


def test_a_missing_file_is_refused(copy):
    (copy / "tokenizer.json").unlink()
    with pytest.raises(BundleCorruptError, match="missing"):
        load_bundle(copy)


def test_a_link_out_of_the_bundle_is_refused(copy, tmp_path):
    secret = tmp_path / "secret"
    (copy / "tokenizer.json").rename(secret)
    (copy / "tokenizer.json").symlink_to(secret)
    with pytest.raises(BundleCorruptError, match="not a regular file"):
        load_bundle(copy)


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/b", "..", ""])
def test_a_name_that_leads_elsewhere_is_refused(copy, name):
    edit(copy, files={name: "0" * 64})
    with pytest.raises(BundleCorruptError, match="plain file name"):
        load_bundle(copy)


@pytest.mark.parametrize(
    "changes",
    [
        {"format": 1},
        {"graphs": {}},
        {"graphs": {"int8": "other.onnx"}},
        {"window": {"length": 16, "stride": 99}},
        {"window": {"size": 16}},
        {"decision": {"temperature": 0}},
        {"golden": [{"ids": [1, 2], "logits": {"int8": [1.0]}}]},
        {"files": None},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(copy, changes):
    edit(copy, **changes)
    with pytest.raises(BundleCorruptError, match=r"authorid\.json"):
        load_bundle(copy)


def test_precision_that_is_not_there_says_what_is(bundle):
    with pytest.raises(BundleLacksError, match="no fp32 graph in this bundle; it has int8"):
        bundle.precision("fp32")


def test_an_existing_bundle_is_kept_unless_told(tmp_path):
    make_bundle(tmp_path / "b")
    with pytest.raises(OutputError, match="already exists"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


@pytest.mark.parametrize("renames", [1, 2])
@pytest.mark.parametrize("failure", [OSError(5, "Input/output error"), KeyboardInterrupt()])
def test_a_bundle_survives_a_replacement_that_fails(tmp_path, monkeypatch, renames, failure):
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


def test_a_bundle_that_cannot_even_be_put_back_is_kept_beside_its_place(tmp_path, monkeypatch):
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


def test_a_bundle_killed_while_it_is_replaced_is_still_there(tmp_path):
    """The one moment at which its name is nobody's: it waits beside it then, whole."""
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


def test_a_link_to_a_bundle_stays_a_link_when_the_bundle_is_replaced(tmp_path):
    make_bundle(tmp_path / "b")
    (tmp_path / "link").symlink_to("b")
    make_bundle(tmp_path / "link", overwrite=True, threshold=0.5)
    assert (tmp_path / "link").is_symlink()
    assert load_bundle(tmp_path / "b").decision.unknown_threshold == 0.5


def test_places_that_cannot_hold_a_bundle(tmp_path, monkeypatch):
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
    for place in (made.path / "README.md" / "x", tmp_path / ("n" * 300), Path("/proc/x")):
        with pytest.raises(OutputError, match="cannot write there"):
            make_bundle(place)
    monkeypatch.chdir(made.path)
    with pytest.raises(OutputError, match="current directory"):
        make_bundle(Path(), overwrite=True)
    monkeypatch.setattr(Path, "is_mount", lambda self: self == made.path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OutputError, match="mount point"):
        make_bundle(made.path, overwrite=True)
    assert load_bundle(made.path).decision == made.decision
    assert make_bundle(Path(os.fsdecode(b"not-utf8-\xff")))


def test_asking_whether_a_place_can_be_written_leaves_nothing_there(tmp_path):
    (tmp_path / "file").write_text("")
    for good in (tmp_path, tmp_path / "a" / "b", Path("a")):
        check_writable(good)
    for bad in (tmp_path / "file", tmp_path / "file" / "b", Path("/proc/x"), tmp_path / ("n" * 300) / "b"):
        with pytest.raises(OutputError, match="cannot write there"):
            check_writable(bad)
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_a_name_too_long_for_a_file_is_no_bundle(tmp_path):
    with pytest.raises(BundleCorruptError, match="too long"):
        load_bundle(tmp_path / ("n" * 300))


def test_wrong_kernels_are_found_by_the_golden_windows(tmp_path):
    bundle = make_bundle(tmp_path / "b")
    edit(bundle.path, golden=[{"ids": [2, 5, 3], "logits": {"int8": [0.0, 0.0, 5.0]}}])
    with pytest.raises(EngineError, match="refusing to score with wrong kernels"):
        Scorer.load(bundle.path)


def test_a_damaged_graph_is_a_clear_error(tmp_path):
    with pytest.raises(BundleCorruptError, match=r"model_int8\.onnx.*damaged"):
        make_bundle(tmp_path / "b", graph=b"not an onnx file")


def test_a_graph_with_other_authors_is_refused(tmp_path):
    bundle = make_bundle(tmp_path / "b", graph=make_graph(make_tokenizer(), authors=2))
    with pytest.raises(EngineError, match=r"\[1, 2\] for 1 windows and 3 authors"):
        Scorer.load(bundle.path)
    edit(bundle.path, golden=[])
    with pytest.raises(EngineError, match=r"\[1, 2\] for 1 windows and 3 authors"):
        Scorer.load(bundle.path)


def test_a_graph_that_answers_once_for_a_whole_batch_is_found_out(tmp_path):
    """One row of logits would be given to all windows of a batch."""
    model = onnx.load_from_string(make_graph(make_tokenizer()))
    model.graph.node[-1].output[0] = "all"
    first = numpy_helper.from_array(np.array([0]), "first")
    model.graph.initializer.append(first)
    model.graph.node.append(helper.make_node("Gather", ["all", "first"], ["logits"]))
    engine = Engine(make_bundle(tmp_path / "b", graph=model.SerializeToString()))
    with pytest.raises(EngineError, match=r"\[1, 3\] for 2 windows"):
        engine.run(np.full((2, 4), 5, np.int32))
