"""The referee: starts a process for every contestant, lets them take turns, and writes down what happens.

Rounds are interleaved and each begins elsewhere (A B C D, C D A B, ...), so that a machine that is slower for a
minute, or becomes slower, is so for everybody.
"""

from __future__ import annotations

import csv
import hashlib
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import IO, Any

import numpy as np

from bench.contestants import TWIN, Contestant, Shape
from bench.environments import Environment
from bench.peer import decide
from bench.statistics import spread
from bench.workloads import Cut, Workload

__all__ = ["Cell", "Match", "Plan", "Refused", "Setup", "Worker", "child_environment", "climb"]

ROOT = Path(__file__).resolve().parents[1]

_PARITY = 1e-3
"""How far float32 logits may be from Keras', as a share of the largest one."""

_UNTRIED = 8
"""Windows in a batch of those who get no trial."""


class Refused(Exception):
    """A contestant could not do what it was asked; the message says why."""


def child_environment(threads: int, cache: Path) -> dict[str, str]:
    """The environment of every worker: one thread budget for all libraries, no network."""
    budget = str(threads)
    libraries = ("OMP", "MKL", "OPENBLAS", "NUMEXPR", "RAYON")
    names = (*(f"{name}_NUM_THREADS" for name in libraries), "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")
    return {
        **os.environ,
        **dict.fromkeys(names, budget),
        "KERAS_BACKEND": "tensorflow",
        "TF_CPP_MIN_LOG_LEVEL": "2",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "ORT_DISABLE_TELEMETRY": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "AUTHORID_CACHE": str(cache / "authorid"),
        "PYTHONUNBUFFERED": "1",
    }


class Worker:
    """A contestant's process. `loaded` are the sessions and threads that its model was loaded with."""

    def __init__(self, contestant: Contestant, python: Path, log: Path, threads: int, cache: Path) -> None:
        self.contestant = contestant
        self.loaded: tuple[int, int] | None = None
        log.parent.mkdir(parents=True, exist_ok=True)
        self._log = log.open("a", encoding="utf-8")
        self.started = time.perf_counter()
        cores = sorted(os.sched_getaffinity(0))[:threads] if hasattr(os, "sched_getaffinity") else []
        self._process = subprocess.Popen(
            [str(python), "-m", "bench.worker", contestant.peer],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._log,
            env=child_environment(threads, cache),
            text=True,
            start_new_session=True,
        )
        if cores:
            os.sched_setaffinity(self._process.pid, cores)
        self._answers: queue.SimpleQueue[str] = queue.SimpleQueue()
        assert self._process.stdout is not None
        threading.Thread(target=self._listen, args=(self._process.stdout,), daemon=True).start()

    def _listen(self, lines: IO[str]) -> None:
        for line in lines:
            self._answers.put(line)
        self._answers.put("")

    def ask(self, operation: str, timeout: float = 180.0, **request: Any) -> dict[str, Any]:
        """Have the worker do something and return its answer; raises `Refused`."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"op": operation, **request}) + "\n")
            self._process.stdin.flush()
            line = self._answers.get(timeout=timeout)
        except queue.Empty:
            self.kill()
            raise Refused(f"{operation} took longer than {timeout:.0f} s") from None
        except OSError:
            line = ""
        if not line:
            code = self._process.wait()
            raise Refused(f"its process ended during {operation} with status {code}")
        answer: dict[str, Any] = json.loads(line)
        if not answer.pop("ok"):
            raise Refused(str(answer["error"]))
        return answer

    def kill(self) -> None:
        """End the process and whatever it started."""
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._log.close()


@dataclass(frozen=True)
class Cell:
    """One cell of the encoder grid: windows in a batch, tokens in a window."""

    batch: int
    length: int


@dataclass(frozen=True)
class Setup:
    """How a contestant runs: `sessions` batches at once, each on `threads` threads, `batch` windows in each."""

    sessions: int
    threads: int
    batch: int


def climb(batches: Iterable[int], rate: Callable[[int], float], patience: float = float("inf")) -> dict[int, float]:
    """The rate of each batch size, in order, until two in a row bring no more than the best before them.

    After `patience` seconds none is begun either, but the first one always is.
    """
    started = time.monotonic()
    rates: dict[int, float] = {}
    for batch in batches:
        if rates and time.monotonic() - started > patience:
            break
        rates[batch] = rate(batch)
        tried = list(rates.values())
        if tried.index(max(tried)) + 2 < len(tried):
            break
    return rates


@dataclass(frozen=True)
class Plan:
    """How much of everything.

    A contestant leaves a measurement after `patience` seconds of it, but not before the end of its first round. A trial
    of the sweep takes `sweep_least` windows or documents, or as many as fill a batch in every session.
    """

    rounds: int = 3
    patience: float = 30.0
    batches: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    sweep_least: int = 16
    sweep_patience: float = 40.0
    warm_windows: int = 64
    latency_blocks: int = 4
    latency_calls: int = 50
    latency_length: int = 128
    cells: tuple[Cell, ...] = ()
    cell_seconds: float = 0.3
    documents: bool = True


@dataclass
class Match:
    """One model, one workload, and everybody who wants to take part."""

    model: Path
    geometry: dict[str, Any]
    vocabulary: int
    trained: bool
    workload: Workload
    cut: Cut
    calibration: Path
    plan: Plan
    threads: int
    cache: Path
    environments: dict[str, Environment]
    say: Callable[[str], None]
    deadline: float = float("inf")
    sweeps: dict[str, dict[str, Any]] = field(default_factory=dict)
    skipped: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._workers: dict[str, Worker] = {}
        self.rows: dict[str, dict[str, Any]] = {}
        self._out = self.cache / "out"
        self._out.mkdir(parents=True, exist_ok=True)
        self._paths = [str(path) for path in self.workload.documents]

    def run(self, contestants: Sequence[Contestant]) -> list[dict[str, Any]]:
        """All measurements; one row a contestant, in their order."""
        for contestant in contestants:
            environment = self.environments[contestant.peer]
            self.rows[contestant.name] = {
                "contestant": contestant.name,
                "label": contestant.label,
                "peer": contestant.peer,
                "precision": contestant.precision,
                "ok": environment.python is not None,
                "reason": environment.reason,
            }
        try:
            self._each(contestants, "preparing", self._prepare)
            self._each(self._left(contestants), "finding the best batch and threads of", self._sweep)
            self._each(self._left(contestants), "starting", self._start)
            if self.plan.documents:
                self._phase("documents", lambda: self._documents(self._left(contestants)))
            self._each(self._left(contestants), "", self._memory)
            encoders = [contestant for contestant in contestants if contestant.encoder]
            self._phase("windows", lambda: self._windows(self._left(encoders)))
            self._phase("latency", lambda: self._latency(self._left(encoders)))
            # The longest and the least asked for.
            self._phase("grid", lambda: self._grid(self._left(encoders)))
        finally:
            for worker in self._workers.values():
                worker.kill()
        return [self.rows[contestant.name] for contestant in contestants]

    def _left(self, contestants: Iterable[Contestant]) -> list[Contestant]:
        return [contestant for contestant in contestants if self.rows[contestant.name]["ok"]]

    def _in_turn(self, contestants: Iterable[Contestant], number: int, rounds: int) -> list[Contestant]:
        """Those that are left, in the order of round `number` of so many: the beginning goes once around."""
        left = self._left(contestants)
        first = number * len(left) // rounds
        return left[first:] + left[:first]

    def _phase(self, name: str, measure: Callable[[], None]) -> None:
        if time.monotonic() > self.deadline:
            self.skipped.append(name)
            self.say(f"no time left for {name}")
        else:
            measure()

    def _each(self, contestants: Iterable[Contestant], doing: str, work: Callable[[Contestant], None]) -> None:
        for contestant in contestants:
            if self.rows[contestant.name]["ok"]:
                if doing:
                    self.say(f"{doing} {contestant.name}")
                self._guarded(contestant, lambda: work(contestant))  # noqa: B023

    def _guarded(self, contestant: Contestant, work: Callable[[], None]) -> None:
        """A contestant that fails is out of this match, and its row says why."""
        try:
            work()
        except Refused as refusal:
            self.rows[contestant.name].update(ok=False, reason=str(refusal))
            self.say(f"  {contestant.name}: {refusal}")
            worker = self._workers.pop(contestant.name, None)
            if worker is not None:
                worker.kill()

    def _spawn(self, contestant: Contestant) -> Worker:
        python = self.environments[contestant.peer].python
        assert python is not None
        worker = Worker(contestant, python, self.cache / "logs" / f"{contestant.name}.log", self.threads, self.cache)
        self._workers[contestant.name] = worker
        return worker

    def _settings(self, contestant: Contestant) -> dict[str, Any]:
        return {
            **contestant.settings,
            "calibration": str(self.calibration),
            "corpus": str(self.workload.training),
            "classifier": str(self._classifier()),
        }

    def _classifier(self) -> Path:
        """Where the baseline keeps what it learnt from the workload's training documents."""
        digest = hashlib.sha256(str(self.workload.training).encode()).hexdigest()[:8]
        return self.cache / f"tfidf-{self.workload.name}-{digest}.joblib"

    def _load(self, worker: Worker, sessions: int, threads: int) -> dict[str, Any]:
        settings = self._settings(worker.contestant)
        answer = worker.ask("load", model=str(self.model), settings=settings, sessions=sessions, threads=threads)
        worker.loaded = sessions, threads
        return answer

    def _use(self, worker: Worker, sessions: int, threads: int) -> None:
        """Load again, unless it is loaded so."""
        if worker.loaded != (sessions, threads):
            self._load(worker, sessions, threads)

    def _setup(self, contestant: Contestant, measure: str) -> Setup:
        """What was found for ``windows`` or ``documents``."""
        return Setup(**self.rows[contestant.name]["setups"][measure])

    def _prepare(self, contestant: Contestant) -> None:
        worker = self._spawn(contestant)
        worker.ask("prepare", model=str(self.model), settings=self._settings(contestant), timeout=900)
        worker.kill()
        del self._workers[contestant.name]

    def _sweep(self, contestant: Contestant) -> None:
        """Give everybody its best: sessions x threads and batch, for windows and for documents apart."""
        name = "ours-int8" if contestant.name == TWIN and "ours-int8" in self.sweeps else contestant.name
        if name not in self.sweeps:
            self.sweeps[name] = self._swept(contestant)
        self.rows[contestant.name].update(self.sweeps[name])

    def _swept(self, contestant: Contestant) -> dict[str, Any]:
        """``setups``, the best by measure, and ``sweeps``, all that was tried."""
        if not contestant.encoder:
            (sessions, threads), *_ = self._shapes(contestant.document_shapes)
            return {"setups": {"documents": asdict(Setup(sessions, threads, _UNTRIED))}, "sweeps": {}}
        trials = {"windows": (contestant.window_shapes, self._rate_of_windows)}
        if self.plan.documents:
            trials["documents"] = (contestant.document_shapes, self._rate_of_documents)
        worker = self._spawn(contestant)
        setups, sweeps = {}, {}
        for measure, (shapes, rate) in trials.items():
            tried: dict[Setup, float] = {}
            pairs = self._shapes(shapes)
            patience = min(self.plan.sweep_patience / len(pairs), self.deadline - time.monotonic())
            for sessions, threads in pairs:
                self._use(worker, sessions, threads)
                rates = climb(self.plan.batches, partial(rate, worker), patience)
                tried.update((Setup(sessions, threads, batch), found) for batch, found in rates.items())
            setups[measure] = asdict(max(tried, key=tried.__getitem__))
            sweeps[measure] = [{**asdict(setup), "rate": round(found, 1)} for setup, found in tried.items()]
        worker.kill()
        del self._workers[contestant.name]
        return {"setups": setups, "sweeps": sweeps}

    def _reads(self, contestant: Contestant) -> tuple[int, ...]:
        """The tokens of text that it reads of each document."""
        return self.cut.whole if contestant.ours else self.cut.beginnings

    def _shapes(self, names: Iterable[Shape]) -> list[tuple[int, int]]:
        """Sessions and threads of each, without repetition."""
        shapes = {"wide": (1, self.threads), "narrow": (self.threads, 1)}
        return list(dict.fromkeys(shapes[name] for name in names))

    def _rate_of_windows(self, worker: Worker, batch: int) -> float:
        """Tokens a second of a few windows."""
        file, limit = str(self.cut.windows), self._few(worker, batch)
        answer = _best_pass(partial(worker.ask, "windows", file=file, batch=batch, limit=limit))
        return float(answer["tokens"] / answer["seconds"])

    def _rate_of_documents(self, worker: Worker, batch: int) -> float:
        """Tokens of text a second of a few documents, spread over all of them: batches differ in which they are."""
        few = min(self._few(worker, batch), len(self._paths))
        places = [index * len(self._paths) // few for index in range(few)]
        paths, out = [self._paths[place] for place in places], str(self._out / f"{worker.contestant.name}.sweep.csv")
        answer = _best_pass(partial(worker.ask, "score", paths=paths, out=out, batch=batch))
        reads = self._reads(worker.contestant)
        return float(sum(reads[place] for place in places) / answer["seconds"])

    def _few(self, worker: Worker, batch: int) -> int:
        """How many windows or documents leave no session without a batch."""
        sessions, _ = worker.loaded or (1, 1)
        return max(self.plan.sweep_least, sessions * batch)

    def _start(self, contestant: Contestant) -> None:
        """From nothing to the first answer; then parity and a warm-up that nobody counts."""
        row = self.rows[contestant.name]
        setup = self._setup(contestant, "documents" if "documents" in row["setups"] else "windows")
        worker = self._spawn(contestant)
        loaded = self._load(worker, setup.sessions, setup.threads)
        out = str(self._out / f"{contestant.name}.csv")
        worker.ask("score", paths=self._paths[:1], out=out, batch=setup.batch)
        row["start_up_seconds"] = round(time.perf_counter() - worker.started, 3)
        row["load_seconds"] = round(loaded["seconds"], 3)
        row["versions"] = loaded["versions"]
        if contestant.encoder and (self.model / "golden.npz").is_file():
            parity = worker.ask("parity")
            row["same_function"] = parity.pop("same_function")
            if row["same_function"]:
                row["parity"] = parity
                off, largest = parity["largest_difference"], max(1.0, parity["largest_logit"])
                # OpenVINO and torch are free in how they round bf16 and INT8; float32 must be the same function.
                if contestant.precision == "fp32" and not off <= _PARITY * largest:
                    raise Refused(f"its logits are off by {off:.3g}: not the same model")

    def _rounds(
        self, contestants: Sequence[Contestant], name: str, turn: Callable[[Contestant, int], dict[str, Any]]
    ) -> dict[str, list[dict[str, Any]]]:
        """Everybody takes a turn, then everybody again; the first turn of each is a warm-up on less."""
        answers: dict[str, list[dict[str, Any]]] = {contestant.name: [] for contestant in contestants}
        for number in range(self.plan.rounds):
            self.say(f"{name}, round {number + 1} of {self.plan.rounds}")
            for contestant in self._in_turn(contestants, number, self.plan.rounds):
                done = answers[contestant.name]
                spent = sum(float(answer["seconds"]) for answer in done)
                late = time.monotonic() > self.deadline
                if late or (done and spent + spent / len(done) / 2 > self.plan.patience):
                    continue
                self._guarded(contestant, lambda: done.append(turn(contestant, number)))  # noqa: B023
        self.skipped += [f"{name} of {left.name}" for left in self._left(contestants) if not answers[left.name]]
        return answers

    def _documents(self, contestants: Sequence[Contestant]) -> None:
        """Files on disk to results on disk, whole documents, everybody in its own way."""

        def turn(contestant: Contestant, number: int) -> dict[str, Any]:
            setup, worker = self._setup(contestant, "documents"), self._workers[contestant.name]
            out = str(self._out / f"{contestant.name}.csv")
            if number == 0:
                few = self._paths[:: max(1, len(self._paths) // 12)]
                worker.ask("score", paths=few, out=out, batch=setup.batch)
            return worker.ask("score", paths=self._paths, out=out, batch=setup.batch)

        for name, answers in self._rounds(contestants, "documents", turn).items():
            if not answers or not self.rows[name]["ok"]:
                continue
            row, contestant = self.rows[name], self._workers[name].contestant
            row["documents"] = {
                "documents": len(self._paths),
                "documents_per_second": spread([len(self._paths) / answer["seconds"] for answer in answers]),
            }
            if contestant.encoder:
                tokens = sum(self._reads(contestant))
                row["documents"]["tokens"] = tokens
                row["documents"]["tokens_per_second"] = spread([tokens / answer["seconds"] for answer in answers])
            row["documents"]["accuracy"] = self._accuracy_of_file(self._out / f"{name}.csv")

    def _accuracy_of_file(self, path: Path) -> float | None:
        with path.open(encoding="utf-8", newline="") as stream:
            answers = [row["author"] for row in csv.DictReader(stream)]
        if len(answers) != len(self._paths):
            raise RuntimeError(f"{path}: {len(answers)} rows for {len(self._paths)} documents")
        if not self.trained:
            return None
        hits = sum(str(answer) == label for answer, label in zip(answers, self.workload.labels, strict=True))
        return round(float(hits) / len(answers), 4)

    def _memory(self, contestant: Contestant) -> None:
        self.rows[contestant.name].update(self._workers[contestant.name].ask("memory"))

    def _windows(self, contestants: Sequence[Contestant]) -> None:
        """The same windows for all, encoder only; their logits give everybody's answers under the same rule."""

        def turn(contestant: Contestant, number: int) -> dict[str, Any]:
            setup, worker = self._setup(contestant, "windows"), self._workers[contestant.name]
            file, batch = str(self.cut.windows), setup.batch
            if number == 0:
                self._use(worker, setup.sessions, setup.threads)
                worker.ask("windows", file=file, batch=batch, limit=self.plan.warm_windows)
            target = str(self._out / f"{contestant.name}.npy") if number == 0 else None
            return worker.ask("windows", file=file, batch=batch, logits=target)

        taken = self._rounds(contestants, "windows", turn)
        answers = {}
        for name, found in taken.items():
            if found and self.rows[name]["ok"]:
                rates = [answer["tokens"] / answer["seconds"] for answer in found]
                self.rows[name]["windows"] = {
                    "windows": found[0]["windows"],
                    "tokens": found[0]["tokens"],
                    "tokens_per_second": spread(rates),
                }
                answers[name] = self._decisions(np.load(self._out / f"{name}.npy"))
        reference = next((name for name in ("keras", "torch-fp32", "ours-fp32") if name in answers), None)
        authors = json.loads((self.model / "model.json").read_text("utf-8"))["authors"]
        for name, found_authors in answers.items():
            result = self.rows[name]["windows"]
            if reference is not None and self.rows[name].get("same_function", True):
                same = np.mean([a == b for a, b in zip(found_authors, answers[reference], strict=True)])
                result["agreement"], result["agreement_with"] = round(float(same), 4), reference
            if self.trained:
                labels = self.workload.labels
                hits = [authors[a] == label for a, label in zip(found_authors, labels, strict=True)]
                result["accuracy"] = round(sum(hits) / len(hits), 4)

    def _decisions(self, logits: Any) -> list[int]:
        """The author of every document, by the rule of the runtime."""
        owners = np.array(self.cut.owners)
        return [decide(logits[owners == index])[0] for index in range(len(self._paths))]

    def _grid(self, contestants: Sequence[Contestant]) -> None:
        """Full windows by batch and length, each contestant with the sessions and threads that suit it."""
        for contestant in contestants:
            self.rows[contestant.name]["grid"] = []
            worker, setup = self._workers[contestant.name], self._setup(contestant, "windows")
            self._guarded(contestant, lambda: self._use(worker, setup.sessions, setup.threads))  # noqa: B023
        for number, cell in enumerate(self.plan.cells):
            if time.monotonic() > self.deadline:
                self.skipped.append(f"grid {cell.batch} x {cell.length}")
                continue
            self.say(f"grid {cell.batch} x {cell.length}")
            for contestant in self._in_turn(contestants, number, len(self.plan.cells)):
                if contestant.name == TWIN:
                    continue

                def measure(contestant: Contestant = contestant, cell: Cell = cell) -> None:
                    answer = self._workers[contestant.name].ask(
                        "grid",
                        batch=cell.batch,
                        length=cell.length,
                        seconds=self.plan.cell_seconds,
                        vocabulary=self.vocabulary,
                    )
                    rate = round(answer["tokens"] / answer["seconds"], 1)
                    self.rows[contestant.name]["grid"].append(
                        {"batch": cell.batch, "length": cell.length, "tokens_per_second": rate}
                    )

                self._guarded(contestant, measure)

    def _latency(self, contestants: Sequence[Contestant]) -> None:
        """One window at a time on all cores; everybody with one session."""
        times: dict[str, list[float]] = {contestant.name: [] for contestant in contestants}
        for contestant in contestants:
            worker = self._workers[contestant.name]
            self._guarded(contestant, lambda: self._use(worker, 1, self.threads))  # noqa: B023
        self.say("latency")
        for number in range(self.plan.latency_blocks):
            for contestant in self._in_turn(contestants, number, self.plan.latency_blocks):

                def measure(contestant: Contestant = contestant) -> None:
                    answer = self._workers[contestant.name].ask(
                        "latency",
                        length=self.plan.latency_length,
                        count=self.plan.latency_calls,
                        vocabulary=self.vocabulary,
                    )
                    times[contestant.name] += answer["seconds"]

                self._guarded(contestant, measure)
        for name, found in times.items():
            if found and self.rows[name]["ok"]:
                milliseconds = np.array(found) * 1000
                self.rows[name]["latency_ms"] = {
                    "calls": len(found),
                    "p50": round(float(np.percentile(milliseconds, 50)), 3),
                    "p99": round(float(np.percentile(milliseconds, 99)), 3),
                    "cdf": [round(float(np.percentile(milliseconds, p)), 3) for p in range(101)],
                }


def _best_pass(run: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """The answer that took the least time, of up to five in about half a second, after one that does not count."""
    run()
    answers = [run()]
    while len(answers) < 5 and sum(float(answer["seconds"]) for answer in answers) < 0.5:
        answers.append(run())
    return min(answers, key=lambda answer: float(answer["seconds"]))


def scale(
    bundle: Path, corpus: Path, counts: Sequence[int], config: dict[str, Any], cache: Path, say: Callable[[str], None]
) -> Iterator[dict[str, Any]]:
    """`authorid score` as people run it, on ever more short documents: speed and peak memory of each run."""
    from bench.workloads import short_documents

    short_documents(corpus, max(counts), say)
    for count in counts:
        say(f"scaling: {count} documents")
        lists = cache / "out" / "scale.txt"
        names = (f"{index // 1000:03d}/{index:06d}.txt" for index in range(count))
        lists.write_text("".join(f"{corpus / name}\n" for name in names), "utf-8")
        stats = cache / "out" / "scale.json"
        command = [sys.executable, "-m", "authorid.cli.app", "score", "-", "--model", str(bundle), "--quiet"]
        command += ["--out", str(cache / "out" / "scale.csv"), "--force", "--stats", str(stats)]
        command += ["--workers", str(config["sessions"]), "--threads", str(config["threads"])]
        started = time.perf_counter()
        with lists.open("rb") as stdin:
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
