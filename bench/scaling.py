"""How `authorid score` scales: its speed and memory on more and more short documents."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from authorid.reporter import Reporter
from bench.processes import child_environment
from bench.workloads import short_documents

__all__ = ["measure_scaling"]


def measure_scaling(
    bundle: Path, corpus: Path, counts: Sequence[int], config: dict[str, Any], cache: Path, reporter: Reporter
) -> Iterator[dict[str, Any]]:
    """Run the whole command once for each of `counts`; yields the speed and peak memory of each run.

    `config` has ``sessions``, ``threads`` (of each session) and ``total_threads``. Raises `subprocess.SubprocessError`.
    """
    short_documents(corpus, max(counts), reporter)
    for count in counts:
        reporter.info(f"scaling: {count} documents")
        paths = cache / "out" / "scale.txt"
        names = (f"{index // 1000:03d}/{index:06d}.txt" for index in range(count))
        paths.write_text("".join(f"{corpus / name}\n" for name in names), "utf-8")
        stats = cache / "out" / "scale.json"
        # -P: the working directory may be a checkout.
        command = [sys.executable, "-P", "-m", "authorid", "score", "-", "--model", str(bundle), "--quiet"]
        command += ["--out", str(cache / "out" / "scale.csv"), "--force", "--stats", str(stats)]
        command += ["--workers", str(config["sessions"]), "--threads", str(config["threads"])]
        started = time.perf_counter()
        with paths.open("rb") as stdin:
            subprocess.run(
                command, stdin=stdin, check=True, env=child_environment(config["total_threads"], cache), timeout=1800
            )
        seconds = time.perf_counter() - started
        record = json.loads(stats.read_text("utf-8"))
        yield {
            "documents": record["documents"],
            "process_seconds": round(seconds, 3),
            "seconds": record["wall_seconds"],
            "documents_per_second": record["documents_per_second"],
            "tokens_per_second": record["tokens_per_second"],
            "peak_rss_mb": record["peak_rss_mb"],
        }
