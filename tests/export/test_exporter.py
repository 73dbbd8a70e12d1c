"""A training run becomes a verified bundle, or nothing is written."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from checkpoints import AUTHORS, FAMILIES, WORDS, write_checkpoint, write_corpus
from json_records import edit_record

from authorid.bundle.decision import Decision
from authorid.bundle.effort import NOT_MEASURED
from authorid.bundle.manifest import load_bundle
from authorid.encoder.engine import Engine
from authorid.encoder.engine_options import EngineOptions
from authorid.encoder.fused import fused_kernels
from authorid.errors import BundleCorruptError, CorpusError, ExportError, OutputError, ParityError
from authorid.export import ExportOptions, export_model, exporter
from authorid.export.sources import tf2onnx_reference
from authorid.export.sources.tf2onnx_reference import reference_graph

pytestmark = pytest.mark.train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return write_corpus(tmp_path_factory.mktemp("corpus") / "letters")


@pytest.fixture(scope="module", params=FAMILIES)
def run(request, corpus, tmp_path_factory):
    """A finished run with three authors: BERT on windows with mean pooling, DistilBERT by the classic recipe."""
    from authorid.training import TrainingOptions, train

    base = write_checkpoint(tmp_path_factory.mktemp("base") / request.param, request.param)
    options = TrainingOptions(
        base_model=str(base),
        recipe="windows" if request.param == "bert" else "classic",
        epochs=8,
        batch=8,
        window=32,
        pooling="mean" if request.param == "bert" else "first",
        learning_rate=3e-3,
        topic_dropout=0.0,
        freeze_embeddings=False,
    )
    return train(corpus, tmp_path_factory.mktemp("runs") / request.param, options)


FUSED = {"fused-int8": "model_int8_fused.onnx"} if fused_kernels() else {}
"""The graph for our own kernels, which is emitted where they can check it."""

one_family = pytest.mark.parametrize("run", ["bert"], indirect=True)
"""For tests that do not depend on the family of the encoder."""


@pytest.fixture(scope="module", autouse=True)
def converted_once():
    """Convert each model once, not in every test: tf2onnx takes nearly all the time of an export."""
    known: dict[bytes, bytes] = {}

    def reference(model):
        key = b"".join(value.tobytes() for value in model.get_weights())
        if key not in known:
            known[key] = reference_graph(model)
        return known[key]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tf2onnx_reference, "reference_graph", reference)
        yield


@pytest.fixture(scope="module")
def report(run, corpus, tmp_path_factory):
    """The report of an export with default options; tests must not change its bundle."""
    out = tmp_path_factory.mktemp("exported") / "bundle"
    return exported(run, corpus, out, name="letters", license_name="apache-2.0")


class Log:
    """A reporter that keeps all messages."""

    def __init__(self):
        self.infos, self.warnings = [], []
        self.info, self.warning = self.infos.append, self.warnings.append

    def progress(self, done, total=None, detail=""):
        pass


def exported(run, corpus, out, **options):
    log = Log()
    report = export_model(run.path, out, ExportOptions(quantize=True, corpus=corpus, **options), reporter=log)
    assert log.infos and not log.warnings
    return report


def test_a_run_becomes_a_bundle_whose_graphs_give_the_golden_logits(run, report):
    assert report.ok and all(len(row) == 4 for row in report.rows)
    bundle = load_bundle(report.bundle.path)
    assert {path.name for path in bundle.path.iterdir()} == {
        "README.md",
        "authorid.json",
        "config.json",
        "model.onnx",
        "model_int8.onnx",
        "special_tokens_map.json",
        "tokenizer.json",
        "tokenizer_config.json",
        *(() if run.load_fusion() is None else ("ngrams.safetensors",)),
        *(("model_int8_fused.onnx", "model_int8.onnx.data") if FUSED else ()),
    }
    assert bundle.decision.rule == ("mean-log-softmax" if run.load_fusion() is None else "fusion")
    assert (bundle.authors, bundle.name, bundle.graphs.keys()) == (AUTHORS, "letters", {"fp32", "int8", *FUSED})
    assert (bundle.window.length, bundle.window.truncate) == (32, run.truncate)
    assert bundle.provenance["corpus"]["digest"] == run.corpus_digest
    card = (bundle.path / "README.md").read_text("utf-8")
    assert 'license: "apache-2.0"' in card
    assert ("## N-grams beside the encoder" in card) == (run.load_fusion() is not None)
    calibration = bundle.provenance["calibration"]
    assert calibration["method"] == "min-max" and calibration["tried"].keys() == {"min-max"}
    if run.load_fusion() is None:
        assert 0.02 <= bundle.decision.temperature <= 20
    else:
        assert bundle.decision == run.load_fusion()[1]
        assert bundle.effort_rule == run.effort_rule != NOT_MEASURED
        assert f"The default effort is {bundle.default_effort}" in card
    lengths = [len(golden.ids) for golden in bundle.golden]
    assert min(lengths) <= 4 and max(lengths) == 32 and len(lengths) == 4
    for precision in ("fp32", "int8"):
        engine = Engine(bundle, EngineOptions(provider="cpu", precision=precision))
        assert engine.precision == precision
        for golden in bundle.golden:
            logits = engine.run(np.array([golden.ids], np.int32))[0]
            np.testing.assert_allclose(logits, golden.logits[precision], atol=1e-5)


@one_family
def test_int8_is_calibrated_on_several_draws_where_one_does_not_hold_all_windows(run, corpus, tmp_path):
    exported(run, corpus, tmp_path / "bundle", calibration_windows=8, force=True)
    calibration = load_bundle(tmp_path / "bundle").provenance["calibration"]
    assert calibration["tried"].keys() == {"min-max"} | {f"min-max, draw {draw}" for draw in (2, 3, 4)}
    chosen = calibration["tried"].pop(calibration["method"])
    assert all(chosen["agreement"] >= other["agreement"] for other in calibration["tried"].values())


def test_the_bundle_attributes_documents_to_their_authors(report):
    from authorid import Scorer

    rng = np.random.default_rng(3)
    texts = [" ".join(rng.choice(WORDS[author], 60)) for author in AUTHORS]
    assert [row.author for row in Scorer.load(report.bundle.path).score_texts(texts)] == list(AUTHORS)


def test_a_bundle_contains_no_paths_of_the_machine_or_the_corpus(report, corpus):
    path = report.bundle.path
    for name in ("authorid.json", "README.md", "config.json"):
        text = (path / name).read_text("utf-8")
        assert str(path.parent) not in text and str(corpus.parent) not in text
        assert "/tmp" not in text
    yaml = pytest.importorskip("yaml")
    header = yaml.safe_load((path / "README.md").read_text("utf-8").split("---")[1])
    assert header["pipeline_tag"] == "text-classification"
    assert {"license", "tags", "metrics"} <= header.keys()


@one_family
def test_a_bundle_may_hold_the_int8_graph_alone(run, corpus, tmp_path):
    bundle = exported(run, corpus, tmp_path / "bundle", keep_fp32=False).bundle
    assert bundle.graphs == {"int8": "model_int8.onnx", **FUSED}
    assert not (bundle.path / "model.onnx").exists()
    assert {name for golden in bundle.golden for name in golden.logits} == {"int8"}


def test_graphs_for_openvino_share_weights_with_the_others(run, corpus, tmp_path):
    import onnxruntime

    report = exported(run, corpus, tmp_path / "bundle", openvino=True)
    bundle = report.bundle
    assert report.ok
    assert sum("OpenVINO's dialect" in row[0] for row in report.rows) == 5
    assert bundle.graphs == {
        "fp32": "model.onnx",
        "int8": "model_int8.onnx",
        "openvino-fp32": "model_openvino.onnx",
        "openvino-int8": "model_int8_openvino.onnx",
        **FUSED,
    }
    assert {"model.onnx.data", "model_int8.onnx.data"} < bundle.files.keys()
    for precision, tolerance in (("fp32", 1e-4), ("int8", 0.1)):
        session = onnxruntime.InferenceSession(bundle.graph(precision, "openvino"))
        engine = Engine(bundle, EngineOptions(precision=precision, provider="cpu"))
        for golden in bundle.golden:
            ids = np.array([golden.ids], np.int32)
            np.testing.assert_allclose(engine.run(ids)[0], golden.logits[precision], atol=1e-5)
            off = np.abs(session.run(None, {"window_ids": ids})[0] - golden.logits[precision]).max()
            assert off < tolerance * np.abs(golden.logits[precision]).max()
    with (bundle.path / "model_int8.onnx.data").open("ab") as stream:
        stream.write(b" ")
    with pytest.raises(BundleCorruptError, match=r"model_int8\.onnx\.data.*SHA-256"):
        load_bundle(bundle.path)


@one_family
def test_without_int8_openvino_gets_a_float32_graph(run, elsewhere, tmp_path):
    bundle = export_model(elsewhere, tmp_path / "bundle", ExportOptions(openvino=True)).bundle
    assert bundle.graphs == {"fp32": "model.onnx", "openvino-fp32": "model_openvino.onnx"}
    assert bundle.files.keys() >= {"model.onnx", "model_openvino.onnx", "model.onnx.data"}


@pytest.fixture
def elsewhere(run, tmp_path):
    """The run on a machine that does not have its corpus."""
    path = tmp_path / "elsewhere"
    shutil.copytree(run.path, path)
    edit_record(path / "run.json", lambda record: record["corpus"].update(path=str(tmp_path / "nowhere")))
    return path


def test_float32_alone_needs_no_corpus(run, elsewhere, tmp_path):
    report = export_model(elsewhere, tmp_path / "bundle")
    assert report.bundle.graphs == {"fp32": "model.onnx"}
    experts = run.load_fusion()
    assert report.bundle.decision == (Decision() if experts is None else experts[1])
    assert [row[0].split(":")[0] for row in report.rows] == [
        "reference = Keras",
        "emitted float32 = reference",
        "float32",
        "float32",
    ]
    assert all(row[3] == "ok" for row in report.rows)


def absurd(weights, windows, seed, together):
    """A calibration with ranges far too wide: all INT8 activations become zero."""
    from authorid.export import Calibration, Range
    from authorid.export.graph.int8 import activation_names

    ranges = dict.fromkeys(activation_names(weights), Range(-1e6, 1e6))
    return Calibration(weights, ranges, windows=1, tokens=1, split_neurons=0)


@one_family
def test_a_graph_with_wrong_answers_is_refused_and_nothing_is_written(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "calibrate", absurd)
    with pytest.raises(ParityError, match="same class"):
        exported(run, corpus, tmp_path / "bundle")
    assert not list(tmp_path.iterdir())


@one_family
def test_force_writes_a_graph_with_wrong_answers_and_records_it(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(exporter, "calibrate", absurd)
    report = exported(run, corpus, tmp_path / "bundle", force=True)
    assert not report.ok
    assert any(row[3] == "FAILED" for row in report.rows)
    assert load_bundle(tmp_path / "bundle").parity["ok"] is False
    assert "FAILED" in (tmp_path / "bundle" / "README.md").read_text("utf-8")


@one_family
def test_another_seed_calibrates_on_other_windows(run, corpus, tmp_path, monkeypatch):
    def drawn(seed):
        draws = []

        def recorded(weights, windows, seed, together):
            draws.append([ids.tolist() for ids in windows])
            return absurd(weights, windows, seed, together)

        with monkeypatch.context() as patch:
            patch.setattr(exporter, "calibrate", recorded)
            exported(run, corpus, tmp_path / "bundle", force=True, calibration_windows=5, seed=seed)
        return draws

    one, same, other = drawn(1), drawn(1), drawn(2)
    assert one == same and len(one) == 4
    assert all(len(draw) == 5 and draw not in other for draw in one)
    assert one[0] != one[1], "the draws of one seed differ too"


@one_family
def test_int8_can_be_verified_on_another_corpus(run, corpus, tmp_path):
    other = write_corpus(tmp_path / "other", documents=9, seed=4)
    report = exported(run, corpus, tmp_path / "bundle", verify_on=other, verify_documents=20)
    assert report.bundle.parity["documents"] == "verification"
    assert any("20 documents" in row[0] for row in report.rows)
    (other / "Zoe").mkdir()
    (other / "Zoe" / "1.txt").write_text("by an unknown author\n")
    with pytest.raises(CorpusError, match="Zoe"):
        exported(run, corpus, tmp_path / "again", verify_on=other)


@one_family
def test_the_corpus_is_found_at_the_path_in_the_run(run, tmp_path):
    assert export_model(run.path, tmp_path / "bundle", ExportOptions(quantize=True)).ok


@one_family
def test_exports_that_cannot_succeed_are_refused_at_once(run, elsewhere, corpus, tmp_path):
    with pytest.raises(ExportError, match="--corpus"):
        export_model(elsewhere, tmp_path / "bundle", ExportOptions(quantize=True))
    changed = write_corpus(tmp_path / "letters", seed=9)
    with pytest.raises(CorpusError, match="digest"):
        exported(run, changed, tmp_path / "bundle")
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.txt").write_text("years of work")
    with pytest.raises(OutputError, match="already exists"):
        exported(run, corpus, tmp_path / "taken")
    with pytest.raises(OutputError, match="not a bundle"):
        exported(run, corpus, tmp_path / "taken", force=True)
    assert not (tmp_path / "bundle").exists()


@one_family
def test_float32_is_exported_without_a_corpus_that_has_changed(run, tmp_path):
    copy = tmp_path / "run"
    shutil.copytree(run.path, copy)
    changed = str(write_corpus(tmp_path / "letters", seed=9))
    edit_record(copy / "run.json", lambda record: record["corpus"].update(path=changed))
    log = Log()
    assert export_model(copy, tmp_path / "bundle", reporter=log).bundle.graphs
    assert any("not the corpus" in message for message in log.warnings)
    with pytest.raises(CorpusError, match="digest"):
        export_model(copy, tmp_path / "other", ExportOptions(quantize=True))


def test_a_weight_for_the_encoder_requires_an_n_gram_model(run, corpus, tmp_path):
    if run.load_fusion() is None:
        with pytest.raises(ExportError, match="no n-gram model"):
            exported(run, corpus, tmp_path / "bundle", encoder_weight=0.5)
    else:
        report = exported(run, corpus, tmp_path / "bundle", encoder_weight=0.5)
        assert report.bundle.decision.encoder_weight == 0.5


def test_options_that_leave_nothing_to_write_or_are_out_of_range_are_refused():
    with pytest.raises(ExportError, match="float32"):
        ExportOptions(keep_fp32=False)
    with pytest.raises(ExportError, match="at least 1"):
        ExportOptions(calibration_windows=0)
    with pytest.raises(ExportError, match="negative"):
        ExportOptions(verify_documents=-1)
    with pytest.raises(ExportError, match="weight"):
        ExportOptions(encoder_weight=float("inf"))
    assert replace(ExportOptions(), quantize=True).keep_fp32


def test_importing_the_package_imports_no_framework():
    heavy = {"tensorflow", "keras", "keras_hub", "onnx", "tf2onnx", "onnxruntime"}
    code = "import authorid.export, json, sys; print(json.dumps(sorted(sys.modules)))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not heavy & set(json.loads(out))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_probe_becomes_a_bundle_that_answers_as_keras_does(family, corpus, tmp_path):
    from authorid import Scorer
    from authorid.training import TrainingOptions, load_corpus, train

    base = write_checkpoint(tmp_path / "base", family)
    run = train(corpus, tmp_path / "run", TrainingOptions(base_model=str(base), window=32))
    bundle = exported(run, corpus, tmp_path / "bundle", openvino=True).bundle
    assert (bundle.pooling, bundle.graphs.keys()) == (
        "layers",
        {"fp32", "int8", "openvino-fp32", "openvino-int8", *FUSED},
    )
    assert json.loads((bundle.path / "config.json").read_text()).keys() >= {"id2label"}
    texts = [document.text for document in load_corpus(corpus).documents]
    keras = np.array([rows.mean(axis=0) for rows in run.predict_logits(texts)])
    alone = replace(bundle, ngrams=None, decision=Decision())
    rows = list(Scorer(alone, EngineOptions(precision="fp32"), effort="full").score_texts(texts))
    probabilities = np.array([[dict(row.ranking)[author] for author in AUTHORS] for row in rows])
    expected = np.exp(keras - keras.max(axis=1, keepdims=True))
    np.testing.assert_allclose(probabilities, expected / expected.sum(axis=1, keepdims=True), atol=1e-4)
    assert all(row.author == text_author for row, text_author in zip(rows, np.repeat(AUTHORS, 5), strict=True))
