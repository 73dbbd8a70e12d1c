"""How fast is this model on this machine: the library behind ``authorid bench``.

Encoder latency and throughput by provider, precision and threads, and a run over documents from end to end. Needs
nothing that `score` does not need. The comparison with other toolkits is ``python -m bench``, in a checkout.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from authorid.bundle.manifest import Bundle, Precision, Provider, load_bundle
from authorid.encoder.engine import BUDGETS, Engine, EngineOptions
from authorid.encoder.providers import PROVIDERS
from authorid.encoder.tuning import random_windows, throughput
from authorid.errors import AuthoridError, BundleLacksError
from authorid.machine import available_cores, cpu_name, peak_rss_mb
from authorid.scoring.percentiles import Percentiles
from authorid.scoring.scorer import Scorer
from authorid.scoring.stats import RunStats, versions

__all__ = [
    "SCHEMA",
    "BenchOptions",
    "generated_text",
    "generated_words",
    "run_benchmark",
    "tables",
    "write_documents",
]

SCHEMA = 1
"""Version of the record that `run_benchmark` returns."""

_PRECISIONS: tuple[Precision, ...] = ("int8", "fp32")
_ROUNDS = 3
_CALLS = 400
_BATCHES = (1, 8, 32)

Table = tuple[str, list[tuple[str, bool]], list[tuple[Any, ...]]]


@dataclass(frozen=True, slots=True)
class BenchOptions:
    """What to measure: about `seconds` of it, on the files below `documents` or on generated ones."""

    documents: Path | None = None
    seconds: float = 40.0
    generated: int = 200


def run_benchmark(
    model: str | os.PathLike[str] | None = None,
    options: BenchOptions = BenchOptions(),
    report: Callable[[str], None] = lambda message: None,
) -> dict[str, Any]:
    """Measure the bundle `model` (the embedded one when None); returns a record of plain values.

    `report` is told what is going on. Raises `BundleError` and `EngineError`, and `AuthoridError` when there are no
    documents where `options` say.
    """
    if model is None:
        from authorid.models import default_bundle

        model = default_bundle()
    bundle = load_bundle(Path(model))
    if not bundle.graphs:
        raise BundleLacksError(f"{bundle.path}: n-grams only, no encoder to measure; score --stats has their speed")
    if options.documents is not None and not options.documents.exists():
        raise AuthoridError(f"{options.documents}: there is nothing at that path")
    record: dict[str, Any] = {
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
    engines, record["unavailable"] = _engines(bundle, report)
    report("latency of single batches")
    vocabulary = bundle.windower().tokenizer.get_vocab_size()
    slots = len(engines) * len(_BATCHES)
    record["latency"], times = _latency(engines, bundle, vocabulary, options.seconds / 3 / slots)
    record["histogram"] = _histogram(times)
    report("throughput")
    record["throughput"] = _throughput(engines, bundle, vocabulary, options.seconds / 3)
    best = _best(record["throughput"])
    del engines
    report("documents from end to end")
    record["documents"] = _documents(bundle, best, options, options.seconds / 3)
    record["peak_rss_mb"] = peak_rss_mb()
    return record


def _shapes(provider: Provider) -> list[tuple[int, int]]:
    """``(workers, threads)``: one core, all cores on one batch, one batch a core. OpenVINO has single threads only."""
    cores = available_cores()
    return sorted({(1, 1), (cores, 1), *([(1, cores)] if provider == "cpu" else [])})


def _engines(bundle: Bundle, report: Callable[[str], None]) -> tuple[list[Engine], list[dict[str, str]]]:
    """An engine for everything that runs here, and why the rest does not."""
    engines: list[Engine] = []
    unavailable = []
    for provider, precision in product(PROVIDERS, _PRECISIONS):
        if precision not in bundle.graphs:
            continue
        report(f"loading {precision} on {provider}")
        try:
            for workers, threads in _shapes(provider):
                engines.append(Engine(bundle, EngineOptions(precision, workers, threads, provider=provider)))
        except AuthoridError as error:
            unavailable.append({"provider": provider, "precision": precision, "reason": str(error)})
    if not engines:
        raise AuthoridError(unavailable[0]["reason"])
    return engines, unavailable


def _about(engine: Engine) -> dict[str, Any]:
    return {
        "provider": engine.provider,
        "precision": engine.precision,
        "workers": engine.workers,
        "threads": engine.threads,
    }


def _latency(
    engines: Sequence[Engine], bundle: Bundle, vocabulary: int, seconds: float
) -> tuple[list[dict[str, Any]], list[float]]:
    """One row for each engine that has a single worker, and each batch size; and all times of the fastest."""
    length = bundle.window.length
    rows = []
    best: list[float] = []
    for engine in engines:
        if engine.workers > 1:
            continue
        # An engine that scores windows one by one is measured so.
        for batch in _BATCHES if engine.budget > 1 else _BATCHES[:1]:
            ids = random_windows(batch, length, vocabulary)
            engine.run(ids)
            times: list[float] = []
            deadline = time.perf_counter() + seconds
            while len(times) < 5 or (time.perf_counter() < deadline and len(times) < _CALLS):
                started = time.perf_counter()
                engine.run(ids)
                times.append(time.perf_counter() - started)
            spread = Percentiles()
            for value in times:
                spread.add(value)
            row = {
                **_about(engine),
                "batch": batch,
                "length": length,
                "calls": len(times),
                "ms": spread.summary_ms(),
                "tokens_per_second": round(batch * length / median(times), 1),
            }
            rows.append(row)
            if batch == 1 and (not best or median(times) < median(best)):
                best = times
    return rows, best


def _histogram(times: Sequence[float], bins: int = 12) -> dict[str, Any]:
    """Batch-1 latencies of the fastest engine: counts between `edges_ms`; the last bin takes the slowest 1 %."""
    milliseconds = np.array(times) * 1000
    edges = np.linspace(milliseconds.min(), np.percentile(milliseconds, 99), bins + 1)
    if edges[-1] <= edges[0]:
        edges = np.linspace(edges[0], edges[0] + 1e-3, bins + 1)
    counts, _ = np.histogram(np.minimum(milliseconds, edges[-1]), edges)
    return {"edges_ms": [round(float(edge), 4) for edge in edges], "counts": [int(count) for count in counts]}


def _throughput(engines: Sequence[Engine], bundle: Bundle, vocabulary: int, seconds: float) -> list[dict[str, Any]]:
    """Tokens per second of full windows, in interleaved rounds; the median, and the slowest and fastest round."""
    length = bundle.window.length
    contests = [(engine, budget) for engine in engines for budget in _budgets(engine, length)]
    share = seconds / _ROUNDS / len(contests)
    rates: list[list[float]] = [[] for _ in contests]
    for _ in range(_ROUNDS):
        for place, (engine, budget) in enumerate(contests):
            ids = random_windows(budget // length, length, vocabulary)
            rates[place].append(throughput(engine, ids, share))
    return [
        {
            **_about(engine),
            "batch_tokens": budget,
            "tokens_per_second": round(median(rates[place]), 1),
            "slowest": round(min(rates[place]), 1),
            "fastest": round(max(rates[place]), 1),
        }
        for place, (engine, budget) in enumerate(contests)
    ]


def _budgets(engine: Engine, length: int) -> list[int]:
    """Batches in tokens, full windows each: the provider's default, half of it, and up to four times as much."""
    if engine.budget == 1:  # it scores windows one by one
        return [length]
    default = BUDGETS[engine.provider]
    return sorted({max(length, tokens) for tokens in (default // 2, default, 2 * default, 4 * default)})


def _best(throughput: Sequence[dict[str, Any]]) -> EngineOptions:
    """The options of the fastest row."""
    row = max(throughput, key=lambda row: float(row["tokens_per_second"]))
    return EngineOptions(
        row["precision"], row["workers"], row["threads"], budget=row["batch_tokens"], provider=row["provider"]
    )


def _documents(bundle: Bundle, best: EngineOptions, options: BenchOptions, seconds: float) -> dict[str, Any]:
    """Score documents as `authorid score` does, for about `seconds`, and keep the run's own record."""
    scorer = Scorer(bundle, best)
    with tempfile.TemporaryDirectory(prefix="authorid-bench-") as scratch:
        source = options.documents
        if source is None:
            source = Path(scratch)
            write_documents(source, options.generated)
        run = RunStats()
        started = time.perf_counter()
        complete = True
        for _ in scorer.score([source], stats=run):
            if time.perf_counter() - started > seconds:
                complete = False
                break
        wall = time.perf_counter() - started
    record = run.report(wall, scorer.describe())
    return {
        "source": "generated" if options.documents is None else str(options.documents),
        "complete": complete,
        "options": asdict(best),
        **record,
    }


def tables(record: dict[str, Any], bar: str = "#") -> list[Table]:
    """A record as tables for `Screen.table`: ``(title, columns, rows)``; the histogram's bars are made of `bar`."""
    names = ("p50", "p90", "p99", "max")
    engine: list[tuple[str, bool]] = [("provider", False), ("precision", False)]
    latency = [
        (
            row["provider"],
            row["precision"],
            row["threads"],
            f"{row['batch']} x {row['length']}",
            *(f"{row['ms'][name]:.2f}" for name in names),
            f"{row['tokens_per_second']:,.0f}",
        )
        for row in record["latency"]
    ]
    throughput = [
        (
            row["provider"],
            row["precision"],
            f"{row['workers']} x {row['threads']}",
            row["batch_tokens"],
            *(f"{row[name]:,.0f}" for name in ("tokens_per_second", "slowest", "fastest")),
        )
        for row in sorted(record["throughput"], key=lambda row: -row["tokens_per_second"])
    ]
    counts, edges = record["histogram"]["counts"], record["histogram"]["edges_ms"]
    tallest = max(counts)
    histogram = [
        (f"{low:.2f} - {high:.2f}", count, bar * round(40 * count / tallest))
        for low, high, count in zip(edges[:-1], edges[1:], counts, strict=True)
    ]
    documents = record["documents"]
    end_to_end = (
        f"{documents['documents']:,}",
        f"{documents['wall_seconds']:.2f}",
        f"{documents['documents_per_second']:,.1f}",
        f"{documents['tokens_per_second']:,.0f}",
        *(f"{documents['latency_ms']['document'][name]:.1f}" for name in ("p50", "p99")),
        f"{documents['peak_rss_mb']:.0f}",
    )
    return [
        (
            "Latency of one batch (ms)",
            [*engine, ("threads", True), ("batch", True), *((name, True) for name in names), ("tokens/s", True)],
            latency,
        ),
        (
            "One window, fastest engine: how often it took how long",
            [("ms", True), ("calls", True), ("", False)],
            histogram,
        ),
        (
            "Throughput of the encoder (tokens/s, median of rounds)",
            [*engine, ("workers x threads", True), ("batch tokens", True)]
            + [(name, True) for name in ("tokens/s", "slowest", "fastest")],
            throughput,
        ),
        (
            "Documents, end to end",
            [(name, True) for name in ("documents", "s", "documents/s", "tokens/s", "p50 ms", "p99 ms", "MB")],
            [end_to_end],
        ),
    ]


_COMMON_TEXT = """
the of and to a in that is was he for it with as his on be at by i this had not are but from or have an they
which one you were her all she there would their we him been has when who will more no if out so said what up
its about into than them can only other new some could time these two may then do first any my now such like
our over man me even most made after also did many before must through back years where much your way well
down should because each just those people how too little state good very make world still own see men work
long get here between both life being under never day same another know while last might us great old year
off come since against go came right used take three company market government million percent bank shares
price trade official analyst week month group sales profit growth president country policy industry report
plan deal stock investors business rate economic minister foreign agreement court member public party law
"""

_SYLLABLE_TEXT = "ba ko ri ten mar lo sha vin del tor an est qui pol men dar ger mo sti ran fel ok wa ber lin cas"

_COMMON, _SYLLABLES = _COMMON_TEXT.split(), _SYLLABLE_TEXT.split()


def generated_words(words: int, rng: np.random.Generator) -> Iterator[str]:
    """Word salad: common words by Zipf's law, some invented ones, names and numbers, in sentences."""
    weights = 1 / np.arange(2, len(_COMMON) + 2)
    common = rng.choice(len(_COMMON), size=words, p=weights / weights.sum())
    kinds = rng.random(words)
    syllables = rng.integers(0, len(_SYLLABLES), (words, 3))
    numbers = rng.integers(1, 5000, words) / 10
    left = 0
    for index in range(words):
        start = left == 0
        if start:
            left = int(rng.integers(8, 29))
        left -= 1
        word = _COMMON[common[index]]
        if kinds[index] < 0.09:
            word = "".join(_SYLLABLES[i] for i in syllables[index][: 2 + index % 2])
            word = word.capitalize() if kinds[index] < 0.05 else word
        elif kinds[index] < 0.12:
            word = f"{numbers[index]:,.1f}"
        word = word[0].upper() + word[1:] if start else word
        yield word + ("." if left == 0 or index == words - 1 else "," if kinds[index] > 0.94 else "")


def generated_text(words: int, seed: int) -> str:
    """A document of `words` words, the same for the same seed on any machine."""
    found = list(generated_words(words, np.random.default_rng(seed)))
    return "\n".join(" ".join(found[start : start + 90]) for start in range(0, words, 90)) + "\n"


def write_documents(root: Path, count: int, *, seed: int = 0, words: int = 500, spread: float = 0.5) -> list[Path]:
    """Write `count` generated documents below `root`; their lengths are log-normal with that median and sigma."""
    lengths = np.random.default_rng([seed, count]).lognormal(np.log(words), spread, count)
    paths = []
    for index, length in enumerate(lengths.clip(5, 20 * words).astype(int)):
        if index % 1000 == 0:
            directory = root / f"{index // 1000:03d}"
            directory.mkdir(parents=True, exist_ok=True)
        path = directory / f"{index:06d}.txt"
        path.write_text(generated_text(int(length), seed * 1_000_003 + index), "utf-8")
        paths.append(path)
    return paths
