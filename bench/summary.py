"""What a record holds of the machine and of each run."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from authorid.machine import available_cores, cpu_name
from authorid.scoring.stats import versions
from bench.environments import OURS, Environment
from bench.processes import ROOT, child_environment
from bench.roofline import limits
from bench.runner import Runner
from bench.systems import REPEAT

__all__ = ["machine", "matmul_rates", "summary"]


def machine(threads: int) -> dict[str, Any]:
    """The processor, the memory, and the versions of what authorid uses."""
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "threads": threads,
        "memory_gb": round(pages / 2**30),
        "versions": versions(),
    }


def matmul_rates(
    environments: Mapping[str, Environment], threads: int, seconds: float, cache: Path
) -> tuple[dict[str, float] | None, str | None]:
    """Rates of this machine, measured in an environment that has onnx and onnxruntime; or why there are none."""
    reason = None
    for name in (OURS, "keras", "optimum"):
        environment = environments.get(name)
        if environment is None or environment.python is None:
            continue
        run = subprocess.run(
            [str(environment.python), "-m", "bench.roofline", "--threads", str(threads), "--seconds", str(seconds)],
            cwd=ROOT,
            env={**child_environment(1, cache)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if run.returncode == 0:
            rates: dict[str, float] = json.loads(run.stdout)
            return rates, None
        reason = (run.stderr.strip().splitlines() or ["failed"])[-1]
    return None, reason


def summary(runner: Runner, rows: list[dict[str, Any]], rates: dict[str, float] | None) -> dict[str, Any]:
    """One run of the record; every row also as a fraction of the machine's limit."""
    model = runner.model
    bounds = funnel_bounds = None
    if rates and model.geometry:
        sizes = model.geometry, model.length, model.pooling
        bounds = limits(rates, *sizes)
        funnel_bounds = limits(rates, *sizes, funnel=True) if model.funnel else None
    for row in rows:
        rate = row.get("windows", {}).get("tokens_per_second", {}).get("median")
        of = bounds if row.get("same_function", not model.funnel) else funnel_bounds
        if of and rate:
            row["of_int8_limit"] = round(rate / of["int8"], 4)
            own = of.get(row["precision"] or "")
            row["of_own_limit"] = round(rate / own, 4) if own else None
    return {
        "model": {
            "name": model.name,
            "weights": "trained" if model.trained else "random",
            "window": model.length,
            "peers_read": model.truncate,
            "whole_documents": model.truncate != model.length,
            "geometry": model.geometry,
            "pooling": model.pooling,
            "funnel": model.funnel,
            "authors": len(model.author_names),
        },
        "workload": {
            "name": runner.workload.name,
            "documents": len(runner.workload.documents),
            "windows": len(runner.tokenized.owners),
            "tokens": runner.tokenized.tokens,
            "text_tokens": sum(runner.tokenized.whole),
            "truncated_tokens": sum(runner.tokenized.beginnings),
        },
        "seconds": {name: round(seconds, 1) for name, seconds in runner.seconds.items()},
        "limits": bounds,
        "funnel_limits": funnel_bounds,
        "rows": [row for row in rows if row["system"] != REPEAT],
        "repeatability": _repeatability(rows),
    }


def _repeatability(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How far one system is from itself, measured twice."""
    by_name = {row["system"]: row for row in rows}
    first, second = by_name.get("ours-int8", {}), by_name.get(REPEAT, {})
    ratios = {}
    for measurement in ("windows", "documents"):
        rates = [row.get(measurement, {}).get("tokens_per_second", {}).get("median") for row in (first, second)]
        if all(rates):
            ratios[measurement] = round(rates[1] / rates[0], 4)
    if not ratios:
        return None
    good = all(abs(ratio - 1) <= 0.05 for ratio in ratios.values())
    return {"system": "ours-int8", **ratios, "within_5_percent": good, "rows": [first, second]}
