"""``python -m bench``: authorid against its peers. Results go to bench/results: JSON, a Markdown table, plots.

``python -m bench accuracy`` measures accuracy with few documents, short texts and many authors, beside baselines.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from authorid.errors import AuthoridError
from authorid.machine import available_cores, cpu_name
from authorid.reporter import Reporter
from authorid.scoring.stats import versions
from bench.environments import OURS, PEERS, Environment, ensure
from bench.markdown_report import markdown
from bench.plan import Cell, Plan
from bench.prepared_models import PreparedModel, WeightSource, from_bundle, prepare
from bench.processes import ROOT, child_environment
from bench.roofline import limits
from bench.runner import Runner
from bench.scaling import measure_scaling
from bench.systems import REPEAT, SYSTEMS
from bench.workloads import Workload, c50, find_c50, generated, tokenize

SCHEMA = 5

_GRID = tuple(Cell(batch, length) for length in (64, 128, 256, 512) for batch in (1, 2, 4, 8, 32))
_SMALL_GRID = tuple(Cell(batch, length) for length in (128, 512) for batch in (1, 8))
_COUNTS = (100, 1_000, 2_000, 20_000, 100_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 when at least our own results are there."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "accuracy":
        from bench.accuracy import main as measure_accuracy

        return measure_accuracy(arguments[1:])
    options = _arguments(arguments)
    started = time.monotonic()
    reporter = _Clock(started, quiet=options.silent)
    cache: Path = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    peers = _peers(options.peers, quick=options.quick)
    # Keras makes the weights, whichever systems take part.
    needed = dict.fromkeys((*peers, *(["keras"] if peers or options.model else []), OURS))
    environments = {peer: ensure(peer, (options.envs or cache / "envs").resolve(), reporter) for peer in needed}
    for peer, environment in environments.items():
        if environment.reason:
            reporter.info(f"no environment for {peer}: {environment.reason}")
    try:
        deadline = started + 60 * options.minutes
        record = _run(_Session(options, peers, environments, cache, find_c50(ROOT), reporter, deadline))
    except AuthoridError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    record["minutes"] = round((time.monotonic() - started) / 60, 2)
    target: Path = options.json or ROOT / "bench" / "results" / ("quick.json" if options.quick else "peers.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    table = markdown(record)
    target.with_suffix(".md").write_text(table, "utf-8")
    if not options.quick:
        _plot(target, environments, reporter)
    sys.stdout.write(table)
    reporter.info(f"written: {target}")
    rows = [row for run in record["runs"] for row in run["rows"]]
    return 0 if any(row["ok"] and row["peer"] == OURS for row in rows) else 1


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    epilog = "There is another command, with options of its own: python -m bench accuracy --help"
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=epilog)
    add = parser.add_argument
    add("--model", type=Path, metavar="RUN", help="training run to take the weights from; default: random weights")
    add("--bundle", type=Path, help="bundle of RUN or of a similar run; with --peers none, any; default: export RUN")
    add("--peers", default=None, metavar="NAMES", help=f"all, none, or some of {','.join(PEERS)}")
    add("--workload", choices=("auto", "c50", "generated"), default="auto", help="auto: C50 if present, and generated")
    add("--quick", action="store_true", help="a smoke test of a minute: a few documents, no peers unless named")
    add("--json", type=Path, metavar="FILE", help="where the results go (.md and plots beside it)")
    add("--envs", type=Path, metavar="DIR", help="where the peers' environments are; default: in the cache")
    add("--cache", type=Path, metavar="DIR", default=ROOT / ".cache" / "bench", help="models, corpora, logs")
    add("--threads", type=int, default=available_cores(), help="cores for each system; default: all")
    add("--minutes", type=float, default=36.0, help="begin no measurement after this time")
    add("--silent", action="store_true", help="no progress on standard error")
    return parser.parse_args(arguments)


def _peers(names: str | None, *, quick: bool) -> tuple[str, ...]:
    if names == "none" or (names is None and quick):
        return ()
    if names in (None, "all"):
        return PEERS
    chosen = tuple(name.strip() for name in str(names).split(","))
    unknown = set(chosen) - set(PEERS)
    if unknown:
        raise SystemExit(f"unknown peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    # OpenVINO runs the graph that optimum exports.
    return (*chosen, "optimum") if "openvino" in chosen and "optimum" not in chosen else chosen


class _Clock:
    """A `Reporter` that writes messages to standard error, with the time since the start."""

    def __init__(self, started: float, *, quiet: bool) -> None:
        self._started = started
        self._quiet = quiet

    def info(self, message: str) -> None:
        """Write one line."""
        if not self._quiet:
            minutes, seconds = divmod(int(time.monotonic() - self._started), 60)
            sys.stderr.write(f"{minutes:3d}:{seconds:02d}  {message}\n")

    def warning(self, message: str) -> None:
        """Write one line."""
        self.info(f"warning: {message}")

    def progress(self, done: int, total: int | None = None, detail: str = "") -> None:
        """Ignored: messages tell enough."""


@dataclass(frozen=True, slots=True)
class _Session:
    """What was asked for, and what there is. `deadline` is a time of `time.monotonic`."""

    options: argparse.Namespace
    peers: tuple[str, ...]
    environments: dict[str, Environment]
    cache: Path
    c50: Path | None
    reporter: Reporter
    deadline: float


@dataclass(frozen=True, slots=True)
class _PlannedRun:
    """A run to come. `model` prepares the weights when it begins; `sweeps` is shared with other runs."""

    name: str
    model: Callable[[], PreparedModel]
    workload: Workload
    plan: Plan
    tag: str = "main"
    sweeps: dict[str, Any] = field(default_factory=dict)


def _run(session: _Session) -> dict[str, Any]:
    """The whole record, but for how long it took."""
    options, reporter = session.options, session.reporter
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "authorid peers bench",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(options.threads),
        "settings": {"quick": options.quick, "peers": list(session.peers)},
        "environments": {
            name: {"ok": environment.python is not None, "reason": environment.reason, "seconds": environment.seconds}
            for name, environment in session.environments.items()
        },
    }
    reporter.info("measuring the machine itself")
    record["roofline"], record["roofline_reason"] = _roofline(session)
    if options.workload == "c50" and session.c50 is None:
        raise AuthoridError("no C50: set AUTHORID_C50 to the directory that holds C50train and C50test")
    model = _model(session)
    record["runs"], record["not_begun"] = [], []
    for number, planned in enumerate(_planned_runs(session, model)):
        if number and time.monotonic() > session.deadline:
            reporter.info(f"no time left for {planned.name}")
            record["not_begun"].append(planned.name)
        else:
            record["runs"].append(_measure(session, planned, record["roofline"]))
    record["scaling"] = _scaling(session, model, record["runs"][0]["rows"])
    return record


def _scaling(session: _Session, model: PreparedModel, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Speed and memory by the number of documents, with the setup that is fastest for documents."""
    ours: dict[str, Any] = next((row for row in rows if row["system"] == "ours-int8"), {})
    fastest = ours.get("setups", {}).get("documents", {"sessions": 0, "threads": 1})
    config = {**fastest, "total_threads": session.options.threads}
    counts = (20, 100) if session.options.quick else _COUNTS
    corpus = session.cache / f"notes-{max(counts)}"
    measured: list[dict[str, Any]] = []
    try:
        measured.extend(measure_scaling(model.bundle, corpus, counts, config, session.cache, session.reporter))
    except subprocess.SubprocessError as error:
        session.reporter.info(f"scaling: {error}")
    return measured


_QUICK_PLAN = Plan(
    rounds=2,
    round_seconds=5,
    batches=(1, 2, 4),
    sweep_items=4,
    warm_up_windows=8,
    latency_blocks=2,
    latency_calls=10,
    cells=(Cell(1, 16), Cell(4, 16)),
    cell_seconds=0.05,
)


def _planned_runs(session: _Session, model: PreparedModel) -> list[_PlannedRun]:
    """The runs, in their order; what sweeps find in one serves in the next."""
    options, cache = session.options, session.cache
    if options.quick:
        return [_PlannedRun("generated", lambda: model, generated(cache, 10), _QUICK_PLAN, "quick")]
    workloads = []
    if session.c50 is not None and options.workload != "generated":
        workloads.append(c50(session.c50, 150))
    if options.workload != "c50":
        workloads.append(generated(cache, 80))
    sweeps: dict[str, Any] = {}
    plans = (Plan(cells=_GRID), Plan(rounds=2, latency_blocks=0))
    runs = [
        _PlannedRun(f"{model.name} on {workload.name}", lambda: model, workload, plan, sweeps=sweeps)
        for workload, plan in zip(workloads, plans, strict=False)
    ]
    keras = session.environments.get("keras")
    if keras is not None:
        source = WeightSource("distilbert-base")
        plan = Plan(rounds=2, warm_up_windows=32, documents=False, cells=_SMALL_GRID)
        runs.append(
            _PlannedRun(
                "DistilBERT-base on generated",
                lambda: prepare(source, keras, cache, session.reporter),
                generated(cache, 20),
                plan,
            )
        )
    return runs


def _measure(session: _Session, planned: _PlannedRun, roofline: dict[str, float] | None) -> dict[str, Any]:
    """Run one benchmark; its part of the record."""
    model, workload = planned.model(), planned.workload
    session.reporter.info(f"== {model.name} on {workload.name}: {len(workload.documents)} documents")
    files = model.path / "windows"
    training = sorted(workload.training.rglob("*.txt"))
    calibration = files / f"{workload.name}-calibration.npz"
    tokenize(training[:: max(1, len(training) // 80)][:80], model.bundle, calibration)
    runner = Runner(
        model=model.path,
        geometry=model.geometry,
        vocabulary=model.vocabulary,
        trained=model.trained and set(workload.labels) <= set(model.author_names),
        workload=workload,
        tokenized=tokenize(workload.documents, model.bundle, files / f"{workload.name}-{planned.tag}.npz"),
        calibration=calibration,
        plan=planned.plan,
        threads=session.options.threads,
        cache=session.cache,
        environments=session.environments,
        reporter=session.reporter,
        deadline=session.deadline,
        sweeps=planned.sweeps,
    )
    # Where our bundle already computes the peers' function, the systems that do so on purpose would repeat it.
    repeated = set() if model.funnel and session.peers else {system.name for system in SYSTEMS if system.plain}
    systems = [system for system in SYSTEMS if system.peer in (*session.peers, OURS) and system.name not in repeated]
    rows = runner.run(systems)
    return _summary(model, runner, rows, roofline)


def _machine(threads: int) -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "threads": threads,
        "memory_gb": round(pages / 2**30),
        "versions": versions(),
    }


def _model(session: _Session) -> PreparedModel:
    """The weights that every system loads."""
    options = session.options
    keras = session.environments.get("keras")
    if keras is None or keras.python is None:
        if options.model is not None or set(session.environments) != {OURS}:
            raise AuthoridError(
                "the peers' weights are made with Keras, whose environment is not there (--peers none?)"
            )
        from authorid.models import default_bundle

        return from_bundle(options.bundle or default_bundle(), session.cache)
    corpus = None if session.c50 is None else session.c50 / "C50train"
    source = WeightSource("minilm", options.model, options.bundle, corpus)
    return prepare(source, keras, session.cache, session.reporter)


def _roofline(session: _Session) -> tuple[dict[str, float] | None, str | None]:
    """Rates of this machine, measured in an environment that has onnx and onnxruntime; or why there are none."""
    command = ["-m", "bench.roofline", "--threads", str(session.options.threads)]
    command += ["--seconds", "0.1"] if session.options.quick else []
    reason = None
    for name in (OURS, "keras"):
        environment = session.environments.get(name)
        if environment is None or environment.python is None:
            continue
        run = subprocess.run(
            [str(environment.python), *command],
            cwd=ROOT,
            env={**child_environment(1, session.cache)},
            capture_output=True,
            text=True,
            timeout=300,
        )
        if run.returncode == 0:
            rates: dict[str, float] = json.loads(run.stdout)
            return rates, None
        reason = (run.stderr.strip().splitlines() or ["failed"])[-1]
    return None, reason


def _summary(
    model: PreparedModel, runner: Runner, rows: list[dict[str, Any]], roofline: dict[str, float] | None
) -> dict[str, Any]:
    """One run of the record; every row also as a fraction of the machine's limit."""
    bounds = funnel_bounds = None
    if roofline and model.geometry:
        sizes = model.geometry, model.window, model.pooling
        bounds = limits(roofline, *sizes)
        funnel_bounds = limits(roofline, *sizes, funnel=True) if model.funnel else None
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
            "window": model.window,
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
        "limits": bounds,
        "funnel_limits": funnel_bounds,
        "rows": [row for row in rows if row["system"] != REPEAT],
        "repeatability": _repeatability(rows),
        "skipped": runner.skipped,
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


def _plot(target: Path, environments: dict[str, Environment], reporter: Reporter) -> None:
    """Draw plots in an environment that has matplotlib."""
    for name in (OURS, "keras"):
        environment = environments.get(name)
        if environment is None or environment.python is None:
            continue
        run = subprocess.run(
            [str(environment.python), "-m", "bench.record_plots", str(target.resolve())],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if run.returncode == 0:
            return
        reason = (run.stderr.strip().splitlines() or ["failed"])[-1]
        reporter.info(f"no plots from the environment of {name}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
