from __future__ import annotations

import shutil

import pytest
from json_records import edit_record, list_file
from tiny import make_bundle

from authorid.bundle.manifest import load_bundle
from authorid.errors import BundleCorruptError, BundleLacksError, BundleNotFoundError
from authorid.outputs.answers import Answers


@pytest.fixture
def copy(bundle, tmp_path):
    path = tmp_path / "copy"
    shutil.copytree(bundle.path, path)
    return path


def edit(path, **changes):
    edit_record(path / "authorid.json", lambda record: record.update(changes))


def test_a_bundle_reads_back_what_was_written(bundle):
    assert bundle.authors == ("Ada", "Ben", "Cyd")
    assert bundle.precision("auto") == "int8"
    assert bundle.window.length == 16
    assert len(bundle.sha256("int8")) == 64


def test_a_directory_that_is_not_a_bundle_gives_advice(tmp_path):
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
def test_a_file_name_with_a_directory_part_is_refused(copy, name):
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
        {"effort": {"default": "slow", "least_gain": None}},
        {"effort": {"default": "fast", "least_gain": -1}},
        {"effort": {"default": "fast", "least_gain": float("nan")}},
        {"effort": {"default": "fast"}},
        {"effort": "fast"},
    ],
)
def test_an_invalid_manifest_is_refused(copy, changes):
    edit(copy, **changes)
    with pytest.raises(BundleCorruptError, match=r"authorid\.json"):
        load_bundle(copy)


def test_labels_may_be_alike_but_not_equal(tmp_path):
    names = ("Good", "good", "GOOD")
    assert load_bundle(make_bundle(tmp_path / "b", names=names, classes="labels").path).authors == names
    with pytest.raises(BundleCorruptError, match="the label 'good' occurs twice"):
        make_bundle(tmp_path / "c", names=("good", "good", "bad"), classes="labels")
    with pytest.raises(BundleCorruptError, match="the authors 'Good' and 'good' differ only in case"):
        make_bundle(tmp_path / "d", names=names)


@pytest.mark.parametrize("rule", ["sigmoid", "identity"])
def test_one_class_is_enough_where_none_is_chosen(tmp_path, rule):
    assert make_bundle(tmp_path / "b", names=("LABEL_0",), classes="labels", rule=rule).authors == ("LABEL_0",)
    with pytest.raises(BundleCorruptError, match="id2label must number the labels from 0, at least 2 of them"):
        make_bundle(tmp_path / "c", names=("LABEL_0",), classes="labels")
    with pytest.raises(BundleCorruptError, match="id2label must number the labels from 0, at least 1 of them"):
        make_bundle(tmp_path / "d", names=(), classes="labels", rule=rule)


def test_classes_are_authors_unless_the_manifest_has_other_ones(bundle, tmp_path):
    assert "classes" not in (bundle.path / "authorid.json").read_text()
    assert (bundle.classes, bundle.answers) == ("authors", Answers(("Ada", "Ben", "Cyd")))
    several = make_bundle(tmp_path / "b", classes="labels", rule="sigmoid")
    assert several.answers == Answers(("Ada", "Ben", "Cyd"), "label", "probability", True)
    edit(several.path, classes="colours")
    with pytest.raises(BundleCorruptError, match=r"unknown classes 'colours'.*authors and labels"):
        load_bundle(several.path)


@pytest.mark.parametrize("rule", ["sigmoid", "identity"])
def test_a_rule_for_encoders_is_refused_with_an_n_gram_model(copy, rule):
    (copy / "ngrams.safetensors").write_bytes(b"")
    list_file(copy / "authorid.json", "ngrams.safetensors")
    edit_record(copy / "authorid.json", lambda record: record["decision"].update(rule=rule))
    load_bundle(copy)
    edit(copy, ngrams="ngrams.safetensors")
    with pytest.raises(BundleCorruptError, match=rf"'{rule}', which does not match a bundle with an n-gram model"):
        load_bundle(copy)


def test_a_missing_precision_is_an_error_that_lists_the_graphs(bundle):
    with pytest.raises(BundleLacksError, match="no fp32 graph in this bundle; it has int8"):
        bundle.precision("fp32")


def test_a_path_that_is_too_long_is_refused(tmp_path):
    with pytest.raises(BundleCorruptError, match="too long"):
        load_bundle(tmp_path / ("n" * 300))


def test_a_damaged_graph_is_a_clear_error(tmp_path):
    with pytest.raises(BundleCorruptError, match=r"model_int8\.onnx.*damaged"):
        make_bundle(tmp_path / "b", graph=b"not an onnx file")
