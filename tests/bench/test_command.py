from __future__ import annotations

import hashlib
import json
import shutil
import time
from typing import ClassVar

import pytest
from click.testing import CliRunner
from command import run
from fusion_bundle import make_fusion_bundle
from json_records import write_record
from recording import RecordingReporter

from authorid.benchmark import BenchOptions, run_benchmark, tables
from authorid.benchmark.encoder_speed import EncoderBenchmark
from authorid.cli.app import app
from authorid.encoder.engine_options import DEFAULT_BATCH_TOKENS
from authorid.errors import AuthoridError, BundleLacksError


def test_bench_shows_tables_and_writes_json(bundle, tmp_path):
    documents = tmp_path / "docs"
    documents.mkdir()
    (documents / "a.txt").write_text("the engine of the loom\n" * 20)
    target = tmp_path / "bench.json"
    done = CliRunner().invoke(
        app,
        [
            "bench",
            "--model",
            str(bundle.path),
            "--documents",
            str(documents),
            "--json",
            str(target),
            "--seconds",
            "0.5",
        ],
    )
    assert done.exit_code == 0, done.output
    for title in ("Latency of one batch", "Throughput of the encoder", "Documents, end to end", "histogram"):
        assert title in done.stderr
    record = json.loads(target.read_text("utf-8"))
    assert (record["schema"], record["kind"]) == (2, "authorid bench")
    assert set(record) == {
        "schema", "kind", "date", "cpu", "cores", "versions", "model", "unavailable", "latency", "histogram",
        "throughput", "documents", "peak_rss_mb",
    }  # fmt: skip
    assert record["documents"]["documents"] == 1
    assert record["documents"]["source"] == str(documents)


def test_latency_for_single_and_batched_windows(bundle):
    record = run_benchmark(bundle.path, BenchOptions(seconds=0.3, generated=5))
    assert {row["batch"] for row in record["latency"]} == {1, 8, 32}
    assert sum(record["histogram"]["counts"]) > 0
    assert len(record["histogram"]["edges_ms"]) == len(record["histogram"]["counts"]) + 1
    assert all(row["slowest"] <= row["tokens_per_second"] <= row["fastest"] for row in record["throughput"])
    assert record["documents"]["source"] == "generated"
    assert all(len(row) == len(columns) for _, columns, rows in tables(record) for row in rows)


def test_the_batches_tried_are_about_the_default_of_score(bundle):
    record = run_benchmark(bundle.path, BenchOptions(seconds=0.3, generated=5))
    tried = {row["batch_tokens"] for row in record["throughput"] if row["provider"] == "cpu"}
    assert tried == {DEFAULT_BATCH_TOKENS["cpu"] * times // 2 for times in (1, 2, 4, 8)}


def test_batches_for_which_there_is_no_time_are_left_out():
    class SlowEngine:
        workers, threads, provider, precision, batch_tokens = 1, 1, "cpu", "int8", 512
        tokens: ClassVar[list[int]] = []

        def run(self, ids):
            self.tokens.append(ids.size)
            time.sleep(ids.size / 512 * 0.01)

    def batches(length, seconds):
        SlowEngine.tokens.clear()
        rows, single = EncoderBenchmark([SlowEngine()], length, 100).latency(seconds)
        assert len(single) == rows[0]["calls"] >= 2
        assert set(SlowEngine.tokens) == {row["batch"] * length for row in rows}
        return [row["batch"] for row in rows]

    assert batches(512, 0.02) == [1]
    # 32 windows of 512 tokens are too many, whatever time there is.
    assert batches(512, 1.0) == [1, 8]
    assert batches(16, 1.0) == [1, 8, 32]


def test_what_cannot_be_measured_is_refused_before_the_work(bundle, tmp_path):
    with pytest.raises(AuthoridError, match="nothing at that path"):
        run_benchmark(bundle.path, BenchOptions(documents=tmp_path / "none"))
    copy = tmp_path / "copy"
    shutil.copytree(bundle.path, copy)
    record = json.loads((copy / "authorid.json").read_text("utf-8"))
    expert = tmp_path / "ngrams.safetensors"
    expert.write_bytes(b"")
    record |= {"graphs": {}, "ngrams": expert.name, "decision": {**record["decision"], "rule": "fusion"}}
    record["files"][expert.name] = hashlib.sha256(b"").hexdigest()
    shutil.copy(expert, copy)
    write_record(copy / "authorid.json", record)
    with pytest.raises(BundleLacksError, match="no encoder to measure"):
        run_benchmark(copy)


@pytest.mark.parametrize("command", [["bench"], ["evaluate", "model", "corpus"]])
def test_a_place_for_the_record_that_is_none_is_refused_before_the_work(command, tmp_path):
    done = run(*command, "--json", tmp_path / "none" / "record.json")
    assert done.returncode == 1
    assert "record.json: cannot write there: no such file or directory" in done.stderr


def test_a_model_whose_encoder_has_no_weight_is_measured_with_a_warning(tmp_path):
    pytest.importorskip("scipy")
    from authorid.training.ngram_run import export_ngrams

    make_fusion_bundle(tmp_path)
    bundle = export_ngrams(tmp_path / "run", tmp_path / "weightless", encoder=tmp_path / "encoder", weight=0.0)
    reporter = RecordingReporter()
    record = run_benchmark(bundle.path, BenchOptions(seconds=0.3, generated=5), reporter=reporter)
    assert reporter.warnings == [
        "the encoder has the weight 0 in this model: the n-grams score the documents without it"
    ]
    documents = record["documents"]
    assert (documents["options"], documents["effort"], documents["precision"]) == (None, "fast", "ngrams")
    assert "Documents, end to end, effort fast" in [title for title, _, _ in tables(record)]
