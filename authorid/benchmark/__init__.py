"""Speed of a model on this machine: the library behind ``authorid bench``.

It measures the latency and throughput of the encoder by provider, precision and threads, and a complete run over
documents. It needs only what `score` needs. ``python -m bench``, in a checkout, compares with other toolkits.
"""

from __future__ import annotations

from authorid.benchmark.generated_documents import generated_text, generated_words, write_documents
from authorid.benchmark.model_benchmark import SCHEMA, BenchOptions, run_benchmark
from authorid.benchmark.speed_tables import tables

__all__ = [
    "SCHEMA",
    "BenchOptions",
    "generated_text",
    "generated_words",
    "run_benchmark",
    "tables",
    "write_documents",
]
