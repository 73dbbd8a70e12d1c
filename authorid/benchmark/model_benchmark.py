"""Measure how fast a model is on this machine: the encoder alone, and documents from end to end."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from authorid.benchmark.encoder_speed import EncoderBenchmark, latency_histogram, open_engines
from authorid.benchmark.generated_documents import write_documents
from authorid.bundle.manifest import Bundle, load_bundle
from authorid.encoder.engine_options import EngineOptions
from authorid.errors import AuthoridError, BundleLacksError
from authorid.machine import available_cores, cpu_name, peak_rss_mb
from authorid.reporter import SILENT, Reporter
from authorid.scoring.scorer import Scorer
from authorid.scoring.stats import RunStats, versions

__all__ = ["SCHEMA", "BenchOptions", "run_benchmark"]

SCHEMA = 2
"""Version of the record that `run_benchmark` returns."""


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure: for about `seconds`, the files below `documents`, or `generated` documents when it is None."""

    documents: Path | None = None
    seconds: float = 40.0
    generated: int = 200


def run_benchmark(
    model: str | os.PathLike[str] | None = None,
    options: BenchOptions = BenchOptions(),
    *,
    reporter: Reporter = SILENT,
) -> dict[str, Any]:
    """Measure the bundle in directory `model`, or the embedded one when it is None, and return a record for JSON.

    `reporter` gets a message when each measurement begins. Raises `BundleError` when the bundle cannot be used or has
    no encoder, `EngineError` when it cannot be run, and `AuthoridError` when the documents do not exist.
    """
    if model is None:
        from authorid.models import default_bundle

        model = default_bundle()
    bundle = load_bundle(Path(model))
    if not bundle.graphs:
        raise BundleLacksError(f"{bundle.path}: n-grams only, no encoder to measure; score --stats has their speed")
    if options.documents is not None and not options.documents.exists():
        raise AuthoridError(f"{options.documents}: there is nothing at that path")
    record = _description(bundle)
    engines, record["unavailable"] = open_engines(bundle, reporter)
    encoder = EncoderBenchmark.of(bundle, engines)
    reporter.info("measuring the latency of single batches")
    record["latency"], times = encoder.latency(options.seconds / 3)
    record["histogram"] = latency_histogram(times)
    reporter.info("measuring throughput")
    record["throughput"] = encoder.throughput(options.seconds / 3)
    del engines, encoder  # frees their memory before the end-to-end run
    reporter.info("scoring documents from end to end")
    if bundle.ngrams is not None and not bundle.decision.encoder_weight:
        reporter.warning("the encoder has the weight 0 in this model: the n-grams score the documents without it")
    record["documents"] = _score_documents(bundle, _fastest(record["throughput"]), options, options.seconds / 3)
    record["peak_rss_mb"] = peak_rss_mb()
    return record


def _description(bundle: Bundle) -> dict[str, Any]:
    """What is measured, on which machine."""
    return {
        "schema": SCHEMA,
        "kind": "authorid bench",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "cpu": cpu_name(),
        "cores": available_cores(),
        "versions": versions(),
        "model": {
            "name": bundle.name,
            "type": bundle.model_type,
            "authors": len(bundle.authors),
            "window": bundle.window.length,
            "graphs": {key: bundle.files[name] for key, name in bundle.graphs.items()},
        },
    }


def _fastest(throughput: Sequence[dict[str, Any]]) -> EngineOptions:
    """The options of the fastest row."""
    row = max(throughput, key=lambda row: float(row["tokens_per_second"]))
    return EngineOptions(row["precision"], row["workers"], row["threads"], row["batch_tokens"], row["provider"])


def _score_documents(bundle: Bundle, engine: EngineOptions, options: BenchOptions, seconds: float) -> dict[str, Any]:
    """Score documents as ``authorid score`` does, for about `seconds`, and return the statistics of the run."""
    scorer = Scorer(bundle, engine)
    with tempfile.TemporaryDirectory(prefix="authorid-bench-") as scratch:
        source = options.documents
        if source is None:
            source = Path(scratch)
            write_documents(source, options.generated)
        stats = RunStats()
        started = time.perf_counter()
        complete = True
        for _ in scorer.score([source], stats=stats):
            if time.perf_counter() - started > seconds:
                complete = False
                break
        wall = time.perf_counter() - started
    return {
        "source": "generated" if options.documents is None else str(options.documents),
        "complete": complete,
        "options": None if scorer.engine is None else asdict(engine),
        **stats.report(wall, scorer.describe()),
    }
