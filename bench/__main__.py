"""``python -m bench``: authorid against its peers. Results go to bench/results: JSON, a Markdown table, plots."""

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
from functools import partial
from pathlib import Path
from typing import Any

from authorid.errors import AuthoridError
from authorid.machine import available_cores, cpu_name
from authorid.scoring.stats import versions
from bench.contestants import ALL, TWIN
from bench.environments import OURS, PEERS, Environment, ensure
from bench.models import Model, from_bundle, prepared
from bench.report import markdown
from bench.roofline import limits
from bench.runner import ROOT, Cell, Match, Plan, child_environment, scale
from bench.workloads import Workload, c50, cut, find_c50, generated

SCHEMA = 4

_GRID = tuple(Cell(batch, length) for length in (64, 128, 256, 512) for batch in (1, 2, 4, 8, 32))
_SMALL_GRID = tuple(Cell(batch, length) for length in (128, 512) for batch in (1, 8))
_COUNTS = (100, 1_000, 2_000, 20_000, 100_000)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 when at least our own results are there."""
    wanted = _arguments(arguments)
    started = time.monotonic()
    say = _speaker(started, quiet=wanted.silent)
    cache: Path = wanted.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    peers = _peers(wanted.peers, quick=wanted.quick)
    # The weights are made with Keras, whoever takes part.
    needed = dict.fromkeys((*peers, *(["keras"] if peers or wanted.model else []), OURS))
    environments = {peer: ensure(peer, (wanted.envs or cache / "envs").resolve(), say) for peer in needed}
    for peer, environment in environments.items():
        if environment.reason:
            say(f"no environment for {peer}: {environment.reason}")
    try:
        deadline = started + 60 * wanted.minutes
        record = _run(_Race(wanted, peers, environments, cache, find_c50(ROOT), say, deadline))
    except AuthoridError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    record["minutes"] = round((time.monotonic() - started) / 60, 2)
    target: Path = wanted.json or ROOT / "bench" / "results" / ("quick.json" if wanted.quick else "peers.json")
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n", "utf-8")
    table = markdown(record)
    target.with_suffix(".md").write_text(table, "utf-8")
    if not wanted.quick:
        _plot(target, environments, say)
    sys.stdout.write(table)
    say(f"written: {target}")
    rows = [row for match in record["matches"] for row in match["rows"]]
    return 0 if any(row["ok"] and row["peer"] == OURS for row in rows) else 1


def _arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    add = parser.add_argument
    add("--model", type=Path, metavar="RUN", help="training run to take the weights from; default: random weights")
    add("--bundle", type=Path, help="bundle of RUN, or of one like it; with --peers none any; default: export RUN")
    add("--peers", default=None, metavar="NAMES", help=f"all, none, or some of {','.join(PEERS)}")
    add("--workload", choices=("auto", "c50", "generated"), default="auto", help="auto: C50 where it is, and generated")
    add("--quick", action="store_true", help="a minute's smoke: a few documents, no peers unless named")
    add("--json", type=Path, metavar="FILE", help="where the results go (and .md and plots beside it)")
    add("--envs", type=Path, metavar="DIR", help="where the peers' environments are; default: in the cache")
    add("--cache", type=Path, metavar="DIR", default=ROOT / ".cache" / "bench", help="models, corpora, logs")
    add("--threads", type=int, default=available_cores(), help="cores that everybody gets; default: all")
    add("--minutes", type=float, default=36.0, help="when to stop beginning new measurements")
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


def _speaker(started: float, *, quiet: bool) -> Callable[[str], None]:
    def say(message: str) -> None:
        if not quiet:
            minutes, seconds = divmod(int(time.monotonic() - started), 60)
            sys.stderr.write(f"{minutes:3d}:{seconds:02d}  {message}\n")

    return say


@dataclass(frozen=True, slots=True)
class _Race:
    """What was asked for and what there is. `c50` is where Reuters C50 is; `deadline` is a time of `time.monotonic`."""

    wanted: argparse.Namespace
    peers: tuple[str, ...]
    environments: dict[str, Environment]
    cache: Path
    c50: Path | None
    say: Callable[[str], None]
    deadline: float


@dataclass(frozen=True, slots=True)
class _Planned:
    """A match to come. `model` makes its weights, when its turn comes; `sweeps` has what is known of contestants."""

    name: str
    model: Callable[[], Model]
    workload: Workload
    plan: Plan
    tag: str = "main"
    sweeps: dict[str, Any] = field(default_factory=dict)


def _run(race: _Race) -> dict[str, Any]:
    """The whole record, but for how long it took."""
    wanted, say = race.wanted, race.say
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "kind": "authorid peers bench",
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "machine": _machine(wanted.threads),
        "settings": {"quick": wanted.quick, "peers": list(race.peers)},
        "environments": {
            name: {"ok": environment.python is not None, "reason": environment.reason, "seconds": environment.seconds}
            for name, environment in race.environments.items()
        },
    }
    say("measuring the machine itself")
    record["roofline"], record["roofline_reason"] = _roofline(race)
    if wanted.workload == "c50" and race.c50 is None:
        raise AuthoridError("no C50: set AUTHORID_C50 to the directory that holds C50train and C50test")
    model = _model(race)
    record["matches"], record["not_begun"] = [], []
    for turn, planned in enumerate(_planned(race, model)):
        if turn and time.monotonic() > race.deadline:
            say(f"no time left for {planned.name}")
            record["not_begun"].append(planned.name)
        else:
            record["matches"].append(_play(race, planned, record["roofline"]))
    ours: dict[str, Any] = next((row for row in record["matches"][0]["rows"] if row["contestant"] == "ours-int8"), {})
    found_for_it = ours.get("setups", {}).get("documents", {"sessions": 0, "threads": 1})
    shape = {**found_for_it, "total_threads": wanted.threads}
    counts = (20, 100) if wanted.quick else _COUNTS
    record["scaling"] = []
    try:
        for row in scale(model.bundle, race.cache / f"notes-{max(counts)}", counts, shape, race.cache, say):
            record["scaling"].append(row)
    except subprocess.SubprocessError as error:
        say(f"scaling: {error}")
    return record


def _planned(race: _Race, model: Model) -> list[_Planned]:
    """The matches, in their order; what is found out about contestants in one serves in the next."""
    wanted, cache = race.wanted, race.cache
    if wanted.quick:
        plan = Plan(
            rounds=2,
            patience=5,
            batches=(1, 2, 4),
            sweep_least=4,
            warm_windows=8,
            latency_blocks=2,
            latency_calls=10,
            cells=(Cell(1, 16), Cell(4, 16)),
            cell_seconds=0.05,
        )
        return [_Planned("generated", lambda: model, generated(cache, 10), plan, "quick")]
    workloads = []
    if race.c50 is not None and wanted.workload != "generated":
        workloads.append(c50(race.c50, 150))
    if wanted.workload != "c50":
        workloads.append(generated(cache, 80))
    sweeps: dict[str, Any] = {}
    plans = (Plan(cells=_GRID), Plan(rounds=2, latency_blocks=0))
    matches = [
        _Planned(f"{model.name} on {workload.name}", lambda: model, workload, plan, sweeps=sweeps)
        for workload, plan in zip(workloads, plans, strict=False)
    ]
    keras = race.environments.get("keras")
    if keras is not None:
        distilbert = partial(prepared, "distilbert-base", None, None, model.bundle, keras, cache, race.c50, race.say)
        plan = Plan(rounds=2, warm_windows=32, documents=False, cells=_SMALL_GRID)
        matches.append(_Planned("DistilBERT-base on generated", distilbert, generated(cache, 20), plan))
    return matches


def _play(race: _Race, planned: _Planned, roofline: dict[str, float] | None) -> dict[str, Any]:
    """Hold one match; what the record says of it."""
    model, workload = planned.model(), planned.workload
    race.say(f"== {model.name} on {workload.name}: {len(workload.documents)} documents")
    files = model.path / "windows"
    training = sorted(workload.training.rglob("*.txt"))
    calibration = files / f"{workload.name}-calibration.npz"
    cut(training[:: max(1, len(training) // 80)][:80], model.bundle, calibration)
    match = Match(
        model=model.path,
        geometry=model.geometry,
        vocabulary=model.vocabulary,
        trained=model.trained and set(workload.labels) <= set(model.author_names),
        workload=workload,
        cut=cut(workload.documents, model.bundle, files / f"{workload.name}-{planned.tag}.npz"),
        calibration=calibration,
        plan=planned.plan,
        threads=race.wanted.threads,
        cache=race.cache,
        environments=race.environments,
        say=race.say,
        deadline=race.deadline,
        sweeps=planned.sweeps,
    )
    # Where our bundle is of the peers' model there is no other of it.
    twice = set() if model.funnel and race.peers else {contestant.name for contestant in ALL if contestant.plain}
    entered = [each for each in ALL if each.peer in (*race.peers, OURS) and each.name not in twice]
    rows = match.run(entered)
    return _summary(model, match, rows, roofline)


def _machine(threads: int) -> dict[str, Any]:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return {
        "cpu": cpu_name(),
        "cores": available_cores(),
        "threads": threads,
        "memory_gb": round(pages / 2**30),
        "versions": versions(),
    }


def _model(race: _Race) -> Model:
    """The weights that everybody loads."""
    wanted = race.wanted
    keras = race.environments.get("keras")
    if keras is None or keras.python is None:
        if wanted.model is not None or set(race.environments) != {OURS}:
            raise AuthoridError(
                "the peers' weights are made with Keras, whose environment is not there (--peers none?)"
            )
        from authorid.models import default_bundle

        return from_bundle(wanted.bundle or default_bundle(), race.cache)
    return prepared("minilm", wanted.model, wanted.bundle, None, keras, race.cache, race.c50, race.say)


def _roofline(race: _Race) -> tuple[dict[str, float] | None, str | None]:
    """Rates of this machine, measured where onnx and onnxruntime are."""
    command = ["-m", "bench.roofline", "--threads", str(race.wanted.threads)]
    command += ["--seconds", "0.1"] if race.wanted.quick else []
    reason = None
    for name in (OURS, "keras"):
        environment = race.environments.get(name)
        if environment is None or environment.python is None:
            continue
        run = subprocess.run(
            [str(environment.python), *command],
            cwd=ROOT,
            env={**child_environment(1, race.cache)},
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
    model: Model, match: Match, rows: list[dict[str, Any]], roofline: dict[str, float] | None
) -> dict[str, Any]:
    """One match of the record; every row also as a fraction of the machine's limit."""
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
            "name": match.workload.name,
            "documents": len(match.workload.documents),
            "windows": len(match.cut.owners),
            "tokens": match.cut.tokens,
            "text_tokens": sum(match.cut.whole),
            "truncated_tokens": sum(match.cut.beginnings),
        },
        "limits": bounds,
        "funnel_limits": funnel_bounds,
        "rows": [row for row in rows if row["contestant"] != TWIN],
        "referee": _referee(rows),
        "skipped": match.skipped,
    }


def _referee(rows: list[dict[str, Any]]) -> dict[str, Any] | None:
    """How far apart the same contestant is under two names."""
    by_name = {row["contestant"]: row for row in rows}
    first, second = by_name.get("ours-int8", {}), by_name.get(TWIN, {})
    ratios = {}
    for measure in ("windows", "documents"):
        rates = [row.get(measure, {}).get("tokens_per_second", {}).get("median") for row in (first, second)]
        if all(rates):
            ratios[measure] = round(rates[1] / rates[0], 4)
    if not ratios:
        return None
    good = all(abs(ratio - 1) <= 0.05 for ratio in ratios.values())
    return {"contestant": "ours-int8", **ratios, "within_5_percent": good, "rows": [first, second]}


def _plot(target: Path, environments: dict[str, Environment], say: Callable[[str], None]) -> None:
    """Plots, drawn wherever matplotlib is."""
    for name in (OURS, "keras"):
        environment = environments.get(name)
        if environment is None or environment.python is None:
            continue
        run = subprocess.run(
            [str(environment.python), "-m", "bench.plots", str(target.resolve())],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        if run.returncode == 0:
            return
        reason = (run.stderr.strip().splitlines() or ["failed"])[-1]
        say(f"no plots from the environment of {name}: {reason}")


if __name__ == "__main__":
    sys.exit(main())
