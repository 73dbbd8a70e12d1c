"""``python -m bench``: authorid against its peers. Results go to bench/results: JSON, a Markdown table, plots.

``python -m bench accuracy`` measures accuracy with few documents, short texts and many authors, beside baselines.
``python -m bench conditions`` measures where the encoder helps beside the n-grams.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from authorid.errors import AuthoridError
from authorid.machine import available_cores
from authorid.reporter import Reporter
from bench.checkpoint import SHAPES
from bench.environments import OURS, PEERS, Environment, ensure, link_authorid
from bench.markdown_report import markdown
from bench.prepared_models import exports_here, is_run
from bench.processes import INSTALLED, ROOT
from bench.session import Session
from bench.systems import SYSTEMS
from bench.workloads import find_c50


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what was asked for; the exit status is 0 when at least our own results are there."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if arguments and arguments[0] == "accuracy":
        from bench.accuracy import main as measure_accuracy

        return measure_accuracy(arguments[1:])
    if arguments and arguments[0] == "conditions":
        from bench.conditions import main as measure_conditions

        return measure_conditions(arguments[1:])
    options = _arguments(arguments)
    started = time.monotonic()
    reporter = _Clock(started, quiet=options.silent)
    cache: Path = options.cache.resolve()
    cache.mkdir(parents=True, exist_ok=True)
    link_authorid(cache / INSTALLED)
    peers = _peers(options)
    environments = {
        name: ensure(name, (options.envs or cache / "envs").resolve(), reporter) for name in _needed(options, peers)
    }
    for peer, environment in environments.items():
        if environment.reason:
            reporter.info(f"no environment for {peer}: {environment.reason}")
    try:
        record = Session(options, peers, environments, cache, find_c50(ROOT), reporter).record()
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
    epilog = "There are other commands, with options of their own: python -m bench accuracy --help, conditions --help"
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__, epilog=epilog)
    add = parser.add_argument
    add(
        "--model",
        type=Path,
        metavar="DIR",
        help="a training run, or a fine-tuned classifier in Hugging Face layout; default: random weights",
    )
    add("--geometry", choices=sorted(SHAPES), help="only a random classifier of these sizes, in Hugging Face layout")
    add(
        "--lengths",
        type=_lengths,
        default=(),
        metavar="N,...",
        help="cut documents to so many tokens, for a classifier in Hugging Face layout; default: the model's own length"
        " (--geometry: 128,512)",
    )
    add("--bundle", type=Path, help="of the model or of a similar run; with --peers none, any; default: export")
    add("--peers", default=None, metavar="NAMES", help=f"all, none, or some of {','.join(PEERS)}")
    add("--workload", choices=("auto", "c50", "generated"), default="auto", help="auto: C50 if present, and generated")
    add("--quick", action="store_true", help="a smoke test of a minute: a few documents, no peers unless named")
    add("--json", type=Path, metavar="FILE", help="where the results go (.md and plots beside it)")
    add("--envs", type=Path, metavar="DIR", help="where the peers' environments are; default: in the cache")
    add("--cache", type=Path, metavar="DIR", default=ROOT / ".cache" / "bench", help="models, corpora, logs")
    add("--threads", type=int, default=available_cores(), help="cores for each system; default: all")
    add("--minutes", type=float, help="time for measuring, once everything is prepared; default: 36 (--quick: 1)")
    add("--silent", action="store_true", help="no progress on standard error")
    options = parser.parse_args(arguments)
    if options.geometry and options.model:
        parser.error("--geometry makes a model of its own: leave out --model")
    options.minutes = options.minutes or (1.0 if options.quick else 36.0)
    return options


def _lengths(text: str) -> tuple[int, ...]:
    return tuple(sorted({int(part) for part in text.split(",")}))


def _peers(options: argparse.Namespace) -> tuple[str, ...]:
    """The peers that take part: all that can load the model, unless some are named."""
    names = options.peers
    if names == "none" or (names is None and options.quick):
        return ()
    if names in (None, "all"):
        run = not options.geometry and (options.model is None or is_run(options.model))
        apart = {system.peer for system in SYSTEMS if not run and not system.takes_huggingface}
        return tuple(peer for peer in PEERS if peer not in apart)
    chosen = tuple(name.strip() for name in str(names).split(","))
    unknown = set(chosen) - set(PEERS)
    if unknown:
        raise SystemExit(f"unknown peers: {', '.join(sorted(unknown))}; there are {', '.join(PEERS)}")
    # OpenVINO runs the graph that optimum exports.
    return (*chosen, "optimum") if "openvino" in chosen and "optimum" not in chosen else chosen


def _needed(options: argparse.Namespace, peers: Sequence[str]) -> list[str]:
    """The environments: the peers', ours, and that of Keras, if models are prepared in it."""
    huggingface = options.geometry or (options.model is not None and not is_run(options.model))
    as_they_are = exports_here() if huggingface else not peers and options.model is None
    return list(dict.fromkeys((*peers, *([] if as_they_are else ["keras"]), OURS)))


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
