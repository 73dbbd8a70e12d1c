"""The parts of the benchmark that can be tested without a clock."""

from __future__ import annotations

import hashlib
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from authorid.benchmark import generated_text, write_documents
from authorid.bundle.decision import Decision
from authorid.encoder.windows import load_windower
from authorid.reporter import SILENT

ROOT = Path(__file__).resolve().parents[2]


def test_the_generated_corpus_is_the_same_on_every_machine():
    # A change of the generator makes results incomparable with published ones: say so in docs/research/benchmarks.md.
    digest = hashlib.sha256(generated_text(300, 3).encode()).hexdigest()
    assert digest.startswith("6557653279139eb9")
    assert generated_text(12, 3) == generated_text(12, 3)
    assert generated_text(12, 3) != generated_text(12, 4)
    assert len(generated_text(500, 1).split()) == 500


def test_lengths_are_log_normal(tmp_path):
    paths = write_documents(tmp_path, 200, words=500)
    lengths = [len(path.read_text("utf-8").split()) for path in paths]
    assert len(set(paths)) == 200
    assert 400 < np.median(lengths) < 600
    assert min(lengths) < 250 and max(lengths) > 1000


def test_workload_labels_are_directories(part, tmp_path):
    workload = part("workloads").generated(tmp_path, 20)
    assert len(workload.documents) == 20
    assert sorted(set(workload.labels)) == [f"author-{index:02d}" for index in range(10)]
    again = part("workloads").generated(tmp_path / "again", 20)
    assert [path.read_text() for path in again.documents] == [path.read_text() for path in workload.documents]


def test_windows_are_read_back_as_cut(part, bundle, tmp_path):
    documents = write_documents(tmp_path / "docs", 5, words=40)
    cut = part("workloads").tokenize(documents, bundle.path, tmp_path / "w.npz")
    rows = part("peer_interface").read_windows(cut.windows)
    assert len(rows) == len(cut.owners)
    assert sum(map(len, rows)) == cut.tokens
    assert set(cut.owners) == set(range(5))


def test_tokens_of_text_count_once_and_only_where_they_are_read(part, bundle, tmp_path):
    documents = [tmp_path / "short.txt", tmp_path / "long.txt"]
    documents[0].write_text("the loom")
    documents[1].write_text("the engine of the loom " * 200)
    cut = part("workloads").tokenize(documents, bundle.path, tmp_path / "w.npz")
    short, long = load_windower(bundle).token_ids([path.read_text() for path in documents])
    assert cut.whole == (len(short), len(long)) and len(long) > 512
    # Peers see 512 tokens of which two are special.
    assert cut.beginnings == (len(short), 510)
    # Windows have special tokens and may overlap.
    assert cut.tokens >= sum(cut.whole) + 2 * len(cut.owners)


def test_work_is_shared_and_errors_come_back(part):
    seen = []
    part("peer_interface").in_parallel(3, range(20), lambda worker, item: seen.append(item))
    assert sorted(seen) == list(range(20))
    with pytest.raises(ZeroDivisionError):
        part("peer_interface").in_parallel(2, range(4), lambda worker, item: 1 // 0)


def test_decisions_are_those_of_the_runtime(part):
    from authorid.scoring.posterior import posterior

    logits = np.random.default_rng(0).normal(0, 3, (7, 5)).astype(np.float32)
    probabilities = posterior(logits, Decision())
    best, probability = part("peer_interface").decide(logits)
    assert best == probabilities.argmax()
    assert probability == pytest.approx(probabilities.max())


def test_the_limit_counts_multiply_adds(part):
    geometry = {"hidden_dim": 384, "intermediate_dim": 1536, "num_layers": 6}
    work = part("roofline").encoder_work(geometry, 128, "mean")
    # Six layers of 12 h^2 weights, two operations each; QK and PV are 2 s h multiply-adds.
    assert work["linear"] == 6 * 2 * 12 * 384**2
    assert work["attention"] == 6 * 2 * 2 * 128 * 384
    limits = part("roofline").limits({"int8_gops": 1000, "fp32_gops": 100, "copy_gbs": 10}, geometry, 128, "mean")
    assert limits["fp32"] == pytest.approx(1e11 / (work["linear"] + work["attention"]), rel=1e-3)
    assert limits["fp32"] < limits["int8"] < 1e12 / work["linear"]


def test_the_limit_knows_which_tokens_the_last_layer_needs(part):
    geometry = {"hidden_dim": 384, "intermediate_dim": 1536, "num_layers": 6}
    work = part("roofline").encoder_work(geometry, 128, "first")
    # Of the last layer keys and values of 128 tokens; queries, attention, output and feed-forward of one.
    assert 128 * work["linear"] == 2 * 384**2 * (5 * 128 * 12 + 128 * 2 + 10)
    assert 128 * work["attention"] == 2 * 2 * 128 * 384 * (5 * 128 + 1)
    # Every weight is read all the same.
    assert work["weights"] == part("roofline").encoder_work(geometry, 128, "mean")["weights"] == 6 * 12 * 384**2
    rates = {"int8_gops": 1000, "fp32_gops": 100, "copy_gbs": 10}
    first, mean = (part("roofline").limits(rates, geometry, 128, pooling) for pooling in ("first", "mean"))
    assert first["int8"] > 1.1 * mean["int8"]


def test_the_limit_knows_what_a_funnel_leaves_out(part):
    geometry = {"hidden_dim": 384, "intermediate_dim": 1536, "num_layers": 6}
    work = part("roofline").encoder_work(geometry, 127, "first", funnel=True)
    # Two whole layers; one in which 64 of 127 tokens ask all; two among 64; of the last keys and values of 64.
    linear = 2 * 127 * 12 + (127 * 2 + 64 * 10) + 2 * 64 * 12 + (64 * 2 + 10)
    assert 127 * work["linear"] == pytest.approx(2 * 384**2 * linear)
    assert 127 * work["attention"] == pytest.approx(2 * 2 * 384 * (2 * 127**2 + 64 * 127 + 2 * 64**2 + 64))
    # A single layer has no third before it.
    one = {**geometry, "num_layers": 1}
    for pooling in ("first", "mean"):
        alike = [part("roofline").encoder_work(one, 128, pooling, funnel=funnel) for funnel in (True, False)]
        assert alike[0] == alike[1]


def test_an_environment_that_cannot_be_installed_is_a_reason(part, tmp_path, monkeypatch):
    environments = part("environments")

    def fail(command, stdout, **_):
        stdout.write("ERROR: No matching distribution found for not-there\n")
        stdout.flush()
        raise subprocess.CalledProcessError(1, command)

    monkeypatch.setattr(environments.subprocess, "run", fail)
    found = environments.ensure("tfidf", tmp_path, SILENT)
    assert found.python is None
    assert found.reason == "ERROR: No matching distribution found for not-there"
    assert not (tmp_path / "tfidf" / "ready").exists()


def test_the_first_run_always_takes_place_and_those_without_time_are_named(part, monkeypatch, tmp_path):
    command = part("__main__")
    (tmp_path / "C50test" / "Ada").mkdir(parents=True)
    for number in range(150):
        (tmp_path / "C50test" / "Ada" / f"{number}.txt").write_text("the engine\n")
    measured = []
    monkeypatch.setattr(command, "_roofline", lambda _: (None, "not here"))
    monkeypatch.setattr(command, "_model", lambda _: SimpleNamespace(name="m", bundle=tmp_path))
    monkeypatch.setattr(command, "_measure", lambda _, planned, roofline: measured.append(planned.name) or {"rows": []})
    monkeypatch.setattr(command, "measure_scaling", lambda *_: [])
    wanted = command._arguments(["--threads", "1"])
    environments = {name: SimpleNamespace(python=None, reason=None, seconds=0.0) for name in ("ours", "keras")}
    over = time.monotonic() - 1
    record = command._run(command._Session(wanted, ("keras",), environments, tmp_path, tmp_path, SILENT, over))
    assert measured == ["m on C50test"]
    assert record["not_begun"] == ["m on generated", "DistilBERT-base on generated"]


def test_the_report_names_what_is_missing(part):
    record = {
        "date": "2026-01-01T00:00:00+00:00", "minutes": 1.0, "roofline": None, "scaling": [],
        "not_begun": ["DistilBERT"],
        "machine": {"cpu": "X", "cores": 2, "threads": 2, "memory_gb": 4, "versions": {"python": "3"}},
        "runs": [{
            "model": {"name": "m", "weights": "random", "window": 128},
            "workload": {
                "name": "w", "documents": 1, "windows": 1, "tokens": 5, "text_tokens": 3, "truncated_tokens": 3,
            },
            "limits": None, "skipped": ["windows of the repeated system", "grid"],
            "repeatability": {"system": "a", "documents": 0.9, "within_5_percent": False},
            "rows": [{"system": "a", "label": "A", "ok": False, "reason": "no wheel", "peer": "a"}],
        }],
    }  # fmt: skip
    text = part("markdown_report").markdown(record)
    assert "Not measured: A: no wheel" in text
    assert "Not measured for want of time: grid" in text
    assert "Not begun for want of time: DistilBERT." in text
    assert "second over first: documents 0.900 (NOT within 5 %: distrust this table)" in text


def test_the_report_has_the_ratios_of_medians(part):
    def spread(rate):
        return {"median": rate, "min": rate, "max": rate}

    def row(name, peer, rate, documents, tokens, p50):
        return {
            "system": name, "label": name.upper(), "peer": peer, "ok": True, "precision": None, "sessions": 2,
            "threads": 1, "batch_windows": 4, "windows": {"tokens_per_second": spread(rate)},
            "documents": {"tokens_per_second": spread(tokens), "documents_per_second": spread(documents)},
            "latency_ms": {"p50": p50, "p99": p50},
        }  # fmt: skip

    rows = [row("ours-int8", "ours", 300.0, 8.0, 900.0, 2.0), row("slow", "torch", 100.0, 5.0, 225.0, 5.0)]
    _, columns, _, ratios = part("markdown_report")._ratios(rows)
    assert [column.split(": ")[-1] for column in columns.strip("| ").split(" | ")[1:]] == [
        "windows",
        "whole documents, documents/s",
        "whole documents, tokens/s",
        "one window",
    ]
    assert ratios == "| SLOW | 3.00 | 1.60 | 4.00 | 2.50 |"
    for missing in ("windows", "latency_ms"):
        del rows[1][missing]
    assert part("markdown_report")._ratios(rows)[-1] == "| SLOW |  | 1.60 | 4.00 |  |"
    assert part("markdown_report")._ratios(rows[:1]) == []


def test_every_library_gets_the_thread_limit(part, tmp_path):
    environment = part("processes").child_environment(3, tmp_path)
    # By the names that TensorFlow reads.
    for name in ("OMP_NUM_THREADS", "RAYON_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS"):
        assert environment[name] == "3"
