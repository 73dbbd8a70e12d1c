"""The benchmark runs from start to end: our own systems, a few documents, no peers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from authorid.bundle.manifest import Bundle

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bench", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=300
    )


@pytest.fixture(scope="module")
def record(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> dict:
    target = tmp_path_factory.mktemp("bench")
    done = run(
        "--quick", "--peers", "none", "--bundle", str(bundle.path),
        "--cache", str(target / "cache"), "--json", str(target / "quick.json"),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == (target / "quick.md").read_text("utf-8")
    return json.loads((target / "quick.json").read_text("utf-8"))


def test_the_record_has_its_schema(record):
    assert (record["schema"], record["kind"]) == (6, "authorid peers bench")
    assert set(record) == {
        "schema", "kind", "date", "machine", "settings", "environments", "roofline", "roofline_reason", "runs",
        "scaling", "seconds", "minutes",
    }  # fmt: skip
    assert set(record["machine"]) == {"cpu", "cores", "threads", "memory_gb", "versions"}
    assert set(record["roofline"]) == {"int8_gops", "fp32_gops", "copy_gbs"}
    assert all(rate > 0 for rate in record["roofline"].values())
    (entry,) = record["runs"]
    assert set(entry) == {"model", "workload", "seconds", "limits", "funnel_limits", "rows", "repeatability"}
    seconds = record["seconds"]
    assert set(seconds) == {"preparing", "sweeps", "rounds", "whole"}
    assert 0 < seconds["sweeps"] < seconds["rounds"] and sum(entry["seconds"].values()) < seconds["whole"]


def test_a_row_has_every_measurement(record):
    row = next(row for row in record["runs"][0]["rows"] if row["system"] == "ours-int8")
    assert row["ok"] and row["reason"] is None
    for measure in ("windows", "documents"):
        rate = row[measure]["tokens_per_second"]
        assert 0 < rate["min"] <= rate["median"] <= rate["max"] and rate["rounds"] == 3
    assert row["rounds"] == {"documents": "3", "windows": "3", "latency": "3"}
    workload = record["runs"][0]["workload"]
    assert workload["documents"] == 10
    for measure, tokens in (("windows", workload["tokens"]), ("documents", workload["text_tokens"])):
        assert 0 < row[measure]["documents"] <= 10 and 0 < row[measure]["tokens"] <= tokens
    assert 0 < row["latency_ms"]["p50"] <= row["latency_ms"]["p99"]
    assert len(row["latency_ms"]["cdf"]) == 101
    assert row["peak_rss_mb"] > 0 and row["start_up_seconds"] > 0


def test_a_system_that_cannot_take_part_has_a_row_with_the_reason(record):
    rows = {row["system"]: row for row in record["runs"][0]["rows"]}
    assert not rows["ours-fp32"]["ok"]
    assert "no fp32 graph" in rows["ours-fp32"]["reason"]


def test_repeatability_is_measured(record):
    repeated = record["runs"][0]["repeatability"]
    assert repeated["windows"] > 0 and repeated["documents"] > 0
    assert isinstance(repeated["within_5_percent"], bool)


def test_scaling_counts_documents_and_memory(record):
    assert [row["documents"] for row in record["scaling"]] == [20, 100]
    assert all(row["peak_rss_mb"] > 0 and row["documents_per_second"] > 0 for row in record["scaling"])


def test_unknown_peers_are_refused():
    done = run("--peers", "nobody")
    assert done.returncode == 1
    assert "unknown peers: nobody" in done.stderr
