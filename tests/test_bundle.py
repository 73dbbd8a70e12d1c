from __future__ import annotations

import json
import shutil

import pytest
from tiny import make_bundle, make_graph, make_tokenizer

from authorid.bundle import load_bundle
from authorid.errors import BundleCorruptError, BundleNotFoundError, EngineError, OutputError
from authorid.pipeline import Scorer


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
        {"format": 2},
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
    with pytest.raises(BundleNotFoundError, match="no fp32 graph in this bundle; it has int8"):
        bundle.precision("fp32")


def test_an_existing_bundle_is_kept_unless_told(tmp_path):
    make_bundle(tmp_path / "b")
    with pytest.raises(OutputError, match="already exists"):
        make_bundle(tmp_path / "b")
    assert list(tmp_path.iterdir()) == [tmp_path / "b"]


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
    with pytest.raises(EngineError, match="2 logits for 3 authors"):
        Scorer.load(bundle.path)
