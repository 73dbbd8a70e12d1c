"""What peers do with the libraries they are made of; the libraries themselves are stand-ins."""

from __future__ import annotations

import os
import shutil
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest
from json_records import edit_record


@pytest.fixture
def prepared(part, bundle, tmp_path):
    """A prepared model of which there is only what has to be read before the graph."""
    (tmp_path / "hf").mkdir()
    shutil.copyfile(bundle.path / "tokenizer.json", tmp_path / "hf" / "tokenizer.json")
    return part("peer_interface").Prepared(tmp_path)


@pytest.fixture
def openvino(monkeypatch):
    """A stand-in for OpenVINO that keeps the hints it was given."""
    given: list[dict] = []

    class Core:
        def compile_model(self, path, device, hints):
            given.append(hints)
            return SimpleNamespace(create_infer_request=object, inputs=[])

    monkeypatch.setitem(sys.modules, "openvino", SimpleNamespace(Core=Core))
    return given


def test_a_peer_reads_its_tokenizer_once_when_it_loads(part, prepared, openvino):
    peer = part("peers.openvino.openvino_peer").make()
    peer.load(prepared, {"precision": "f32", "truncate": 300}, 1, 1)
    (prepared.huggingface / "tokenizer.json").unlink()
    short, long = peer.tokenize(["the loom", "the loom " * 1000])
    assert 0 < len(short) < 10
    assert len(long) == 300


def test_authorid_says_whether_it_runs_the_peers_model(part, bundle, tmp_path):
    ours, settings = part("peers.ours.ours_peer").make(), {"precision": "int8"}
    for name, funnel in (("bundle", True), ("plain", False)):
        shutil.copytree(bundle.path, tmp_path / name)
        changes = {"funnel": funnel}
        edit_record(
            tmp_path / name / "authorid.json", lambda record, changes=changes: record["provenance"].update(changes)
        )
    model = part("peer_interface").Prepared(tmp_path)
    measuring = part("worker").Measuring(ours)
    measuring.load(str(tmp_path), settings, 1, 1)
    assert measuring.parity() == {"same_function": False}
    ours.load(model, {**settings, "bundle": "plain"}, 1, 1)
    assert ours.same_function()
    shutil.rmtree(tmp_path / "plain")
    with pytest.raises(ValueError, match="no bundle of the peers' model"):
        ours.prepare(model, {**settings, "bundle": "plain"})


def test_openvino_computes_int8_in_what_it_thinks_best(part, prepared, openvino):
    peer = part("peers.openvino.openvino_peer").make()
    for precision in ("f32", "bf16", "int8"):
        peer.load(prepared, {"precision": precision, "truncate": 512}, 2, 1)
    assert [hints.get("INFERENCE_PRECISION_HINT") for hints in openvino] == ["f32", "bf16", None]


def test_optimum_has_the_fastest_of_its_graphs(part, prepared, monkeypatch):
    seconds = {"avx512_vnni": 2.0, "avx512_vnni per channel": 1.8, "avx2": 4.0, "avx2 per channel": 2.1}
    module, now, turns = part("peers.optimum.optimum_peer"), [0.0], []

    def load(self, model, settings, sessions, threads):
        assert (sessions, threads) == (2, 1)
        self.graph = settings["graph"]

    def run(self, rows, batch):
        assert [len(row) for row in rows] == [20, 30, 64, 64]
        turns.append(self.graph)
        now[0] += seconds[self.graph]

    monkeypatch.setattr(module.Optimum, "load", load)
    monkeypatch.setattr(module.Optimum, "run", run)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now[0]))
    lengths = np.array([10, 20, 30, 64, 90], np.int32)
    np.savez(prepared.path / "golden.npz", ids=np.zeros(lengths.sum(), np.int32), lengths=lengths, logits=np.zeros(5))
    rates = module._rates(prepared, {"threads": 2, "length": 64}, list(seconds))
    assert rates == {name: round(178 / each, 1) for name, each in seconds.items()}
    # One warm-up and three turns, but a single one for what is far behind.
    assert [turns.count(name) for name in seconds] == [4, 4, 2, 4]


def test_nncf_calibrates_on_windows_of_all_authors(part, prepared, openvino, monkeypatch):
    seen = []

    def quantize(model, data, **options):
        assert options["subset_size"] == len(data)
        seen.append([int(feeds["input_ids"][0, 0]) for feeds in data])
        return model

    def save(model, path, **_):
        path.touch()
        path.with_suffix(".bin").touch()

    preset, kind = SimpleNamespace(MIXED=0), SimpleNamespace(TRANSFORMER=0)
    monkeypatch.setitem(
        sys.modules,
        "nncf",
        SimpleNamespace(Dataset=list, quantize=quantize, QuantizationPreset=preset, ModelType=kind),
    )
    monkeypatch.setattr(sys.modules["openvino"], "save_model", save, raising=False)
    monkeypatch.setattr(
        sys.modules["openvino"].Core, "read_model", lambda self, path: SimpleNamespace(inputs=[ids]), raising=False
    )
    ids = SimpleNamespace(get_any_name=lambda: "input_ids")
    (prepared.path / "optimum").mkdir()
    (prepared.path / "optimum" / "model.onnx").touch()
    # As of ten authors with 100 windows each, one after another.
    file = prepared.path / "windows.npz"
    np.savez(file, ids=np.repeat(np.arange(1000, dtype=np.int32), 3), lengths=np.full(1000, 3, np.int32))
    settings = {"precision": "int8", "calibration": str(file)}
    for _ in range(2):
        part("peers.openvino.openvino_peer").make().prepare(prepared, settings)
        shutil.rmtree(prepared.path / "openvino")
    assert len(set(seen[0])) == 300
    assert {row // 100 for row in seen[0]} == set(range(10))
    assert seen[0] == seen[1]


def test_authorid_pays_for_its_journal_as_score_does(part, bundle, tmp_path):
    shutil.copytree(bundle.path, tmp_path / "bundle")
    peer = part("peers.ours.ours_peer").make()
    peer.settings = {"precision": "int8"}
    peer.load(part("peer_interface").Prepared(tmp_path), peer.settings, 1, 1)
    document, out = tmp_path / "a.txt", tmp_path / "out.csv"
    document.write_text("the engine of the loom\n")
    # Only a run that has a journal of its own takes the place of one that was interrupted.
    journal = tmp_path / "out.csv.journal"
    journal.touch()  # of a run that was cut short before its first byte was on the disk
    for _ in range(2):
        peer.score([str(document)], out, 1)
        assert [line.split(",")[2] for line in out.read_text().splitlines()] == ["status", "scored"]
        assert not journal.exists()


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_tfidf_has_a_process_a_core(part, tmp_path, monkeypatch):
    class Classifier:
        def predict(self, texts):
            time.sleep(0.02)
            return [f"{text} by {os.getpid()}" for text in texts]

    monkeypatch.setitem(sys.modules, "joblib", SimpleNamespace(load=lambda path: Classifier()))
    peer = part("peers.tfidf.tfidf_peer").make()
    peer.sessions = 2
    peer.load(part("peer_interface").Prepared(tmp_path), {"classifier": "fit"}, 2, 1)
    paths = [tmp_path / f"{index}.txt" for index in range(21)]
    for path in paths:
        path.write_text(f"text of {path.name}")
    try:
        peer.score([str(path) for path in paths], tmp_path / "out.csv", 1)
    finally:
        peer._pool.terminate()
    answers = [line.split(",")[1] for line in (tmp_path / "out.csv").read_text().splitlines()[1:]]
    assert [answer.split(" by ")[0] for answer in answers] == [f"text of {path.name}" for path in paths]
    processes = {answer.split(" by ")[1] for answer in answers}
    assert len(processes) == 2 and str(os.getpid()) not in processes
