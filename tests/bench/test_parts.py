"""The parts of the benchmark that can be tested without a clock."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path

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
    assert part("workloads").tokenize(documents, bundle.path, tmp_path / "w.npz", 64).beginnings == (len(short), 62)


def test_a_part_has_the_windows_of_its_documents(part, bundle, tmp_path):
    documents = write_documents(tmp_path / "docs", 6, words=40)
    whole = part("workloads").tokenize(documents, bundle.path, tmp_path / "w.npz")
    chosen = part("workloads").part_of(whole, [1, 4])
    rows, kept = (part("peer_interface").read_windows(cut.windows) for cut in (whole, chosen))
    expected = [row for row, owner in zip(rows, whole.owners, strict=True) if owner in (1, 4)]
    assert [row.tolist() for row in kept] == [row.tolist() for row in expected]
    assert chosen.owners == tuple({1: 0, 4: 1}[owner] for owner in whole.owners if owner in (1, 4))
    assert chosen.tokens == sum(map(len, kept))
    assert chosen.whole == (whole.whole[1], whole.whole[4])


def test_batches_are_filled_up_with_the_padding_of_the_model(part):
    ids, mask = part("peer_interface").pad([np.array([5, 6, 7]), np.array([8])], 1)
    assert ids.tolist() == [[5, 6, 7], [8, 1, 1]]
    assert mask.tolist() == [[1, 1, 1], [1, 0, 0]]


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


@pytest.mark.parametrize(
    ("arguments", "peers", "environments"),
    [
        ([], "all", "ours"),
        (["--peers", "none"], "", "ours"),
        (["--peers", "none", "--model", "run"], "", "keras ours"),
        (["--geometry", "distilbert-base"], "torch optimum openvino ours_openvino", "ours"),
        (["--model", "classifier"], "torch optimum openvino ours_openvino", "ours"),
        (["--model", "classifier", "--peers", "openvino"], "openvino optimum", "ours"),
        (["--model", "classifier", "--peers", "optimum,keras"], "optimum keras", "ours"),
    ],
)
def test_peers_that_can_load_the_model_take_part(part, monkeypatch, tmp_path, arguments, peers, environments):
    command = part("__main__")
    for name, file in (("run", "run.json"), ("classifier", "config.json")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(command, "exports_here", lambda: True)
    everybody = part("environments").PEERS
    options = command._arguments(arguments)
    chosen = command._peers(options)
    assert chosen == (everybody if peers == "all" else tuple(peers.split()))
    assert command._needed(options, chosen) == [*chosen, *environments.split()]


def test_keras_is_installed_where_it_is_needed_for_the_export(part, monkeypatch):
    command = part("__main__")
    monkeypatch.setattr(command, "exports_here", lambda: False)
    options = command._arguments(["--geometry", "distilbert-base", "--peers", "optimum"])
    assert command._needed(options, ("optimum",)) == ["optimum", "keras", "ours"]


def test_processes_find_the_authorid_that_runs_and_nothing_else_of_its_environment(part, tmp_path):
    place = part("environments").link_authorid(tmp_path / "installed")
    assert part("environments").link_authorid(place) == place  # a second time too
    environment = part("processes").child_environment(1, tmp_path) | {"PYTHONSAFEPATH": "1"}
    code = "import authorid.errors, authorid.export, authorid.models as m; print(m.__file__, m.default_bundle())"
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert [Path(path).is_relative_to(place) for path in done.stdout.split()] == [True, True]
    assert [path.name for path in place.iterdir()] == ["authorid"]


def test_the_checkout_hides_no_installed_authorid(tmp_path):
    package = tmp_path / "site" / "authorid"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    code = "import bench, authorid; print(authorid.__file__)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONSAFEPATH"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env={**environment, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == str(package / "__init__.py")


def test_requirements_that_are_included_count(part, tmp_path):
    (tmp_path / "a.txt").write_text("x==1\n-r b.txt\n")
    (tmp_path / "b.txt").write_text("y==2\n")
    files = part("environments")._files(tmp_path / "a.txt")
    assert [path.name for path in files] == ["a.txt", "b.txt"]


def test_the_report_names_what_is_missing(part):
    record = {
        "date": "2026-01-01T00:00:00+00:00", "roofline": None, "scaling": [],
        "seconds": {"preparing": 5.0, "sweeps": 12.0, "rounds": 80.0, "whole": 96.0},
        "machine": {"cpu": "X", "cores": 2, "threads": 2, "memory_gb": 4, "versions": {"python": "3"}},
        "runs": [{
            "model": {"name": "m", "weights": "random", "window": 128, "whole_documents": False, "peers_read": 128},
            "workload": {
                "name": "w", "documents": 1, "windows": 1, "tokens": 5, "text_tokens": 3, "truncated_tokens": 3,
            },
            "limits": None, "seconds": {"sweeps": 12.0, "rounds": 80.0},
            "repeatability": {"system": "a", "documents": 0.9, "within_5_percent": False},
            "rows": [{"system": "a", "label": "A", "ok": False, "reason": "no wheel", "peer": "a"}],
        }],
    }  # fmt: skip
    text = part("markdown_report").markdown(record)
    assert "Not measured: A: no wheel" in text
    assert "Measuring took 96 s: sweeps 12 s (12%), starts, warm-up and rounds 80 s." in text
    assert "### m on w, cut to 128 tokens" in text
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
